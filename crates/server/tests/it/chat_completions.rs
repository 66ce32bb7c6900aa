//! `POST /v1/chat/completions`.

use crate::support::{Server, chat, check_error, stable, with};
use serde_json::json;

const PATH: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_whole_answer() {
    let server = Server::start().await;
    let response = server.post(PATH, &chat("hello")).await;
    assert_eq!(response.status, 200);
    assert!(response.json()["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    insta::assert_json_snapshot!(stable(response.json()));
}

#[tokio::test]
async fn a_stream() {
    let server = Server::start().await;
    let body = with(chat("hello"), json!({"stream": true, "n": 2, "stream_options": {"include_usage": true}}));
    let response = server.post(PATH, &body).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let chunks = response.chunks();
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    let (last, rest) = chunks.split_last().expect("chunks");
    assert_eq!((last["choices"].clone(), last["usage"]["total_tokens"].clone()), (json!([]), json!(7)));
    for chunk in rest {
        assert_eq!(chunk.get("usage"), Some(&json!(null)));
    }
    for index in 0..2 {
        let mine: Vec<_> =
            rest.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index).collect();
        assert_eq!(mine[0]["delta"], json!({"role": "assistant", "content": ""}));
        let text: String = mine.iter().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(text, "Hello");
        let last = mine.last().expect("a finish");
        assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &json!("stop")));
    }
}

#[tokio::test]
async fn a_failure_in_mid_stream_is_one_error_chunk_and_the_end() {
    let server = Server::start().await;
    for script in ["fail", "vanish"] {
        let response = server.post(PATH, &with(chat(script), json!({"stream": true}))).await;
        assert_eq!(response.status, 200);
        let events = response.events();
        let last: serde_json::Value = serde_json::from_str(events.last().expect("events")).expect("JSON");
        assert_eq!(last["error"]["type"], "server_error");
        assert!(!response.text().contains("[DONE]") && !response.text().contains("secret"));
    }
}

#[tokio::test]
async fn a_failure_of_a_whole_answer_is_a_500_without_its_inside() {
    let server = Server::start().await;
    for script in ["fail", "vanish", "crash"] {
        let response = server.post(PATH, &chat(script)).await;
        check_error(&response, 500, Some("internal_error"), None);
        assert!(!response.text().contains("secret"));
    }
}

#[tokio::test]
async fn a_full_queue_is_429_with_both_headers() {
    let server = Server::start().await;
    for stream in [false, true] {
        let response = server.post(PATH, &with(chat("busy"), json!({"stream": stream}))).await;
        check_error(&response, 429, Some("rate_limit_exceeded"), None);
        assert_eq!((response.header("retry-after"), response.header("retry-after-ms")), (Some("2"), Some("2000")));
    }
}

#[tokio::test]
async fn models_that_are_not_there_or_not_ready() {
    let server = Server::start().await;
    let ask = async |model: &str| server.post(PATH, &with(chat("hello"), json!({"model": model}))).await;
    check_error(&ask("gpt-9").await, 404, Some("model_not_found"), Some("model"));
    check_error(&ask("../../etc/passwd").await, 404, Some("model_not_found"), Some("model"));
    check_error(&ask("a\u{0}b").await, 400, None, Some("model"));
    check_error(&ask("a\nb").await, 400, None, Some("model"));
    let long = ask(&"x".repeat(10_000)).await;
    check_error(&long, 400, None, Some("model"));
    assert!(long.body.len() < 1_000);
    assert_eq!(ask("alias").await.status, 200);
    let loading = ask("slow").await;
    check_error(&loading, 503, Some("service_unavailable"), None);
    assert!(loading.header("retry-after").is_some());
}

#[tokio::test]
async fn pings_come_while_nothing_else_does() {
    let settings = orrery_server::Settings { ping_ms: 10, ..Default::default() };
    let server = Server::with(settings).await;
    let mut connection = server.connect().await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", PATH, &[], body.as_bytes()).await;
    connection.until(": ping\n\n").await;
    connection.until(": ping\n\n").await;
    server.backend.release.add_permits(1);
    connection.until("data: [DONE]\n\n").await;
}

#[tokio::test]
async fn each_event_goes_out_at_once() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", PATH, &[], body.as_bytes()).await;
    // The answer cannot end before the release, so this token was not held back for it.
    connection.until("\"content\":\"Hel\"").await;
    server.backend.release.add_permits(1);
    connection.until("\"content\":\"lo\"").await;
    connection.until("data: [DONE]\n\n").await;
}

#[tokio::test]
async fn logprobs_have_their_shape() {
    let server = Server::start().await;
    let body = with(chat("hello"), json!({"logprobs": true, "top_logprobs": 1}));
    let logprobs = server.post(PATH, &body).await.json()["choices"][0]["logprobs"].clone();
    assert_eq!(logprobs["refusal"], json!(null));
    let expected = json!({
        "token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108],
        "top_logprobs": [{"token": "the", "logprob": -0.25, "bytes": [116, 104, 101]}],
    });
    assert_eq!(logprobs["content"][0], expected);
}
