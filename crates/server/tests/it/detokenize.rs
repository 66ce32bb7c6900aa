//! `POST /detokenize`.

use crate::support::{Server, check_error};
use serde_json::json;

#[tokio::test]
async fn tokens_become_text() {
    let server = Server::start().await;
    let answer = server.post("/detokenize", &json!({"model": "tiny", "tokens": [97, 98]})).await;
    assert_eq!(answer.json(), json!({"prompt": "ab"}));
}

#[tokio::test]
async fn what_is_refused() {
    let server = Server::start().await;
    let refused = async |tokens: serde_json::Value| server.post("/detokenize", &json!({"tokens": tokens})).await;
    check_error(&refused(json!(null)).await, 400, None, Some("tokens"));
    check_error(&refused(json!("ab")).await, 400, None, Some("tokens"));
    check_error(&refused(json!([1, -1])).await, 400, None, Some("tokens[1]"));
    check_error(&refused(json!([9999])).await, 400, None, Some("tokens"));
}
