//! Draining: not ready first, streams finish, then the end (THREATS D7).

use crate::support::{Server, chat, check_error, with};
use orrery_server::Settings;
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

/// Asks `/ready` until it refuses; each question is a new connection.
async fn wait_not_ready(server: &Server) {
    while server.get("/ready").await.status == 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_finish_while_new_requests_are_refused() {
    let mut server = Server::start().await;
    let mut connection = server.connect().await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    connection.until("Hel").await;
    server.signal();
    wait_not_ready(&server).await;
    assert_eq!(server.get("/health").await.status, 200);
    let refused = server.post(CHAT, &chat("hello")).await;
    check_error(&refused, 503, Some("service_unavailable"), None);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("connection"), Some("close"));
    server.backend.release.add_permits(1);
    connection.until("data: [DONE]\n\n").await;
    connection.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn an_idle_server_ends_at_once_and_closes_idle_connections() {
    let mut server = Server::start().await;
    let mut connection = server.connect().await;
    connection.request("GET", "/", &[], b"").await;
    server.signal();
    connection.closed().await;
    server.ended().await;
}

#[tokio::test]
async fn the_grace_period_ends() {
    let mut server = Server::with(Settings { grace_ms: 50, ..Settings::default() }).await;
    let mut connection = server.connect().await;
    connection.send("POST", CHAT, &[], chat("wait").to_string().as_bytes()).await;
    server.backend.wait_running(1).await;
    let backend = server.backend.clone();
    server.signal();
    server.ended().await;
    connection.closed().await;
    backend.wait_running(0).await;
}
