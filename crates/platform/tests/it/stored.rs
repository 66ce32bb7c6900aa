//! The data folder: list, remove, and what is no model.

use crate::{body, puller, settings, silent};
use orrery_platform::{Error, Puller, Store};
use std::path::Path;

async fn with_models(data: &Path, names: &[&str]) -> Puller {
    let puller = puller(data, settings("http://127.0.0.1:1"));
    for name in names {
        let file = data.join(format!("{name}.gguf"));
        std::fs::write(&file, body(500)).expect("file");
        puller.pull(&puller.reference(file.to_str().expect("text")).expect("path"), silent()).await.expect("pulled");
    }
    puller
}

fn names(store: &Store) -> Vec<String> {
    store.list().expect("list").into_iter().map(|model| model.manifest.name).collect()
}

#[tokio::test]
async fn models_are_listed_and_removed() {
    let data = tempfile::tempdir().expect("folder");
    let puller = with_models(data.path(), &["b", "a"]).await;
    assert_eq!(names(puller.store()), ["a", "b"]);
    assert_eq!(puller.store().remove("a").expect("removed").bytes, 500);
    assert_eq!(names(puller.store()), ["b"]);
    assert!(!data.path().join("models/a").exists() && !data.path().join("staging/a").exists());
    let error = puller.store().remove("a").expect_err("gone");
    assert!(matches!(&error, Error::NotFound(message) if message.contains("there are: b")), "{error}");
}

#[tokio::test]
async fn hostile_names_reach_no_path() {
    let data = tempfile::tempdir().expect("folder");
    let puller = with_models(data.path(), &["a"]).await;
    let long = "a".repeat(10_000);
    for name in ["../models/a", "../../x", "a/../a", "/etc", "a\0", "..", "", &long] {
        assert!(matches!(puller.store().remove(name), Err(Error::BadInput { .. })), "{name:.20}");
        assert!(matches!(puller.store().find(name), Err(Error::BadInput { .. })), "{name:.20}");
    }
    assert_eq!(names(puller.store()), ["a"]);
}

#[tokio::test]
async fn a_damaged_model_is_no_model_and_is_pulled_again() {
    let data = tempfile::tempdir().expect("folder");
    let puller = with_models(data.path(), &["a", "b", "c", "d"]).await;
    let models = data.path().join("models");
    std::fs::write(models.join("a/a.gguf"), b"short").expect("truncated");
    std::fs::write(models.join("b/manifest.json"), b"{").expect("torn");
    std::fs::remove_file(models.join("c/manifest.json")).expect("removed");
    let foreign =
        std::fs::read_to_string(models.join("d/manifest.json")).expect("manifest").replace("d.gguf", "../../d.gguf");
    std::fs::write(models.join("d/manifest.json"), foreign).expect("hostile manifest");
    assert!(names(puller.store()).is_empty());
    for name in ["a", "b", "c", "d"] {
        let reference =
            puller.reference(data.path().join(format!("{name}.gguf")).to_str().expect("text")).expect("path");
        puller.pull(&reference, silent()).await.expect("pulled again");
    }
    assert_eq!(names(puller.store()), ["a", "b", "c", "d"]);
}
