//! `GET /metrics`.

use crate::support::{Connection, Server, chat, check_error, with};
use orrery_platform::accounts::{NewKey, TenantChange};
use orrery_server::Settings;
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

/// A tenant's id, and a connection with a key of it.
async fn tenant(server: &Server, name: &str, role: &str) -> (String, Connection) {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let change = TenantChange { name: Some(name.into()), ..TenantChange::default() };
    let id = accounts.create_tenant(&by, change).await.expect("a tenant").id;
    let new = NewKey { tenant: Some(id.clone()), role: role.into(), ..NewKey::default() };
    let key = accounts.create_key(&by, new).await.expect("a key").1;
    (id, server.stranger().await.with_key(&key))
}

async fn ask(connection: &mut Connection, script: &str, stream: bool) -> u16 {
    let body = with(chat(script), json!({"stream": stream})).to_string();
    connection.request("POST", CHAT, &[], body.as_bytes()).await.status
}

/// A sample of a tenant.
async fn of(server: &Server, metric: &str, tenant: &str, label: &str, value: &str) -> Option<f64> {
    sample(server, &format!("orrery_tenant_{metric}_total{{tenant=\"{tenant}\",{label}=\"{value}\"}}")).await
}

#[tokio::test]
async fn tenants_are_counted_by_id_and_never_by_name() {
    let server = Server::start().await;
    let (one, mut first) = tenant(&server, "Acme", "inference").await;
    let (two, mut second) = tenant(&server, "Globex", "developer").await;
    for stream in [false, true] {
        assert_eq!(ask(&mut first, "hello", stream).await, 200);
    }
    assert_eq!(ask(&mut second, "short", false).await, 200);
    let completions = json!({"model": "tiny", "prompt": ["a", "b"], "n": 2}).to_string();
    assert_eq!(second.request("POST", "/v1/completions", &[], completions.as_bytes()).await.status, 200);
    for (tenant, requests, tokens) in [(&one, 2.0, [6.0, 2.0, 4.0]), (&two, 2.0, [9.0, 3.0, 10.0])] {
        assert_eq!(of(&server, "requests", tenant, "outcome", "completed").await, Some(requests));
        for (kind, count) in ["input", "cached", "output"].into_iter().zip(tokens) {
            assert_eq!(of(&server, "tokens", tenant, "kind", kind).await, Some(count), "{kind}");
        }
    }
    let text = server.get("/metrics").await.text();
    assert!(!text.contains("Acme") && !text.contains("Globex"));
}

#[tokio::test]
async fn what_was_produced_before_a_failure_or_a_disconnect_counts() {
    let server = Server::start().await;
    let (id, mut connection) = tenant(&server, "a", "inference").await;
    assert_eq!(ask(&mut connection, "fail", false).await, 500);
    assert_eq!(of(&server, "requests", &id, "outcome", "failed").await, Some(1.0));
    assert_eq!(of(&server, "tokens", &id, "kind", "output").await, Some(1.0));
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    server.backend.wait_running(1).await;
    drop(connection);
    server.backend.wait_running(0).await;
    assert_eq!(of(&server, "requests", &id, "outcome", "cancelled").await, Some(1.0));
    assert_eq!(of(&server, "requests", &id, "outcome", "completed").await, Some(0.0));
    assert_eq!(of(&server, "tokens", &id, "kind", "input").await, Some(0.0));
}

#[tokio::test]
async fn tenants_over_the_limit_share_a_label() {
    let server = Server::with(Settings { metrics_tenants_max: 2, ..Settings::default() }).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let (id, mut connection) = tenant(&server, name, "inference").await;
        for _ in 0..2 {
            assert_eq!(ask(&mut connection, "hello", false).await, 200);
        }
        ids.push(id);
    }
    for (tenant, requests) in [(&ids[0], 2.0), (&ids[1], 2.0), (&"other".to_owned(), 4.0)] {
        assert_eq!(of(&server, "requests", tenant, "outcome", "completed").await, Some(requests), "{tenant}");
    }
    let text = server.get("/metrics").await.text();
    assert!(!text.contains(&ids[2]) && !text.contains(&ids[3]));
}

#[tokio::test]
async fn refusals_are_counted_by_what_was_in_the_way() {
    let server = Server::start().await;
    let (id, mut connection) = tenant(&server, "a", "inference").await;
    for (script, times) in [("often", 1), ("spent", 2), ("busy", 3)] {
        for _ in 0..times {
            assert_eq!(ask(&mut connection, script, false).await, 429);
        }
    }
    for _ in 0..4 {
        check_error(
            &connection.request("GET", "/v1/keys", &[], b"").await,
            403,
            Some("insufficient_permissions"),
            None,
        );
    }
    assert_eq!(connection.request("POST", CHAT, &[], b"{}").await.status, 400);
    let prompts = json!({"model": "tiny", "prompt": ["a", "busy"]}).to_string();
    assert_eq!(connection.request("POST", "/v1/completions", &[], prompts.as_bytes()).await.status, 429);
    for (reason, count) in [("rate", 1.0), ("budget", 2.0), ("queue", 4.0), ("auth", 4.0)] {
        assert_eq!(of(&server, "refused", &id, "reason", reason).await, Some(count), "{reason}");
    }
    for outcome in ["completed", "failed", "cancelled"] {
        assert_eq!(of(&server, "requests", &id, "outcome", outcome).await, Some(0.0), "{outcome}");
    }
}

#[tokio::test]
async fn who_has_no_good_key_is_counted_and_is_no_label() {
    let server = Server::start().await;
    assert_eq!(sample(&server, "orrery_auth_refused_total").await, Some(0.0));
    for headers in [&[][..], &[("authorization", "Basic x")], &[("authorization", "Bearer orr_made-up")]] {
        assert_eq!(server.stranger().await.request("GET", "/v1/models", headers, b"").await.status, 401);
    }
    assert_eq!(server.stranger().await.request("GET", "/health", &[], b"").await.status, 200);
    assert_eq!(sample(&server, "orrery_auth_refused_total").await, Some(3.0));
    let text = server.get("/metrics").await.text();
    assert!(!text.contains("made-up") && !text.contains("tenant=\""));
}
