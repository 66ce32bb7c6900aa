//! Pulling models of the catalogue: order of sources, resume, digests, one download at a time.

use crate::server::{Answer, Server};
use crate::{
    assert_nothing_published, body, entry, hub_source, pull_entry, puller, settings, sha256, silent, url_source,
};
use orrery_platform::{Error, Reference};
use std::time::{Duration, Instant};

const BYTES: usize = 300_000;

#[tokio::test]
async fn a_model_is_pulled_once_and_described() {
    let contents = body(BYTES);
    let served = contents.clone();
    let hub = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let data = tempfile::tempdir().expect("folder");
    let model =
        pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect("pulled");
    assert_eq!(model.path, data.path().join("models/tiny/m.gguf"));
    assert_eq!(std::fs::read(&model.path).expect("file"), contents);
    assert_eq!((model.bytes, model.manifest.licence.as_deref()), (BYTES as u64, Some("MIT")));
    assert_eq!(model.manifest.files[0].sha256, sha256(&contents));
    assert_eq!(hub.requests()[0].path, "/org/repo/resolve/main/m.gguf");
    assert!(!data.path().join("staging/tiny").exists());
    pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect("found");
    assert_eq!(hub.requests().len(), 1, "the second pull found it");
}

#[tokio::test]
async fn the_token_stays_with_the_hub() {
    let contents = body(BYTES);
    let served = contents.clone();
    let storage = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let target = format!("{}/blob?signature=x", storage.url);
    let hub = Server::start(move |_, _| Answer::redirect(&target)).await;
    let data = tempfile::tempdir().expect("folder");
    let mut settings = settings(&hub.url);
    settings.hub_token = Some("hf_secret".into());
    pull_entry(data.path(), settings, entry(&contents, vec![hub_source()])).await.expect("pulled");
    assert_eq!(hub.requests()[0].header("authorization"), Some("Bearer hf_secret"));
    assert_eq!(storage.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_source_with_another_digest_is_passed_over() {
    let contents = body(BYTES);
    let mut wrong = contents.clone();
    wrong[BYTES / 2] ^= 1;
    let (served, wrong_digest) = (contents.clone(), sha256(&wrong));
    let bad = Server::start(move |_, request| Answer::file(request, &wrong, "\"e\"")).await;
    let good = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull_entry(data.path(), settings(&bad.url), entry(&contents, vec![hub_source()]))
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.contains(&wrong_digest) && error.contains(&sha256(&contents)), "{error}");
    assert_nothing_published(data.path());
    let model =
        pull_entry(data.path(), settings(&bad.url), entry(&contents, vec![hub_source(), url_source(&good.url)]))
            .await
            .expect("second source");
    assert_eq!(std::fs::read(&model.path).expect("file"), contents);
    assert!(model.manifest.source.starts_with(&good.url));
}

#[tokio::test]
async fn the_hubs_own_digest_refuses_before_the_body() {
    let contents = body(BYTES);
    let hub = Server::start(|_, _| {
        Answer::new(200, "something else").header("x-linked-etag", &format!("\"{}\"", sha256(b"something else")))
    })
    .await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()]))
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.contains(&sha256(b"something else")) && error.contains(&sha256(&contents)), "{error}");
    assert_eq!(hub.requests().len(), 1);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let contents = body(BYTES);
    let served = contents.clone();
    let hub = Server::start(move |number, request| match number {
        0 => Answer::file(request, &served, "\"e\"").cut(100_000),
        1 => Answer::new(500, "for now"),
        _ => Answer::file(request, &served, "\"e\""),
    })
    .await;
    let data = tempfile::tempdir().expect("folder");
    let model =
        pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect("pulled");
    assert_eq!(std::fs::read(&model.path).expect("file"), contents);
    let ranges: Vec<_> = hub.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=100000-".into())]);
}

