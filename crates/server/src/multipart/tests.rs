//! Forms however they are cut, and forms that are none.

use super::*;
use futures_util::{StreamExt as _, stream};

const GOOD: &str = "--xY\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
                    --xY\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n\
                    1,2\r\n--x\r\n--xy\r\n\r\n\r\n--xY--\r\n";

fn request(content_type: &str, body: &[u8], piece: usize) -> Request {
    let pieces: Vec<_> =
        body.chunks(piece.max(1)).map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(stream::iter(pieces));
    Request::builder().header("content-type", content_type).body(body).expect("a request")
}

/// The parts with their contents.
async fn read(body: &[u8], piece: usize) -> Result<Vec<(Part, Vec<u8>)>, String> {
    let request = request("multipart/form-data; boundary=xY", body, piece);
    let mut form = Multipart::of(request, &Settings::default(), 1000).map_err(|error| error.body.message)?;
    let mut parts = Vec::new();
    while let Some(part) = form.next_part().await.map_err(|error| error.body.message)? {
        let mut content = Vec::new();
        while let Some(piece) = form.piece().await.map_err(|error| error.body.message)? {
            assert!(!piece.is_empty());
            content.extend_from_slice(&piece);
        }
        parts.push((part, content));
    }
    Ok(parts)
}

#[tokio::test]
async fn a_form_is_the_same_however_it_is_cut() {
    for piece in 1..GOOD.len() {
        let parts = read(GOOD.as_bytes(), piece).await.expect("good");
        let purpose = Part { name: "purpose".into(), filename: None };
        let file = Part { name: "file".into(), filename: Some("a.csv".into()) };
        let content = b"1,2\r\n--x\r\n--xy\r\n\r\n".to_vec();
        assert_eq!(parts, [(purpose, b"batch".to_vec()), (file, content)], "{piece}");
    }
}

#[tokio::test]
async fn a_form_that_is_cut_off_anywhere_is_refused() {
    // Without the last line's end it is whole.
    for bytes in 0..GOOD.len() - 2 {
        for piece in [1, 7, 1000] {
            let result = read(&GOOD.as_bytes()[..bytes], piece).await;
            assert!(result.as_ref().is_err_and(|message| message.contains("malformed")), "{bytes}: {result:?}");
        }
    }
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let long = format!("--xY\r\nx: {}\r\n\r\n--xY--", "y".repeat(9_000));
    let many = format!("{}--xY--", "--xY\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n".repeat(33));
    for (body, wanted) in [
        ("hello\r\n--xY--", "does not begin with its boundary"),
        ("--xY junk\r\n", "something else than a line's end"),
        ("--xY\r\nx\r\n\r\n\r\n--xY--", "no colon"),
        ("--xY\r\nx: y\r\n\r\n\r\n--xY--", "no `content-disposition`"),
        ("--xY\r\ncontent-disposition: form-data\r\n\r\n\r\n--xY--", "no name"),
        (
            "--xY\r\ncontent-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b\r\n\r\n\r\n--xY--",
            "two content-dispositions",
        ),
        ("--xY--\r\nmore", "follows its last boundary"),
        (&long, "headers have more than"),
        (&many, "more than 32 parts"),
    ] {
        for piece in [1, 100_000] {
            let result = read(body.as_bytes(), piece).await;
            assert!(result.as_ref().is_err_and(|message| message.contains(wanted)), "{wanted}: {result:?}");
        }
    }
}

#[tokio::test]
async fn only_a_form_with_one_boundary_is_read() {
    let status = |content_type: &str| {
        let opened = Multipart::of(request(content_type, b"x", 1), &Settings::default(), 10);
        opened.map(drop).map_err(|error| error.status.as_u16())
    };
    assert_eq!(status("multipart/form-data; boundary=\"a b\""), Ok(()));
    assert_eq!(status("Multipart/Form-Data;charset=utf-8;Boundary=x"), Ok(()));
    for (bad, wanted) in [
        ("application/json", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=a; boundary=b", 400),
        ("multipart/form-data; boundary=\"a\tb\"", 400),
        ("multipart/form-data; boundary=\"a", 400),
        (&format!("multipart/form-data; boundary={}", "x".repeat(71)), 400),
    ] {
        assert_eq!(status(bad), Err(wanted), "{bad}");
    }
    let bare = Request::builder().body(Body::empty()).expect("a request");
    assert_eq!(Multipart::of(bare, &Settings::default(), 10).err().map(|error| error.status.as_u16()), Some(400));
}

#[tokio::test]
async fn a_body_that_hardly_comes_is_refused() {
    let body = stream::once(async { Ok::<_, axum::Error>(Bytes::from_static(b"--xY")) }).chain(stream::pending());
    let request = Request::builder().header("content-type", "multipart/form-data; boundary=xY");
    let request = request.body(Body::from_stream(body)).expect("a request");
    let settings = Settings { body_timeout_ms: 1, ..Settings::default() };
    let mut form = Multipart::of(request, &settings, 10).expect("a form");
    let error = form.next_part().await.expect_err("refused");
    assert_eq!(error.status.as_u16(), 408);
}
