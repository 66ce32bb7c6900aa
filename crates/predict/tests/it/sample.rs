//! Artefacts for tests, and what is fetched for them once (`tests/fetch.py`) into `target/predict`.

use orrery_predict::{Artefact, Model, Result, Runtime, Settings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A file that `fetch.py` fetches. Where it cannot be had the test fails: it never skips.
pub fn fetched(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
        let folder = target.join("predict");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fetch.py");
        let status = Command::new("python3").arg(script).arg(&folder).status().expect("python3 starts");
        assert!(status.success(), "what the tests need cannot be fetched");
        folder
    });
    folder.join(name)
}

pub fn runtime() -> Runtime {
    Runtime::load(&fetched("libonnxruntime.so")).expect("ONNX Runtime loads")
}

/// A file of `fixtures/predict`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/predict").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with the files and an `orrery.json` that lists them; `fields` are added to it, or stand in place of its own.
pub fn folder(files: &[(&str, Vec<u8>)], fields: &Value) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut listed = serde_json::Map::new();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("written");
        listed.insert((*name).to_owned(), json!(digest(bytes)));
    }
    let mut manifest = json!({
        "format": 1, "name": "sample", "task": "other", "model": files[0].0, "files": listed,
    });
    for (name, value) in fields.as_object().expect("an object") {
        manifest[name] = value.clone();
    }
    std::fs::write(folder.path().join("orrery.json"), manifest.to_string()).expect("written");
    folder
}

/// A small model of the fixtures, as an artefact.
pub fn small(name: &str, fields: &Value) -> TempDir {
    folder(&[("model.onnx", fixture(&format!("{name}.onnx")))], fields)
}

pub fn open(folder: &TempDir) -> Result<Artefact> {
    Artefact::open(folder.path(), &Settings::default())
}

pub fn load(folder: &TempDir, settings: &Settings) -> Result<Model> {
    let artefact = Artefact::open(folder.path(), settings)?;
    Model::load(&runtime(), &artefact, settings)
}

/// The message of what has to be an error.
pub fn refusal<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}
