//! Routes and methods that do not exist.

use crate::support::{Server, check_error};
use serde_json::json;

#[tokio::test]
async fn unknown_routes() {
    let server = Server::start().await;
    for path in ["/nowhere", "/v1", "/v1/chat", "/v1/filesystem", "//v1/models", "/v1/models/a/b"] {
        check_error(&server.get(path).await, 404, Some("unknown_url"), None);
    }
}

#[tokio::test]
async fn known_routes_that_are_not_built_say_so() {
    let server = Server::start().await;
    for path in ["/v1/embeddings", "/v1/responses", "/v1/batches/batch_1/cancel", "/v1/vector_stores"] {
        let error = check_error(&server.post(path, &json!({})).await, 404, Some("unknown_url"), None);
        assert!(error["message"].as_str().is_some_and(|message| message.contains("not built")), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_right_ones() {
    let server = Server::start().await;
    let response = server.get("/v1/completions").await;
    check_error(&response, 405, Some("method_not_allowed"), None);
    assert_eq!(response.header("allow"), Some("POST"));
    check_error(&server.post("/v1/models", &json!({})).await, 405, Some("method_not_allowed"), None);
}
