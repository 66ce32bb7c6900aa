//! `POST /tokenize`.

use crate::support::{Server, check_error};
use serde_json::json;

#[tokio::test]
async fn a_prompt_and_a_chat() {
    let server = Server::start().await;
    let answer = server.post("/tokenize", &json!({"model": "tiny", "prompt": "ab"})).await;
    assert_eq!(answer.json(), json!({"count": 3, "max_model_len": 64, "tokens": [1, 97, 98]}));
    let plain = json!({"prompt": "ab", "add_special_tokens": false});
    assert_eq!(server.post("/tokenize", &plain).await.json()["tokens"], json!([97, 98]));
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": "abc"}]});
    assert_eq!(server.post("/tokenize", &chat).await.json()["tokens"], json!([3]));
}

#[tokio::test]
async fn what_is_refused() {
    let server = Server::start().await;
    check_error(&server.post("/tokenize", &json!({"model": "tiny"})).await, 400, None, Some("prompt"));
    let unknown = json!({"model": "other", "prompt": "a"});
    check_error(&server.post("/tokenize", &unknown).await, 404, Some("model_not_found"), Some("model"));
    // With several models the name cannot be guessed.
    server.backend.unready.store(true, std::sync::atomic::Ordering::Release);
    check_error(&server.post("/tokenize", &json!({"prompt": "a"})).await, 400, None, Some("model"));
}

#[tokio::test]
async fn a_bound_on_length_is_held_both_ways() {
    let server = Server::with(orrery_server::Settings { tokenize_max_bytes: 8, ..Default::default() }).await;
    assert_eq!(server.post("/tokenize", &json!({"prompt": "12345678"})).await.status, 200);
    check_error(&server.post("/tokenize", &json!({"prompt": "123456789"})).await, 400, None, Some("prompt"));
    let chat = json!({"messages": [{"role": "user", "content": "12345"}, {"role": "user", "content": "6789"}]});
    check_error(&server.post("/tokenize", &chat).await, 400, None, Some("messages"));
    assert_eq!(server.post("/detokenize", &json!({"tokens": [97, 98]})).await.status, 200);
    check_error(&server.post("/detokenize", &json!({"tokens": [97, 98, 99]})).await, 400, None, Some("tokens"));
}
