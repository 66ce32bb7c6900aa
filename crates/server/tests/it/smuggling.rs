//! Requests that two readers could take differently (request smuggling): one answer, 400, and the end of the connection;
//! what was hidden behind them is never served.

use crate::support::{Connection, Server, chat, check_error};
use std::time::Instant;

/// What an attacker hides: it would be answered with 200, and its answer has this in it.
const HIDDEN: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// Everything that comes until the server closes, sent in one piece and then byte by byte.
async fn answers(server: &Server, sent: &str) -> [String; 2] {
    let mut whole = server.stranger().await;
    whole.raw(sent.as_bytes()).await;
    let mut dripped = server.stranger().await;
    for byte in sent.bytes() {
        // The server may have had enough.
        if !dripped.try_raw(&[byte]).await {
            break;
        }
    }
    [rest(whole).await, rest(dripped).await]
}

async fn rest(mut connection: Connection) -> String {
    String::from_utf8(connection.rest().await).expect("UTF-8")
}

#[track_caller]
fn check_refused(answer: &str, sent: &str) {
    assert!(answer.starts_with("HTTP/1.1 400 "), "{sent:?}: {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{sent:?}: {answer:?}");
    let lower = answer.to_ascii_lowercase();
    assert!(
        lower.contains("connection: close") || lower.contains("badly framed") || lower.contains("refused"),
        "{answer:?}"
    );
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    let body: serde_json::Value = serde_json::from_str(body).expect("OpenAI's error");
    assert_eq!(body["error"]["type"], "invalid_request_error", "{sent:?}");
}

#[tokio::test]
async fn a_head_with_two_readings_is_refused() {
    let server = Server::start().await;
    let key = &server.backend.key;
    for lines in [
        // Two lengths.
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 44\r\n",
        "Content-Length: 44\r\nContent-Length: 4\r\n",
        "content-length: 4, 44\r\n",
        // Lengths that are none.
        "content-length: -1\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: 4 4\r\n",
        "content-length: 18446744073709551620\r\n",
        "content-length:\r\n",
        // Encodings that one reader takes for chunked and another does not.
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity, chunked\r\n",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding: chunked;\r\n",
        "transfer-encoding:\x0bchunked\r\n",
        "transfer-encoding: ch\u{17f}nked\r\n",
        "transfer-encoding: x\r\n",
        // Names and lines that are not what they seem.
        "transfer-encoding : chunked\r\n",
        "transfer-encoding\t: chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "x: y\r\n\ttransfer-encoding: chunked\r\n",
        "transfer\0-encoding: chunked\r\n",
        "x: a\0b\r\n",
        "x: y\ntransfer-encoding: chunked\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x: y\r\n\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\n",
        ": y\r\n",
        "no colon\r\n",
        "host: other\r\n",
    ] {
        // Whichever way the body's end is read, the hidden request follows it.
        let sent = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{lines}\r\n0\r\n\r\n{HIDDEN}"
        );
        for answer in answers(&server, &sent).await {
            check_refused(&answer, lines);
        }
    }
    for sent in [
        format!("POST /health HTTP/1.1\nhost: x\r\n\r\n{HIDDEN}"),
        format!("GET /health HTTP/1.1\r\nhost: x\n\n{HIDDEN}"),
        format!("\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n{HIDDEN}"),
        format!("GET /health HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
        format!("GET /health\r\n\r\n{HIDDEN}"),
        format!("GET /he\0alth HTTP/1.1\r\nhost: x\r\n\r\n{HIDDEN}"),
        format!("GET /health HTTP/1.1 HTTP/1.1\r\nhost: x\r\n\r\n{HIDDEN}"),
    ] {
        for answer in answers(&server, &sent).await {
            check_refused(&answer, &sent);
        }
    }
}

