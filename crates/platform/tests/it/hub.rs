//! `hf:` references: what the hub lists is checked, chosen from and pinned.

use crate::server::{Answer, Server};
use crate::{assert_nothing_published, body, puller, settings, sha256, silent};
use orrery_platform::{Error, StoredModel};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

async fn hub(siblings: serde_json::Value) -> Server {
    Server::start(move |_, request| {
        if request.path.starts_with("/api/models/org/repo/revision/") {
            let listing = serde_json::json!({"sha": COMMIT, "tags": ["license:apache-2.0"], "siblings": siblings});
            return Answer::new(200, listing.to_string());
        }
        match request.path.strip_prefix(&format!("/org/repo/resolve/{COMMIT}/")) {
            Some(file) => Answer::file(request, &contents(file), "\"e\""),
            None => Answer::new(404, ""),
        }
    })
    .await
}

fn contents(file: &str) -> Vec<u8> {
    let mut contents = file.as_bytes().to_vec();
    contents.extend(body(5000));
    contents
}

fn large(file: &str) -> serde_json::Value {
    let contents = contents(file);
    serde_json::json!({"rfilename": file, "size": contents.len(), "lfs": {"sha256": sha256(&contents), "size": contents.len()}})
}

fn small(file: &str) -> serde_json::Value {
    serde_json::json!({"rfilename": file})
}

async fn pull(data: &std::path::Path, server: &Server, reference: &str) -> Result<StoredModel, Error> {
    let puller = puller(data, settings(&server.url));
    puller.pull(&puller.reference(reference)?, silent()).await
}

#[tokio::test]
async fn a_folder_is_pulled_whole_and_nothing_else() {
    let server = hub(serde_json::json!([
        small(".gitattributes"),
        small("README.md"),
        small("config.json"),
        small("tokenizer.json"),
        small("../../evil.json"),
        large("model-00001-of-00002.safetensors"),
        large("model-00002-of-00002.safetensors"),
        small("model.safetensors.index.json"),
        large("onnx/model.safetensors"),
        large("pytorch_model.bin")
    ]))
    .await;
    let data = tempfile::tempdir().expect("folder");
    let model = pull(data.path(), &server, "hf:org/repo").await.expect("pulled");
    assert_eq!(model.path, data.path().join("models/org--repo"));
    let names: Vec<_> = model.manifest.files.iter().map(|file| file.name.as_str()).collect();
    let expected = [
        "config.json",
        "tokenizer.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names, expected);
    for name in names {
        assert_eq!(std::fs::read(model.path.join(name)).expect(name), contents(name));
    }
    assert_eq!(model.manifest.source, format!("hf:org/repo@{COMMIT}"));
    assert_eq!(model.manifest.licence.as_deref(), Some("apache-2.0"));
}

#[tokio::test]
async fn several_ggufs_are_listed_and_one_can_be_named() {
    let server = hub(serde_json::json!([large("a.Q4.gguf"), large("sub/b.Q8.gguf")])).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull(data.path(), &server, "hf:org/repo").await.expect_err("several");
    assert!(
        matches!(&error, Error::BadInput { message, .. } if message.contains("hf:org/repo:a.Q4.gguf") && message.contains("sub/b.Q8.gguf")),
        "{error}"
    );
    let error = pull(data.path(), &server, "hf:org/repo:c.gguf").await.expect_err("missing");
    assert!(matches!(&error, Error::NotFound(message) if message.contains("a.Q4.gguf")), "{error}");
    assert_nothing_published(data.path());
    let model = pull(data.path(), &server, "hf:org/repo:sub/b.Q8.gguf").await.expect("pulled");
    assert_eq!(model.path, data.path().join("models/org--repo--sub-b.Q8/b.Q8.gguf"));
}

#[tokio::test]
async fn the_only_gguf_is_taken() {
    let server = hub(serde_json::json!([small("README.md"), large("a.gguf")])).await;
    let data = tempfile::tempdir().expect("folder");
    assert!(pull(data.path(), &server, "hf:org/repo@v1").await.expect("pulled").path.ends_with("org--repo--v1/a.gguf"));
    assert_eq!(server.requests()[0].path, "/api/models/org/repo/revision/v1?blobs=true");
}

#[tokio::test]
async fn what_the_hub_lists_must_be_what_it_sends() {
    let server = hub(serde_json::json!([{"rfilename": "a.gguf", "lfs": {"sha256": sha256(b"other"), "size": contents("a.gguf").len()}}])).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull(data.path(), &server, "hf:org/repo").await.expect_err("refused").to_string();
    assert!(error.contains(&sha256(b"other")) && error.contains(&sha256(&contents("a.gguf"))), "{error}");
    assert_nothing_published(data.path());
}

#[tokio::test]
async fn unknown_and_private_repositories_are_told() {
    let server = Server::start(|_, _| Answer::new(401, "")).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull(data.path(), &server, "hf:org/repo").await.expect_err("private");
    assert!(matches!(&error, Error::NotFound(message) if message.contains("HF_TOKEN")), "{error}");
}
