//! `POST /v1/completions`.

use crate::support::{Server, check_error, stable};
use serde_json::json;

const PATH: &str = "/v1/completions";

#[tokio::test]
async fn a_whole_answer() {
    let server = Server::start().await;
    let response = server.post(PATH, &json!({"model": "tiny", "prompt": "hello"})).await;
    assert_eq!(response.status, 200);
    insta::assert_json_snapshot!(stable(response.json()));
}

#[tokio::test]
async fn echo_with_logprobs_and_no_new_token() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "prompt": "Once", "echo": true, "logprobs": 1, "max_tokens": 0});
    let choice = server.post(PATH, &body).await.json()["choices"][0].clone();
    assert_eq!(choice["text"], "Once");
    let expected = json!({
        "tokens": ["Once", "!"], "token_logprobs": [null, -0.5],
        "top_logprobs": [null, {"the": -0.25, "!": -0.5}], "text_offset": [0, 4],
    });
    assert_eq!(choice["logprobs"], expected);
}

#[tokio::test]
async fn many_prompts_and_choices() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "prompt": ["a", "b", "c"], "n": 2, "echo": true});
    let answer = server.post(PATH, &body).await.json();
    let text = |index: usize| answer["choices"][index]["text"].as_str().expect("a text").to_owned();
    assert_eq!((0..6).map(text).collect::<Vec<_>>(), ["aHello", "aHello", "bHello", "bHello", "cHello", "cHello"]);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
}

#[tokio::test]
async fn a_refused_prompt_cancels_its_sisters() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "prompt": ["wait", "wait", "busy"]});
    check_error(&server.post(PATH, &body).await, 429, Some("rate_limit_exceeded"), None);
    server.backend.wait_running(0).await;
}

#[tokio::test]
async fn a_stream_of_two_prompts_ends_once() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "prompt": [[1, 2], [3]], "stream": true, "stream_options": {"include_usage": true},
    });
    let response = server.post(PATH, &body).await;
    let chunks = response.chunks();
    assert_eq!(response.text().matches("[DONE]").count(), 1);
    assert_eq!(chunks.last().expect("chunks")["usage"]["completion_tokens"], 4);
    for index in 0..2 {
        let mine = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
        assert_eq!(mine.filter_map(|choice| choice["text"].as_str()).collect::<String>(), "Hello");
    }
}

#[tokio::test]
async fn an_echo_comes_first_in_a_stream() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "prompt": "Once", "echo": true, "stream": true});
    let chunks = server.post(PATH, &body).await.chunks();
    assert_eq!(chunks[0]["choices"][0]["text"], "Once");
}
