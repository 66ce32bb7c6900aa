//! A client that goes away cancels what it asked for, at once (THREATS D5).

use crate::support::{Server, chat, with};
use serde_json::json;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(250);

async fn check(path: &str, body: serde_json::Value, wait_for: Option<&str>) {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await;
    if let Some(text) = wait_for {
        connection.until(text).await;
    }
    let prompts = body["prompt"].as_array().map_or(1, Vec::len);
    server.backend.wait_running(prompts).await;
    let left = Instant::now();
    drop(connection);
    server.backend.wait_running(0).await;
    assert!(left.elapsed() < LIMIT, "{:?}", left.elapsed());
}

#[tokio::test]
async fn while_waiting_for_a_whole_answer() {
    check("/v1/chat/completions", chat("wait"), None).await;
    check("/v1/completions", json!({"model": "tiny", "prompt": ["wait", "drip"]}), None).await;
}

#[tokio::test]
async fn before_the_first_token_of_a_stream() {
    check("/v1/chat/completions", with(chat("wait"), json!({"stream": true})), None).await;
}

#[tokio::test]
async fn in_mid_stream() {
    let token = Some("Hel");
    check("/v1/chat/completions", with(chat("drip"), json!({"stream": true})), token).await;
    check("/v1/completions", json!({"model": "tiny", "prompt": "drip", "stream": true}), token).await;
}

#[tokio::test]
async fn a_hundred_at_once() {
    let server = Server::start().await;
    let mut connections = Vec::new();
    for _ in 0..100 {
        let mut connection = server.connect().await;
        connection.send("POST", "/v1/chat/completions", &[], chat("wait").to_string().as_bytes()).await;
        connections.push(connection);
    }
    server.backend.wait_running(100).await;
    drop(connections);
    server.backend.wait_running(0).await;
    assert_eq!(server.post("/v1/chat/completions", &chat("hello")).await.status, 200);
}
