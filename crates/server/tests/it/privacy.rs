//! Nothing of a prompt is in a log or in an error body (THREATS B10).

use crate::support::{Server, chat, with};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const CANARY: &str = "canary-4711";

/// Keeps what is logged, on all levels, by the tests of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().expect("no panic").push_str(&format!("{field}={value:?}\n"));
    }
}

#[tokio::test]
async fn prompts_stay_out_of_logs_and_errors() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).expect("the only test that does this");
    let server = Server::start().await;
    let post = async |path: &str, body: serde_json::Value| server.post(path, &body).await;
    let answered = post("/v1/chat/completions", chat(CANARY)).await;
    assert_eq!(answered.status, 200);
    let refused = [
        post("/v1/chat/completions", with(chat(CANARY), json!({"n": 0}))).await,
        post("/v1/chat/completions", with(chat(CANARY), json!({"temperature": CANARY}))).await,
        post("/v1/chat/completions", with(chat(CANARY), json!({"stop": [CANARY, ""]}))).await,
        post("/v1/chat/completions", with(chat(CANARY), json!({"logit_bias": {CANARY: 1}}))).await,
        post("/v1/chat/completions", chat(&format!("{CANARY}\u{0}"))).await,
        post("/v1/completions", json!({"model": "tiny", "prompt": {"text": CANARY}})).await,
        server.post_bytes("/v1/completions", format!("{{\"prompt\": \"{CANARY}\", ").as_bytes()).await,
    ];
    for response in refused {
        assert_eq!(response.status, 400);
        assert!(!response.text().contains(CANARY), "{}", response.text());
    }
    let log = log.0.lock().expect("no panic").clone();
    // The log is not just empty.
    assert!(log.contains("/v1/chat/completions") && log.contains("answered"));
    assert!(!log.contains(CANARY));
}