#[tokio::test]
async fn a_later_run_uses_what_an_earlier_one_left() {
    let contents = body(BYTES);
    let served = contents.clone();
    let short = Server::start(move |_, request| match request.header("range") {
        None => Answer::file(request, &served, "\"e\"").cut(200_000),
        Some(_) => Answer::new(404, ""),
    })
    .await;
    let data = tempfile::tempdir().expect("folder");
    let model = entry(&contents, vec![hub_source()]);
    assert!(matches!(pull_entry(data.path(), settings(&short.url), model.clone()).await, Err(Error::Unavailable(_))));
    assert_nothing_published(data.path());
    let served = contents.clone();
    let whole = Server::start(move |_, request| Answer::file(request, &served, "\"other\"")).await;
    pull_entry(data.path(), settings(&whole.url), model).await.expect("resumed");
    assert_eq!(whole.requests()[0].header("range"), Some("bytes=200000-"));
}

#[tokio::test]
async fn a_spoilt_start_is_thrown_away() {
    let contents = body(BYTES);
    let served = contents.clone();
    let hub = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    for spoilt in [vec![7; 1000], vec![7; BYTES], vec![7; BYTES + 5]] {
        let data = tempfile::tempdir().expect("folder");
        let staging = data.path().join("staging/tiny");
        std::fs::create_dir_all(&staging).expect("staging");
        std::fs::write(staging.join(format!("{}.partial", sha256(&contents))), &spoilt).expect("partial");
        let model =
            pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect("pulled");
        assert_eq!(std::fs::read(&model.path).expect("file"), contents);
    }
}

#[tokio::test]
async fn a_stalled_source_is_passed_over_in_time() {
    let contents = body(BYTES);
    let served = contents.clone();
    let stalled = Server::start(|_, _| Answer::stall()).await;
    let good = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let data = tempfile::tempdir().expect("folder");
    let mut settings = settings(&stalled.url);
    settings.reach_timeout = Duration::from_millis(200);
    let start = Instant::now();
    pull_entry(data.path(), settings, entry(&contents, vec![hub_source(), url_source(&good.url)]))
        .await
        .expect("second source");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(stalled.requests().len(), 1, "no second attempt at a source that never answered");
}

#[tokio::test]
async fn every_reason_is_told_when_no_source_is_left() {
    let contents = body(100);
    let missing = Server::start(|_, _| Answer::new(404, "")).await;
    let data = tempfile::tempdir().expect("folder");
    // Nothing listens on port 1 of this machine.
    let sources = vec![hub_source(), url_source("http://127.0.0.1:1")];
    let error =
        pull_entry(data.path(), settings(&missing.url), entry(&contents, sources)).await.expect_err("no source");
    assert!(
        matches!(&error, Error::Unavailable(reason) if reason.contains("404") && reason.contains("127.0.0.1:1")),
        "{error}"
    );
    assert_nothing_published(data.path());
}

#[tokio::test]
async fn a_source_that_sends_too_much_is_refused() {
    let contents = body(1000);
    let hub = Server::start(|_, _| Answer::new(200, body(1_000_000))).await;
    let data = tempfile::tempdir().expect("folder");
    let error = pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()]))
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.contains("1000 bytes"), "{error}");
    assert_nothing_published(data.path());
}

#[tokio::test]
async fn two_pulls_at_once_make_one_download() {
    let contents = body(BYTES);
    let served = contents.clone();
    let hub = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let data = tempfile::tempdir().expect("folder");
    let pulls = (0..4).map(|_| pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])));
    for model in futures_util::future::join_all(pulls).await {
        assert_eq!(model.expect("pulled").bytes, BYTES as u64);
    }
    assert_eq!(hub.requests().len(), 1);
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_no_partial_file() {
    let contents = body(BYTES);
    let served = contents.clone();
    let hub = Server::start(move |_, request| Answer::file(request, &served, "\"e\"")).await;
    let data = tempfile::tempdir().expect("folder");
    let staging = data.path().join("staging/tiny");
    std::fs::create_dir_all(&staging).expect("staging");
    let partial = staging.join(format!("{}.partial", sha256(&contents)));
    std::os::unix::fs::symlink("/dev/full", &partial).expect("link");
    let error =
        pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect_err("full");
    assert!(matches!(error, Error::NoSpace(_)), "{error}");
    assert!(partial.symlink_metadata().is_err(), "the partial file is gone");
    assert_nothing_published(data.path());
    pull_entry(data.path(), settings(&hub.url), entry(&contents, vec![hub_source()])).await.expect("recovers");
}

