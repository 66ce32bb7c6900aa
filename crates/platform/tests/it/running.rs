//! Models that are served: states, lookup, admission and draining, over a loader of the test's own.

use crate::{body, settings};
use orrery_engine::LoadError;
use orrery_platform::models::Loader;
use orrery_platform::{Accounts, Catalogue, Error, ModelInfo, ModelState, Platform, Principal, Settings, Vetting};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn failing(message: &str) -> Arc<Loader> {
    let message = message.to_owned();
    Arc::new(move |_, _, _, progress| {
        progress(0.5);
        Err(LoadError::Settings(message.clone()))
    })
}

async fn accounts() -> (Arc<Accounts>, Principal) {
    let (accounts, key) = Accounts::ephemeral().await.expect("accounts");
    let by = accounts.authenticate(Some(&key)).await.expect("a good key");
    (accounts, by)
}

async fn start(data: &Path, models: Vec<String>, loader: Arc<Loader>) -> Result<Arc<Platform>, Error> {
    let settings = Settings {
        data_dir: data.to_owned(),
        models,
        sources: settings("http://127.0.0.1:1"),
        admissions_max: 1,
        ..Default::default()
    };
    Platform::start_with(settings, accounts().await.0, Catalogue::embedded().expect("embedded"), loader)
}

fn model(data: &Path, name: &str) -> String {
    let file = data.join(name);
    std::fs::write(&file, body(100)).expect("file");
    file.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_failed_with_its_reason() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec![model(data.path(), "m.gguf")], failing("no such instruction set"))
        .await
        .expect("started");
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
    assert!(matches!(
        platform.tokenize(admit(&platform).await, "m", "x".into(), false).await,
        Err(Error::Unavailable(_))
    ));
}

#[tokio::test]
async fn a_model_that_vetting_refuses_is_never_opened_and_the_others_are() {
    let data = tempfile::tempdir().expect("folder");
    let opened = Arc::new(Mutex::new(Vec::new()));
    let loader: Arc<Loader> = {
        let opened = opened.clone();
        Arc::new(move |path, _, _, _| {
            opened.lock().expect("no panic").push(path.to_owned());
            Err(LoadError::Settings("opened".into()))
        })
    };
    let models = vec![model(data.path(), "good.gguf"), model(data.path(), "bad.gguf")];
    let vetting = Vetting::by(|path| if path.ends_with("bad.gguf") { Err("it crashed".into()) } else { Ok(()) });
    let settings = Settings {
        data_dir: data.path().to_owned(),
        models: models.clone(),
        sources: settings("http://127.0.0.1:1"),
        vetting,
        ..Default::default()
    };
    let (accounts, by) = accounts().await;
    let platform =
        Platform::start_with(settings, accounts, Catalogue::embedded().expect("embedded"), loader).expect("started");
    let error = platform.wait_ready().await.expect_err("neither is ready").to_string();
    assert!(error.contains("`good`") && error.contains("opened"), "{error}");
    // The two load side by side.
    while platform.models().iter().any(|model| matches!(model.state, ModelState::Loading { .. })) {
        tokio::task::yield_now().await;
    }
    let refused = |model: &ModelInfo| matches!(&model.state, ModelState::Failed(reason) if reason.contains("bad.gguf is not opened: it crashed"));
    assert!(platform.models().iter().any(refused), "{:?}", platform.models());
    assert_eq!(*opened.lock().expect("no panic"), [Path::new(&models[0])]);
    assert!(platform.admit(by).await.is_ok(), "the service lives");
}

#[tokio::test]
async fn a_missing_file_is_failed_too() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec!["./no/such/model.gguf".into()], failing("unused")).await.expect("started");
    let error = platform.wait_ready().await.expect_err("failed").to_string();
    assert!(error.contains("no/such/model.gguf"), "{error}");
}

#[tokio::test]
async fn an_unknown_model_is_not_found_and_what_is_served_is_told() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec![model(data.path(), "m.gguf")], failing("x")).await.expect("started");
    let error = platform.detokenize(admit(&platform).await, "gpt-5", vec![1]).await.expect_err("unknown");
    assert!(
        matches!(&error, Error::NotFound(message) if message.contains("`gpt-5`") && message.contains("served: m")),
        "{error}"
    );
}

