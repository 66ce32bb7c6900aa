//! `GET /health`.

use crate::support::Server;
use serde_json::json;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn well_and_not() {
    let server = Server::start().await;
    let response = server.get("/health").await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ok"})));
    server.backend.unready.store(true, Ordering::Release);
    let response = server.get("/health").await;
    assert_eq!((response.status, response.json()), (503, json!({"status": "failed"})));
    assert!(response.header("retry-after").is_some() && !response.text().contains("secret"));
}
