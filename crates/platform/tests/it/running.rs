//! Models that are served: states, lookup, admission and draining, over a loader of the test's own.

use crate::{body, settings};
use orrery_engine::LoadError;
use orrery_platform::models::Loader;
use orrery_platform::{Catalogue, Error, ModelState, Platform, Settings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn failing(message: &str) -> Arc<Loader> {
    let message = message.to_owned();
    Arc::new(move |_, _, _, progress| {
        progress(0.5);
        Err(LoadError::Settings(message.clone()))
    })
}

fn start(data: &Path, models: Vec<String>, loader: Arc<Loader>) -> Result<Arc<Platform>, Error> {
    let settings = Settings {
        data_dir: data.to_owned(),
        models,
        sources: settings("http://127.0.0.1:1"),
        admissions_max: 1,
        ..Default::default()
    };
    Platform::start_with(settings, Catalogue::embedded().expect("embedded"), loader)
}

fn model(data: &Path, name: &str) -> String {
    let file = data.join(name);
    std::fs::write(&file, body(100)).expect("file");
    file.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_failed_with_its_reason() {
    let data = tempfile::tempdir().expect("folder");
    let platform =
        start(data.path(), vec![model(data.path(), "m.gguf")], failing("no such instruction set")).expect("started");
    let error = platform.wait_ready().await.expect_err("failed");
    assert!(
        matches!(&error, Error::Unavailable(reason) if reason.contains("`m`") && reason.contains("no such instruction set")),
        "{error}"
    );
    assert!(!platform.is_ready());
    let models = platform.models();
    assert!(
        matches!(&models[..], [only] if only.id == "m" && matches!(only.state, ModelState::Failed(_)) && only.created > 0)
    );
    assert!(platform.stats().is_empty());
    assert!(matches!(platform.tokenize("m", "x", false), Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_missing_file_is_failed_too() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec!["./no/such/model.gguf".into()], failing("unused")).expect("started");
    let error = platform.wait_ready().await.expect_err("failed").to_string();
    assert!(error.contains("no/such/model.gguf"), "{error}");
}

#[tokio::test]
async fn an_unknown_model_is_not_found_and_what_is_served_is_told() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec![model(data.path(), "m.gguf")], failing("x")).expect("started");
    let error = platform.detokenize("gpt-5", &[1]).expect_err("unknown");
    assert!(
        matches!(&error, Error::NotFound(message) if message.contains("`gpt-5`") && message.contains("served: m")),
        "{error}"
    );
}

#[tokio::test]
async fn bad_settings_are_refused_at_once() {
    let data = tempfile::tempdir().expect("folder");
    let (one, other) = (model(data.path(), "m.gguf"), format!("{}/./m.gguf", data.path().display()));
    for (models, word) in [(vec![], "no model"), (vec![one, other], "`m`"), (vec!["a\0b".into()], "control")] {
        let error = start(data.path(), models, failing("x")).err().expect("refused");
        assert!(matches!(&error, Error::BadInput { message, .. } if message.contains(word)), "{error}");
    }
}

#[tokio::test]
async fn admissions_are_bounded_and_draining_refuses() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec![model(data.path(), "m.gguf")], failing("x")).expect("started");
    let permit = platform.admit().expect("permit");
    assert!(matches!(platform.admit(), Err(Error::Overloaded { .. })));
    assert!(!platform.drain(Duration::ZERO).await, "a permit is out");
    drop(permit);
    assert!(matches!(platform.admit(), Err(Error::Unavailable(_))));
    assert!(platform.drain(Duration::from_secs(10)).await);
}