#[tokio::test]
async fn a_catalogues_model_is_found_by_its_aliases_too() {
    let data = tempfile::tempdir().expect("folder");
    // Nothing listens at port 1: the model is never there, but it is known.
    let platform = start(data.path(), vec!["smollm2".into()], failing("x")).await.expect("started");
    assert_eq!(platform.models()[0].id, "smollm2-135m-instruct");
    for name in ["smollm2-135m-instruct", "smollm2", "smollm2-135m"] {
        let error = platform.detokenize(admit(&platform).await, name, vec![1]).await.expect_err("not loaded");
        assert!(matches!(error, Error::Unavailable(_)), "{name}: {error}");
    }
    assert!(matches!(platform.detokenize(admit(&platform).await, "qwen3", vec![1]).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn bad_settings_are_refused_at_once() {
    let data = tempfile::tempdir().expect("folder");
    let (one, other) = (model(data.path(), "m.gguf"), format!("{}/./m.gguf", data.path().display()));
    for (models, word) in [(vec![], "no model"), (vec![one, other], "`m`"), (vec!["a\0b".into()], "control")] {
        let error = start(data.path(), models, failing("x")).await.err().expect("refused");
        assert!(matches!(&error, Error::BadInput { message, .. } if message.contains(word)), "{error}");
    }
}

#[tokio::test]
async fn settings_that_this_machine_cannot_run_are_refused_before_a_download() {
    let data = tempfile::tempdir().expect("folder");
    type Edit = fn(&mut Settings);
    let edits: [(&str, Edit); 5] = [
        ("`sse`", |settings| settings.isa = Some("sse".into())),
        ("0 threads", |settings| settings.threads = Some(0)),
        ("100000 threads", |settings| settings.threads = Some(100_000)),
        ("`step_tokens_max` is 0", |settings| settings.step_tokens_max = 0),
        ("`choices_max` is 0", |settings| settings.choices_max = 0),
    ];
    for (part, edit) in edits {
        let mut settings = Settings { data_dir: data.path().to_owned(), ..Default::default() };
        edit(&mut settings);
        let catalogue = Catalogue::embedded().expect("embedded");
        let error = Platform::start_with(settings, accounts().await.0, catalogue, failing("x")).err().expect("refused");
        assert!(matches!(&error, Error::BadInput { message, .. } if message.contains(part)), "{error}");
    }
    assert_eq!(std::fs::read_dir(data.path()).expect("folder").count(), 0, "nothing has been begun");
}

#[tokio::test]
async fn what_is_set_reaches_the_engine() {
    let data = tempfile::tempdir().expect("folder");
    let seen = Arc::new(std::sync::Mutex::new(None));
    let loader: Arc<Loader> = {
        let seen = seen.clone();
        Arc::new(move |_, _, settings, _| {
            *seen.lock().expect("no panic") = Some(settings);
            Err(LoadError::Settings("seen".into()))
        })
    };
    let settings = Settings {
        data_dir: data.path().to_owned(),
        models: vec![model(data.path(), "m.gguf")],
        queue_max: 1,
        sequences_max: 2,
        step_tokens_max: 3,
        step_logits_max: 4,
        step_target_ms: 5,
        prefix_cache: false,
        choices_max: 6,
        logprobs_max: 7,
        stop_strings_max: 8,
        stop_bytes_max: 9,
        speculation_ngram: true,
        draft_tokens_max: 10,
        draft_match_min: 1,
        draft_window: 11,
        generated_token_cost: 12,
        burst_tokens: 13,
        ..Default::default()
    };
    let catalogue = Catalogue::embedded().expect("embedded");
    let platform = Platform::start_with(settings, accounts().await.0, catalogue, loader).expect("started");
    platform.wait_ready().await.expect_err("the loader refuses");
    let expected = orrery_engine::Settings {
        queue_max: 1,
        sequences_max: 2,
        step_tokens_max: 3,
        step_logits_max: 4,
        step_target_ms: 5,
        prefix_cache: false,
        choices_max: 6,
        logprobs_max: 7,
        stop_strings_max: 8,
        stop_bytes_max: 9,
        speculation_ngram: true,
        draft_tokens_max: 10,
        draft_match_min: 1,
        draft_window: 11,
        generated_token_cost: 12,
        burst_tokens: 13,
    };
    assert_eq!(seen.lock().expect("no panic").take(), Some(expected));
}

#[tokio::test]
async fn admissions_are_bounded_and_draining_refuses() {
    let data = tempfile::tempdir().expect("folder");
    let platform = start(data.path(), vec![model(data.path(), "m.gguf")], failing("x")).await.expect("started");
    let by = accounts().await.1;
    let permit = platform.admit(by.clone()).await.expect("permit");
    assert!(matches!(platform.admit(by.clone()).await, Err(Error::Overloaded { .. })));
    assert!(!platform.drain(Duration::ZERO).await, "a permit is out");
    drop(permit);
    assert!(matches!(platform.admit(by.clone()).await, Err(Error::Unavailable(_))));
    assert!(platform.drain(Duration::from_secs(10)).await);
}

async fn admit(platform: &Platform) -> orrery_platform::Admission {
    let by = platform.accounts().operator().await.expect("the operator");
    platform.admit(by).await.expect("admitted")
}
