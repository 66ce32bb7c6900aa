//! Every parameter's type and range (THREATS B7), on both routes that generate.

use crate::support::{Server, chat, check_error, with};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn text() -> Value {
    json!({"model": "tiny", "prompt": "hello"})
}

async fn refused(server: &Server, path: &str, base: Value, name: &str, value: &Value) {
    let response = server.post(path, &with(base, json!({name: value}))).await;
    assert_eq!(response.status, 400, "{path} {name} = {value}");
    let param = response.json()["error"]["param"].as_str().map(str::to_owned);
    assert_eq!(param.as_deref(), Some(name), "{path} {name} = {value}");
}

#[tokio::test]
async fn shared_parameters_out_of_range_or_of_the_wrong_type() {
    let server = Server::start().await;
    let huge = json!(1e300);
    let cases: &[(&str, &[Value])] = &[
        ("temperature", &[json!(-0.1), json!(2.1), huge.clone(), json!("1"), json!(true), json!([])]),
        ("top_p", &[json!(-0.1), json!(1.1), huge.clone(), json!("1")]),
        ("min_p", &[json!(-1), json!(2), json!({})]),
        ("presence_penalty", &[json!(-2.1), json!(2.1), json!("x")]),
        ("frequency_penalty", &[json!(-2.1), json!(2.1), json!("x")]),
        ("repetition_penalty", &[json!(0), json!(-1), huge.clone()]),
        ("n", &[json!(0), json!(-1), json!(17), json!(1.5), json!(17.0), json!(u64::MAX), huge.clone(), json!("2")]),
        ("top_k", &[json!(-2), json!(1.5), huge.clone(), json!("x")]),
        ("max_tokens", &[json!(-1), json!(1.5), huge.clone(), json!("x"), json!(i64::MAX)]),
        ("seed", &[json!(1.5), json!(u64::MAX), huge.clone(), json!("x")]),
        ("priority", &[json!(1.5), json!(i64::MAX), json!("x")]),
        ("stop", &[json!(5), json!([5]), json!([""]), json!(""), json!(["a", "b", "c", "d", "e"]), json!("a\u{0}")]),
        (
            "logit_bias",
            &[json!([]), json!({"a": 1}), json!({"-1": 1}), json!({"1": 101}), json!({"1": "x"}), json!({"1": null})],
        ),
        ("stream", &[json!("true"), json!(1)]),
        ("stream_options", &[json!({"include_usage": true}), json!(5)]),
        ("ignore_eos", &[json!(1)]),
        ("cache_salt", &[json!(5), json!("x".repeat(513))]),
        ("user", &[json!(5)]),
        ("metadata", &[json!("x")]),
        ("response_format", &[json!({"type": "json_object"})]),
        ("tools", &[json!([{"type": "function"}])]),
        ("model", &[json!(null), json!(5), json!("a\u{0}")]),
    ];
    for (name, values) in cases {
        for value in *values {
            refused(&server, CHAT, chat("hello"), name, value).await;
            refused(&server, TEXT, text(), name, value).await;
        }
    }
}

#[tokio::test]
async fn parameters_of_one_route() {
    let server = Server::start().await;
    for value in [json!(0), json!(-5), json!("x")] {
        refused(&server, CHAT, chat("hello"), "max_completion_tokens", &value).await;
        refused(&server, CHAT, chat("hello"), "max_tokens", &value).await;
    }
    for value in [json!(-1), json!(21), json!(1.5), json!(3)] {
        // The last is in range, but nothing asks for logprobs.
        refused(&server, CHAT, chat("hello"), "top_logprobs", &value).await;
    }
    refused(&server, CHAT, chat("hello"), "logprobs", &json!(3)).await;
    for value in [json!(-1), json!(21), json!(true)] {
        refused(&server, TEXT, text(), "logprobs", &value).await;
    }
    refused(&server, TEXT, text(), "echo", &json!("yes")).await;
    refused(&server, TEXT, text(), "suffix", &json!("end")).await;
    refused(&server, TEXT, text(), "best_of", &json!(3)).await;
    let both = with(chat("hello"), json!({"max_tokens": 1, "max_completion_tokens": 2}));
    check_error(&server.post(CHAT, &both).await, 400, None, Some("max_tokens"));
}

#[tokio::test]
async fn nothing_of_a_refused_request_runs() {
    let server = Server::start().await;
    refused(&server, CHAT, chat("wait"), "n", &json!(17)).await;
    assert_eq!(server.backend.running(), 0);
    assert!(server.backend.seen.lock().expect("no panic").is_none());
}

#[tokio::test]
async fn the_edges_pass_and_arrive() {
    let server = Server::start().await;
    let edges = json!({
        "temperature": 2, "top_p": 0, "min_p": 1, "presence_penalty": -2, "frequency_penalty": 2, "n": 16.0,
        "seed": -1, "max_tokens": 1, "priority": -7, "stop": ["a", "b", "c", "d"], "logit_bias": {"5": -100},
        "top_k": -1.0, "tools": [], "store": false, "user": "u", "metadata": {"a": "b"}, "service_tier": "auto", "some_new_field": 1,
    });
    for (path, base) in [(CHAT, chat("hello")), (TEXT, text())] {
        let response = server.post(path, &with(base, edges.clone())).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["choices"].as_array().map(Vec::len), Some(16));
        let seen = server.backend.seen.lock().expect("no panic").take().expect("a request");
        assert_eq!((seen.n, seen.top_k, seen.seed, seen.max_tokens), (16, 0, Some(u64::MAX), Some(1)));
        assert_eq!((seen.temperature, seen.top_p, seen.logit_bias, seen.priority), (2.0, 0.0, vec![(5, -100.0)], -7));
    }
}

#[tokio::test]
async fn nulls_are_defaults() {
    let server = Server::start().await;
    let nulls = json!({
        "temperature": null, "n": null, "stop": null, "stream": null, "logit_bias": null, "tools": null, "max_tokens": null,
        "response_format": null, "stream_options": null, "seed": null,
    });
    assert_eq!(server.post(CHAT, &with(chat("hello"), nulls.clone())).await.status, 200);
    let seen = server.backend.seen.lock().expect("no panic").take().expect("a request");
    assert_eq!((seen.n, seen.temperature, seen.top_p, seen.seed, seen.max_tokens), (1, 1.0, 1.0, None, None));
    assert_eq!(server.post(TEXT, &with(text(), nulls)).await.status, 200);
    let seen = server.backend.seen.lock().expect("no panic").take().expect("a request");
    // The older API's default.
    assert_eq!(seen.max_tokens, Some(16));
}