#[tokio::test]
async fn an_address_is_resumed_only_while_it_is_unchanged() {
    let (old, new) = (body(BYTES), [b"GGUF".to_vec(), vec![3; BYTES - 4]].concat());
    let fresh = new.clone();
    let server = Server::start(move |number, request| match number {
        0 => Answer::file(request, &old, "\"old\"").cut(50_000),
        _ => Answer::file(request, &fresh, "\"new\""),
    })
    .await;
    let data = tempfile::tempdir().expect("folder");
    let puller = puller(data.path(), settings(&server.url));
    let reference = puller.reference(&format!("{}/x/m.gguf?token=s3cret", server.url)).expect("address");
    let model = puller.pull(&reference, silent()).await.expect("pulled");
    assert_eq!(std::fs::read(&model.path).expect("file"), new);
    assert_eq!(server.requests()[1].header("if-range"), Some("\"old\""));
    assert_eq!(model.manifest.name, "m");
    assert!(!model.manifest.source.contains("s3cret"));
}

#[tokio::test]
async fn a_path_is_used_in_place_and_copied_by_pull() {
    let data = tempfile::tempdir().expect("folder");
    let file = data.path().join("mine.gguf");
    std::fs::write(&file, body(1000)).expect("file");
    let puller = puller(data.path(), settings("http://127.0.0.1:1"));
    let reference = puller.reference(file.to_str().expect("text")).expect("path");
    assert_eq!(reference, Reference::Path(file.clone()));
    assert_eq!(puller.resolve(&reference, silent()).await.expect("in place"), file);
    let model = puller.pull(&reference, silent()).await.expect("copied");
    assert_eq!(model.path, data.path().join("models/mine/mine.gguf"));
    let stored = puller.reference("mine").expect("stored");
    assert_eq!(puller.resolve(&stored, silent()).await.expect("stored"), model.path);
    let gone = puller.reference("./no/such.gguf").expect("path");
    assert!(matches!(puller.resolve(&gone, silent()).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_page_or_a_text_is_not_taken_for_a_model() {
    let data = tempfile::tempdir().expect("folder");
    let server = Server::start(|_, _| Answer::new(200, "<html>The file is elsewhere.</html>")).await;
    let puller = puller(data.path(), settings(&server.url));
    let page = puller.reference(&format!("{}/x/m.gguf", server.url)).expect("address");
    let error = puller.pull(&page, silent()).await.expect_err("a page").to_string();
    assert!(error.contains("/x/m.gguf gives is not a model") && error.contains("`GGUF`"), "{error}");

    let file = data.path().join("notes.txt");
    for contents in ["", "GGU", "plain text"] {
        std::fs::write(&file, contents).expect("file");
        let text = puller.reference(file.to_str().expect("text")).expect("path");
        let error = puller.pull(&text, silent()).await.expect_err(contents);
        assert!(
            matches!(&error, Error::BadInput { message, .. } if message.contains("notes.txt is not a model")),
            "{error}"
        );
    }
    assert_nothing_published(data.path());
    assert!(!data.path().join("staging/m/m.gguf.partial").exists(), "nothing to resume from");
}

#[tokio::test]
async fn an_unknown_name_is_told_with_what_there_is() {
    let data = tempfile::tempdir().expect("folder");
    let puller = puller(data.path(), settings("http://127.0.0.1:1"));
    let error = puller.pull(&puller.reference("gpt-5").expect("name"), silent()).await.expect_err("unknown");
    assert!(
        matches!(&error, Error::NotFound(message) if message.contains("smollm2-135m-instruct") && message.contains("hf:ORG/REPO")),
        "{error}"
    );
}
