//! Traces, as a collector gets them: what a span says and what it must not, which requests have one, and that a collector
//! that is slow, full or away hurts nobody.

use crate::support::backend::TIMINGS;
use crate::support::collector::{Answer, Collector, Taken};
use crate::support::{PATIENCE, Server, chat, with};
use orrery_server::{Settings, TraceSettings};
use serde_json::json;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const CANARY: &str = "canary-4711";

async fn traced(traces: TraceSettings) -> Server {
    Server::with(Settings { traces: Some(traces), ..Settings::default() }).await
}

fn caller(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Everything that is sent up to the server's end.
async fn all(mut server: Server, collector: &Collector) -> Taken {
    server.signal();
    server.ended().await;
    collector.taken()
}

/// A counter of `/metrics`.
async fn counter(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_chat_is_spans_of_the_callers_trace() {
    let collector = Collector::start().await;
    let headers = vec![("x-token".to_owned(), "secret".to_owned())];
    let settings = TraceSettings { headers, service_name: "models".into(), ..collector.settings() };
    let server = traced(settings).await;
    let body = with(chat("hello"), json!({"n": 2, "max_tokens": 9, "temperature": 0.5, "seed": -3, "top_k": 4}));
    let traceparent = caller("01");
    let headers = [("traceparent", traceparent.as_str()), ("tracestate", "a=1"), ("x-request-id", "r-1")];
    let mut connection = server.connect().await;
    let answer = connection.request("POST", CHAT, &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
    let taken = collector.until(|taken| taken.spans.len() == 5).await;
    assert_eq!(taken.headers["x-token"], "secret");
    assert_eq!(taken.headers["content-type"], "application/x-protobuf");
    assert!(taken.spans.iter().all(|span| span.trace == TRACE && span.state == "a=1" && !span.is_error));

    let request = taken.one("POST /v1/chat/completions");
    assert_eq!((request.parent.as_str(), request.kind, request.is_remote), (CALLER, 2, true));
    request.has("http.request.method", "POST");
    request.has("http.route", CHAT);
    request.has("http.response.status_code", "200");
    request.has("url.scheme", "http");
    request.has("orrery.tenant.id", "default");
    request.has("orrery.request.id", "r-1");
    assert_eq!(request.resource["service.name"], "models");

    let inference = taken.one("chat tiny");
    assert_eq!((inference.parent.as_str(), inference.kind, inference.is_remote), (request.id.as_str(), 1, false));
    for (key, value) in [
        ("operation.name", "chat"),
        ("provider.name", "orrery"),
        ("output.type", "text"),
        ("request.model", "tiny"),
        ("request.stream", "false"),
        ("request.max_tokens", "9"),
        ("request.temperature", "0.5"),
        ("request.seed", "-3"),
        ("request.top_k", "4"),
        ("request.choice.count", "2"),
        ("response.model", "tiny"),
        ("response.id", answer.json()["id"].as_str().expect("an id")),
        ("response.finish_reasons", "[stop,stop]"),
        ("usage.input_tokens", "3"),
        ("usage.output_tokens", "4"),
        ("usage.cache_read.input_tokens", "1"),
    ] {
        inference.has(&format!("gen_ai.{key}"), value);
    }
    inference.has("orrery.outcome", "completed");
    assert!(request.start <= inference.start && inference.end <= request.end);

    let mut from = None;
    for (name, length) in [("queue", TIMINGS.queue), ("prefill", TIMINGS.prefill), ("decode", TIMINGS.decode)] {
        let span = taken.one(name);
        assert_eq!((span.parent.as_str(), span.kind), (inference.id.as_str(), 1));
        assert_eq!(Duration::from_nanos(span.end - span.start), length);
        assert!(from.is_none_or(|from| from == span.start), "one after the other");
        from = Some(span.end);
    }
}

#[tokio::test]
async fn streams_end_their_span_with_their_last_byte() {
    let collector = Collector::start().await;
    let server = traced(collector.settings()).await;
    let mut connection = server.connect().await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    connection.until("Hel").await;
    assert!(collector.taken().spans.is_empty(), "it goes on");
    server.backend.release.add_permits(1);
    let taken = collector.until(|taken| taken.spans.len() == 5).await;
    let (request, inference) = (taken.one("POST /v1/chat/completions"), taken.one("chat tiny"));
    assert_eq!((request.parent.as_str(), request.is_remote), ("", false));
    assert_eq!(request.trace.len(), 32);
    inference.has("gen_ai.request.stream", "true");
    inference.has("orrery.outcome", "completed");
    let first: f64 = inference.attributes["gen_ai.response.time_to_first_chunk"].parse().expect("seconds");
    assert!(first > 0.0 && first < PATIENCE.as_secs_f64());
}

#[tokio::test]
async fn ends_of_other_kinds_are_told() {
    let collector = Collector::start().await;
    let server = traced(collector.settings()).await;
    let mut connection = server.connect().await;
    let body = with(chat("endless"), json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    connection.until("on and on").await;
    drop(connection);
    let taken = collector.until(|taken| taken.spans.len() == 2).await;
    let cancelled = taken.one("chat tiny");
    cancelled.has("orrery.outcome", "cancelled");
    assert!(cancelled.attributes["gen_ai.usage.output_tokens"].parse::<u64>().expect("a count") > 0);
    assert!(!cancelled.is_error && !taken.one("POST /v1/chat/completions").is_error);

    let refusals = [
        (chat("fail"), "internal_error", "chat tiny", "failed"),
        (chat("often"), "rate_limit_exceeded", "chat", "refused"),
        (with(chat("x"), json!({"model": CANARY})), "model_not_found", "chat", "refused"),
    ];
    for (body, error, name, outcome) in refusals {
        let before = collector.taken().spans.len();
        let status = server.post(CHAT, &body).await.status;
        let taken = collector.until(|taken| taken.spans.len() == before + 2).await;
        let (inference, request) = (&taken.spans[before], &taken.spans[before + 1]);
        assert_eq!((inference.name.as_str(), inference.is_error), (name, true));
        inference.has("error.type", error);
        inference.has("orrery.outcome", outcome);
        request.has("http.response.status_code", &status.to_string());
        assert_eq!(request.is_error, status >= 500, "what the client did wrong is no error of the server");
    }
    // A name that a client made up is no model's.
    assert!(!String::from_utf8_lossy(&collector.taken().raw).contains(CANARY));
}

#[tokio::test]
async fn who_called_decides_and_else_the_share() {
    let collector = Collector::start().await;
    let server = traced(TraceSettings { sampled_per_million: 0, ..collector.settings() }).await;
    let mut connection = server.connect().await;
    let mut get = async |headers: &[(&str, &str)]| connection.request("GET", "/v1/models", headers, b"").await.status;
    assert_eq!(get(&[]).await, 200);
    assert_eq!(get(&[("traceparent", &caller("00"))]).await, 200);
    assert_eq!(get(&[("traceparent", "00-nonsense")]).await, 200);
    assert_eq!(get(&[("traceparent", &caller("01"))]).await, 200);
    let taken = all(server, &collector).await;
    assert_eq!(taken.one("GET /v1/models").parent, CALLER);
    assert_eq!(taken.spans.len(), 1);

    let server = traced(collector.settings()).await;
    server.post("/v1/models", &json!({})).await;
    let headers = [("traceparent", caller("00"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    server.connect().await.request("GET", "/v1/models", &headers, b"").await;
    let taken = all(server, &collector).await;
    assert_eq!(taken.spans.len(), 2, "and not the one that the caller did not sample");
    taken.one("POST /v1/models").has("http.response.status_code", "405");
}

#[tokio::test]
async fn strangers_probes_and_scrapes_have_no_span() {
    let collector = Collector::start().await;
    let server = traced(collector.settings()).await;
    let traceparent = caller("01");
    let mut stranger = server.stranger().await;
    for (path, key) in [("/health", None), ("/v1/models", None), ("/v1/models", Some("Bearer orr_wrong"))] {
        let mut headers = vec![("traceparent", traceparent.as_str())];
        headers.extend(key.map(|key| ("authorization", key)));
        stranger.request("GET", path, &headers, b"").await;
    }
    server.get("/metrics").await;
    assert!(all(server, &collector).await.spans.is_empty());
}

/// Nothing that a client says, but ids and names of models that are served, is in a span (THREATS F1).
#[tokio::test]
async fn no_prompt_answer_or_key_is_in_a_span() {
    let collector = Collector::start().await;
    let server = traced(collector.settings()).await;
    let texts = json!({
        "stop": [CANARY], "user": CANARY, "cache_salt": CANARY, "metadata": {CANARY: CANARY}, "logprobs": true,
    });
    for stream in [false, true] {
        let mut body = with(chat(CANARY), texts.clone());
        body["stream"] = json!(stream);
        assert_eq!(server.post(CHAT, &body).await.status, 200);
        let completion = json!({"model": "tiny", "prompt": [CANARY, CANARY], "stream": stream, "echo": true});
        let answer = server.post("/v1/completions", &completion).await;
        assert!(answer.text().contains(CANARY), "it did come through");
    }
    assert_eq!(server.post(CHAT, &with(chat("x"), json!({"temperature": CANARY}))).await.status, 400);
    assert_eq!(server.post("/tokenize", &json!({"model": "tiny", "prompt": CANARY})).await.status, 200);
    assert_eq!(server.get(&format!("/v1/{CANARY}?q={CANARY}")).await.status, 404);
    let key = server.backend.key.clone();
    let taken = all(server, &collector).await;
    assert_eq!(taken.spans.iter().filter(|span| span.name == "queue").count(), 6, "a completion has two prompts");
    let raw = String::from_utf8_lossy(&taken.raw).into_owned();
    for secret in [CANARY, key.as_str(), &key[4..16], "Hel", "Bearer"] {
        assert!(!raw.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_hurts_nobody() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}/v1/traces", gone.local_addr().expect("an address"));
    drop(gone);
    let mut server = traced(TraceSettings { batch_ms: 1, ..TraceSettings::to(endpoint) }).await;
    for _ in 0..3 {
        assert_eq!(server.post(CHAT, &chat("hello")).await.status, 200);
    }
    let begin = Instant::now();
    while counter(&server, "orrery_trace_spans_lost_total").await < 15 {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(counter(&server, "orrery_trace_spans_exported_total").await, 0);
    server.signal();
    server.ended().await;
}

#[tokio::test]
async fn a_collector_that_is_slow_costs_spans_and_no_time() {
    let collector = Collector::start().await;
    collector.answer.send_replace(Answer::Silence);
    let settings = TraceSettings { queue_max: 1, batch_max: 1, flush_ms: 100, ..collector.settings() };
    let mut server = traced(settings).await;
    assert_eq!(server.get("/v1/models").await.status, 200);
    collector.until(|taken| taken.posts == 1).await;
    // One is on its way and one waits.
    for _ in 0..10 {
        assert_eq!(server.get("/v1/models").await.status, 200);
    }
    assert_eq!(counter(&server, "orrery_trace_spans_lost_total").await, 9);
    let begin = Instant::now();
    server.signal();
    server.ended().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "the end waits a bounded time");
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted_and_what_it_puts_off_is_sent_again() {
    let collector = Collector::start().await;
    let server = traced(collector.settings()).await;
    collector.answer.send_replace(Answer::Rejects(1));
    let settled = async |exported: u64, lost: u64| {
        let begin = Instant::now();
        while counter(&server, "orrery_trace_spans_exported_total").await != exported
            || counter(&server, "orrery_trace_spans_lost_total").await != lost
        {
            assert!(begin.elapsed() < PATIENCE, "{exported} exported, {lost} lost");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    server.get("/v1/models").await;
    settled(0, 1).await;
    collector.answer.send_replace(Answer::Status(400));
    server.get("/v1/models").await;
    settled(0, 2).await;
    assert_eq!(collector.taken().posts, 2, "what is refused for good is not sent again");
    collector.answer.send_replace(Answer::Ok);
    server.get("/v1/models").await;
    settled(1, 2).await;
    collector.answer.send_replace(Answer::Status(503));
    server.get("/v1/models").await;
    collector.until(|taken| taken.posts == 4).await;
    collector.answer.send_replace(Answer::Ok);
    settled(2, 2).await;
    assert_eq!(collector.taken().posts, 5);
}
