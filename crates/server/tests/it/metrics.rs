//! `GET /metrics`.

use crate::support::{Connection, Server, chat, with};
use serde_json::json;

/// The value of a sample whose name and labels begin like this.
async fn sample(server: &Server, prefix: &str) -> Option<f64> {
    let text = server.get("/metrics").await.text();
    let line = text.lines().find(|line| line.starts_with(prefix))?.to_owned();
    line.rsplit(' ').next()?.parse().ok()
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn gauges_and_counters_of_the_engines() {
    let server = Server::start().await;
    let response = server.get("/metrics").await;
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(response.text().ends_with("# EOF\n"));
    let check = async |name: &str, value: f64| {
        assert_eq!(sample(&server, &format!("{name}{{model_name=\"tiny\"}}")).await, Some(value), "{name}");
    };
    check("vllm:num_requests_running", 0.0).await;
    check("vllm:num_requests_waiting", 0.0).await;
    check("vllm:kv_cache_usage_perc", 0.25).await;
    check("vllm:prompt_tokens_total", 7.0).await;
    check("vllm:generation_tokens_total", 0.0).await;
    check("vllm:prefix_cache_queries_total", 0.0).await;
    check("vllm:prefix_cache_hits_total", 0.0).await;
    check("vllm:spec_decode_num_drafts_total", 3.0).await;
    check("vllm:spec_decode_num_draft_tokens_total", 20.0).await;
    check("vllm:spec_decode_num_accepted_tokens_total", 11.0).await;
}

#[tokio::test]
async fn latencies_are_counted_once_for_each_request_and_token() {
    let server = Server::start().await;
    for stream in [false, true] {
        server.post(CHAT, &with(chat("hello"), json!({"stream": stream, "n": 2}))).await;
    }
    let count = async |name: &str| sample(&server, &format!("{name}_count")).await;
    assert_eq!(count("vllm:time_to_first_token_seconds").await, Some(2.0));
    // Two choices of two tokens each have one interval each.
    assert_eq!(count("vllm:inter_token_latency_seconds").await, Some(4.0));
    assert_eq!(count("vllm:e2e_request_latency_seconds").await, Some(2.0));
    let ended = "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"}";
    assert_eq!(sample(&server, ended).await, Some(4.0));
}

#[tokio::test]
async fn where_the_time_went_is_told_for_each_prompt() {
    let server = Server::start().await;
    server.post(CHAT, &chat("hello")).await;
    server.post("/v1/completions", &json!({"model": "tiny", "prompt": ["a", "b"], "stream": true})).await;
    server.post(CHAT, &chat("fail")).await;
    for (name, seconds) in [("queue", 0.75), ("prefill", 0.25), ("decode", 1.25)] {
        let read = async |what: &str| {
            sample(&server, &format!("vllm:request_{name}_time_seconds_{what}{{model_name=\"tiny\"")).await
        };
        assert_eq!(read("count").await, Some(3.0), "{name}");
        assert_eq!(read("sum").await, Some(3.0 * seconds), "{name}");
    }
}

#[tokio::test]
async fn failures_and_aborts_have_reasons_of_their_own() {
    let server = Server::start().await;
    server.post(CHAT, &chat("fail")).await;
    server.post(CHAT, &with(chat("vanish"), json!({"stream": true}))).await;
    let mut connection: Connection = server.connect().await;
    connection.send("POST", CHAT, &[], chat("wait").to_string().as_bytes()).await;
    server.backend.wait_running(1).await;
    drop(connection);
    server.backend.wait_running(0).await;
    let reason = async |reason: &str| {
        let prefix = format!("vllm:request_success_total{{model_name=\"tiny\",finished_reason=\"{reason}\"}}");
        sample(&server, &prefix).await
    };
    assert_eq!(reason("error").await, Some(2.0));
    assert_eq!(reason("abort").await, Some(1.0));
}

#[tokio::test]
async fn a_made_up_model_is_no_label() {
    let server = Server::start().await;
    server.post(CHAT, &with(chat("hello"), json!({"model": "made-up"}))).await;
    assert!(!server.get("/metrics").await.text().contains("made-up"));
}
