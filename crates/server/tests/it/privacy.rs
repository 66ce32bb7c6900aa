//! Nothing of a prompt is in a log or in an error body (THREATS B10).

use crate::support::{Server, chat, with};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};

const CANARY: &str = "canary-4711";

/// Keeps what is logged, on all levels, by the tests of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn prompts_stay_out_of_logs_and_errors() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only test that does this");
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
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    // The log is not just empty.
    assert!(log.contains("/v1/chat/completions") && log.contains("answered"));
    assert!(!log.contains(CANARY));
}