#[tokio::test]
async fn a_chunk_with_two_readings_is_refused() {
    let server = Server::start().await;
    let key = &server.backend.key;
    for chunks in [
        "5;x=y\r\nabcde\r\n0\r\n\r\n",
        "5;\nabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "-5\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "0_5\r\nabcde\r\n0\r\n\r\n",
        "\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "5\r\nabcdefgh\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "10000000000000005\r\nabcde\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
        "000000005\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\r\n0\r\nx: y\r\n\r\n",
        "5\r\nabcde\r\n0\r\ncontent-length: 5\r\n\r\n",
        "5\r\nabcde\r\n0\n\n",
        "5\r\nabcde\r\n0;\r\n\r\n",
    ] {
        let sent = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             transfer-encoding: chunked\r\n\r\n{chunks}{HIDDEN}"
        );
        for answer in answers(&server, &sent).await {
            check_refused(&answer, chunks);
            assert!(answer.contains("body is refused: it has "), "{chunks:?}: {answer}");
        }
        // Nobody reads the body of a request without a key: its answer is the only one too.
        let sent = sent.replace("authorization", "x-authorization");
        for answer in answers(&server, &sent).await {
            assert!(answer.starts_with("HTTP/1.1 401 "), "{chunks:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{chunks:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_the_standard_allows_still_works() {
    let server = Server::start().await;
    let body = chat("hello").to_string();
    let mut connection = server.connect().await;
    connection.begin("\r\nPOST /v1/chat/completions HTTP/1.1\r\nHost:x\r\nTransfer-Encoding:\tChunked \r\n").await;
    let (first, second) = body.split_at(10);
    let size = second.len();
    connection.raw(format!("\r\n00A\r\n{first}\r\n{size:X}\r\n{second}\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(connection.response().await.status, 200);
    // Two requests in one piece are answered in turn.
    connection.raw(HIDDEN.repeat(2).as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(connection.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_gets_its_answer() {
    let server = Server::start().await;
    let body = chat("drip").to_string();
    for bad in ["\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\nhost: x\r\n\r\n"] {
        let mut connection = server.connect().await;
        let length = body.len();
        connection
            .begin(&format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n"))
            .await;
        connection.raw(format!("\r\n{body}{bad}").as_bytes()).await;
        server.backend.wait_running(1).await;
        server.backend.release.add_permits(1);
        assert_eq!(connection.response().await.status, 200, "{bad:?}");
        check_error(&connection.response().await, 400, None, None);
        connection.closed().await;
    }
}

#[tokio::test]
async fn http2_is_refused_and_closed() {
    let server = Server::start().await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for answer in answers(&server, preface).await {
        check_refused(&answer, preface);
    }
    // An upgrade that is not taken up: a usual answer, and what follows is no request.
    let upgrade = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
                   http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    for answer in answers(&server, &format!("{upgrade}{HIDDEN}{preface}")).await {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

/// D2: each byte of the largest body in a chunk of its own costs six on the wire, and no more than that here.
#[tokio::test]
async fn a_body_of_tiny_chunks_is_cut_short() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n").await;
    connection.raw(b"\r\n").await;
    let begun = Instant::now();
    let many = "1\r\n \r\n".repeat(4096);
    for _ in 0..1024 {
        if !connection.try_raw(many.as_bytes()).await {
            break;
        }
    }
    let error = check_error(&connection.response().await, 400, None, None);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("tiny chunks")), "{error}");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    // Chunks of what a client sends as it makes it, a few words at a time, are no attack.
    let mut connection = server.connect().await;
    connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n").await;
    let body = chat(&"hello ".repeat(10_000)).to_string();
    let chunks: String = body
        .as_bytes()
        .chunks(8)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).expect("ASCII")))
        .collect();
    connection.raw(format!("\r\n{chunks}0\r\n\r\n").as_bytes()).await;
    assert_eq!(connection.response().await.status, 200);
}

#[tokio::test]
async fn multipart_is_415_however_it_is_made() {
    let server = Server::start().await;
    let part = "content-disposition: form-data; name=\"file\"\r\n\r\n";
    let endless = format!("--x\r\n{}", "a: b\r\n".repeat(100_000));
    for (kind, body) in [
        ("multipart/form-data; boundary=x", format!("--x\r\n{part}hello\r\n--x--\r\n")),
        ("multipart/form-data; boundary=x", format!("--x\r\n{part}no end")),
        ("multipart/form-data; boundary=x", endless),
        ("multipart/form-data", "--\r\n--\r\n".to_owned()),
        ("multipart/form-data; boundary=", "--".repeat(1_000)),
        ("multipart/form-data; boundary=\"", "\0".repeat(1_000)),
    ] {
        let mut connection = server.connect().await;
        let answer =
            connection.request("POST", "/v1/chat/completions", &[("content-type", kind)], body.as_bytes()).await;
        check_error(&answer, 415, Some("unsupported_media_type"), None);
    }
}
