//! Limits, budgets and the ledger, over a real engine: what is charged is what was produced, whatever the client does.

use crate::engine::{Served, fixture};
use crate::support::{Connection, check_error};
use orrery_platform::accounts::{Keys, NewKey, PriceInfo, UsageInfo, UsageRequest};
use orrery_platform::accounts::{LimitsInfo, TenantChange};
use orrery_platform::{Accounts, Principal};
use serde_json::{Value, json};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

async fn served() -> Served {
    Served::start(&fixture("llama-q8_0.gguf"), |_| {}).await
}

async fn admin(served: &Served) -> Principal {
    served.platform.accounts().authenticate(Some(&served.key)).await.expect("a good key")
}

/// A key with limits, and a connection that brings it.
async fn limited(served: &Served, limits: LimitsInfo) -> Connection {
    let new = NewKey { role: "inference".into(), limits, ..NewKey::default() };
    let (_, key) = served.platform.accounts().create_key(&admin(served).await, new).await.expect("a key");
    Connection::open(served.address).await.with_key(&key)
}

/// Sums of the ledger once all that ended is in it.
async fn ledger(served: &Served, request: UsageRequest) -> Vec<UsageInfo> {
    let accounts = served.platform.accounts();
    let settled = async {
        while accounts.meter_stats().expect("a meter").waiting > 0
            || accounts.meter_stats().expect("a meter").running > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, settled).await.expect("in time");
    accounts.usage(&admin(served).await, request).await.expect("sums")
}

async fn total(served: &Served) -> UsageInfo {
    ledger(served, UsageRequest::default()).await.remove(0)
}

fn text(max_tokens: usize) -> Value {
    json!({"prompt": (1..=20).collect::<Vec<u32>>(), "max_tokens": max_tokens, "ignore_eos": true, "temperature": 0})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_is_billed_for_what_it_produced() {
    let served = served().await;
    let mut usage = [0, 0];
    let mut add = |answer: Value| {
        usage[0] += answer["usage"]["prompt_tokens"].as_u64().expect("a count");
        usage[1] += answer["usage"]["completion_tokens"].as_u64().expect("a count");
    };
    let chat = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 7, "n": 3});
    add(served.post(CHAT, chat).await.json());
    add(served.post(TEXT, text(5)).await.json());
    let mut two = text(4);
    two["prompt"] = json!(["first", "second one"]);
    add(served.post(TEXT, two).await.json());
    let mut streamed = text(6);
    (streamed["stream"], streamed["stream_options"]) = (json!(true), json!({"include_usage": true}));
    add(served.post(TEXT, streamed).await.chunks().pop().expect("a last chunk"));
    let sum = total(&served).await;
    assert_eq!((sum.requests, sum.completed), (5, 5), "a completion of two prompts is two rows");
    assert_eq!([sum.input_tokens, sum.output_tokens], usage);
    assert_eq!(sum.output_tokens, served.stats().generation_tokens);
    assert!(sum.prefill_us > 0 && sum.decode_us > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_pays_for_what_was_produced() {
    let served = served().await;
    for (stream, read) in [(true, 5), (false, 0)] {
        let before = (total(&served).await.output_tokens, served.stats().generation_tokens);
        let mut body = text(400);
        body["stream"] = json!(stream);
        let mut connection = served.ask(TEXT, body).await;
        for _ in 0..read {
            connection.until("data: ").await;
        }
        served.until("some tokens", |stats| stats.generation_tokens >= before.1 + 10).await;
        drop(connection);
        served.until("the end", |stats| stats.running == 0).await;
        let sum = total(&served).await;
        let (billed, produced) = (sum.output_tokens - before.0, served.stats().generation_tokens - before.1);
        // The step that was under way when the cancel came is not billed.
        assert!(billed >= 10 && billed <= produced && produced - billed <= 1, "{billed} of {produced}");
        assert_eq!(sum.completed, 0);
    }
    assert_eq!(total(&served).await.requests, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_are_exact() {
    let served = served().await;
    let accounts = served.platform.accounts();
    let price = PriceInfo { model: served.model.clone(), input_nano: 1000, cached_nano: 100, output_nano: 3000 };
    accounts.set_price(&admin(&served).await, price).await.expect("set");
    let mut cost = 0;
    for cached in [0, 19] {
        let usage = served.post(TEXT, text(4)).await.json()["usage"].clone();
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], cached);
        cost += (20 - cached) * 1000 + cached * 100 + 4 * 3000;
    }
    assert_eq!(total(&served).await.cost_nano, cost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_per_minute_are_counted_and_told() {
    let served = served().await;
    let limits = LimitsInfo { requests_per_minute: Some(2), ..LimitsInfo::default() };
    let mut connection = limited(&served, limits).await;
    let mut body = text(1);
    body["model"] = json!(served.model);
    let mut send = async || connection.request("POST", TEXT, &[], body.to_string().as_bytes()).await;
    for left in ["1", "0"] {
        let answer = send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("2"));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some(left));
    }
    let refused = send().await;
    check_error(&refused, 429, Some("rate_limit_exceeded"), None);
    let wait: u64 = refused.header("retry-after-ms").expect("a wait").parse().expect("a number");
    assert!((1..=30_000).contains(&wait), "one request comes back in half a minute: {wait}");
    assert_eq!(refused.header("retry-after"), Some(wait.div_ceil(1000).to_string().as_str()));
}

/// Ids of rows are the server's own, so what a client calls its requests neither repeats nor suppresses one (THREATS E3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_equal_or_empty_ids_are_rows_of_their_own() {
    let served = served().await;
    let mut body = text(2);
    body["model"] = json!(served.model);
    let body = body.to_string();
    let send = |id: &'static str| {
        let (served, body) = (&served, body.as_bytes());
        async move {
            let mut connection = served.connect().await;
            connection.request("POST", TEXT, &[("x-request-id", id), ("idempotency-key", id)], body).await.status
        }
    };
    let statuses = futures_util::future::join_all(["same", "same", "same", "", "", "same"].map(send)).await;
    assert_eq!(statuses, [200; 6]);
    let sum = total(&served).await;
    assert_eq!((sum.requests, sum.output_tokens), (6, 12));
}

/// Two hundred at once at the edge of a budget: none of it is overspent, by the ledger's own sum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_do_not_overspend() {
    let served = served().await;
    let limits = LimitsInfo { month_tokens: Some(500), ..LimitsInfo::default() };
    let new = NewKey { role: "inference".into(), limits, ..NewKey::default() };
    let (info, key) = served.platform.accounts().create_key(&admin(&served).await, new).await.expect("a key");
    let mut body = text(5);
    body["model"] = json!(served.model);
    let body = body.to_string();
    let send = |_| async {
        let mut connection = Connection::open(served.address).await.with_key(&key);
        connection.request("POST", TEXT, &[], body.as_bytes()).await.status
    };
    let statuses = futures_util::future::join_all((0..200).map(send)).await;
    let accepted = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    let request = UsageRequest { key: Some(info.id), ..UsageRequest::default() };
    let sum = ledger(&served, request).await.remove(0);
    assert_eq!((sum.requests, sum.input_tokens + sum.output_tokens), (accepted, accepted * 25));
    assert_eq!(accepted, 20, "the budget is used to its end, and not beyond");
    let mut connection = Connection::open(served.address).await.with_key(&key);
    let refused = connection.request("POST", TEXT, &[], body.as_bytes()).await;
    check_error(&refused, 429, Some("insufficient_quota"), None);
    assert_eq!(refused.header("x-should-retry"), Some("false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_outlives_the_process() {
    let served = served().await;
    let limits = LimitsInfo { month_tokens: Some(30), ..LimitsInfo::default() };
    let mut connection = limited(&served, limits).await;
    let mut body = text(5);
    body["model"] = json!(served.model);
    let first = connection.request("POST", TEXT, &[], body.to_string().as_bytes()).await;
    assert_eq!(first.status, 200);
    total(&served).await;
    // What another process would see of the same folder.
    let accounts = Accounts::open(served.data.path(), Keys::Asked).await.expect("accounts").accounts;
    let by = accounts.operator().await.expect("the operator");
    let sums = accounts.usage(&by, UsageRequest { group_by: vec!["key".into()], ..UsageRequest::default() }).await;
    let spent: u64 = sums.expect("sums").iter().map(|sum| sum.input_tokens + sum.output_tokens).sum();
    assert_eq!(spent, 25);
    let second = connection.request("POST", TEXT, &[], body.to_string().as_bytes()).await;
    check_error(&second, 429, Some("insufficient_quota"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_masks_sees_no_personal_data_in_its_prompt() {
    let served = served().await;
    let accounts = served.platform.accounts();
    let ask = async |mode: &str| {
        let change = TenantChange { redaction_request: Some(mode.into()), ..TenantChange::default() };
        accounts.change_tenant(&admin(&served).await, "default", change).await.expect("changed");
        served.post(TEXT, json!({"prompt": "mail ada@example.org now", "max_tokens": 0, "echo": true})).await
    };
    let echoed = |answer: &crate::support::Response| answer.json()["choices"][0]["text"].as_str().map(str::to_owned);
    assert_eq!(echoed(&ask("off").await).as_deref(), Some("mail ada@example.org now"));
    assert_eq!(echoed(&ask("mask").await).as_deref(), Some("mail [EMAIL] now"));
    let refused = ask("refuse").await;
    check_error(&refused, 400, None, Some("prompt"));
    assert!(!refused.text().contains("ada@"));
}

/// What one tenant has cached is never told to, nor used for, another; the server makes the salt, and a client's only narrows
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_finds_what_another_has_cached() {
    let served = served().await;
    let accounts = served.platform.accounts();
    let mut keys = Vec::new();
    for name in ["a", "b"] {
        let change = TenantChange { name: Some(name.into()), ..TenantChange::default() };
        let tenant = accounts.create_tenant(&admin(&served).await, change).await.expect("a tenant");
        let new = NewKey { tenant: Some(tenant.id), role: "inference".into(), ..NewKey::default() };
        keys.push(accounts.create_key(&admin(&served).await, new).await.expect("a key").1);
    }
    let cached = async |key: &str, salt: Value| {
        let mut body = text(1);
        (body["model"], body["cache_salt"]) = (json!(served.model), salt);
        let mut connection = Connection::open(served.address).await.with_key(key);
        let answer = connection.request("POST", TEXT, &[], body.to_string().as_bytes()).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a count")
    };
    assert_eq!(cached(&keys[0], json!(null)).await, 0);
    assert_eq!(cached(&keys[0], json!(null)).await, 19, "its own");
    for salt in [json!(null), json!(""), json!("a"), json!("default")] {
        assert_eq!(cached(&keys[1], salt.clone()).await, 0, "the other's, with the salt {salt}");
    }
    assert_eq!(cached(&keys[1], json!(null)).await, 19, "its own by now");
}

/// Prompts and answers leave no trace in the data folder: not in the database, its log, the journal or a temporary file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_leaves_no_trace_in_the_data_folder() {
    const CANARY: &str = "xylophone-canary-7421";
    let served = served().await;
    let chat = json!({
        "messages": [{"role": "user", "content": format!("remember {CANARY}")}], "max_tokens": 4, "user": CANARY,
    });
    assert_eq!(served.post(CHAT, chat).await.status, 200);
    let echo = served.post(TEXT, json!({"prompt": CANARY, "echo": true, "max_tokens": 4})).await;
    assert!(echo.text().contains(CANARY), "it did come through");
    check_error(&served.post(TEXT, json!({"prompt": CANARY, "max_tokens": -1})).await, 400, None, Some("max_tokens"));
    total(&served).await;
    let mut folders = vec![served.data.path().to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).expect("a file");
            bytes += content.len();
            let found = content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert!(bytes > 100_000, "the database and the journal were looked at: {bytes} bytes");
}

/// THREATS C11: within a second, whoever reads and whoever does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_when_its_key_is_revoked_and_is_billed_for_what_it_produced() {
    for by_other_process in [false, true] {
        // Few tokens a step, and many choices: they would run for seconds.
        let served = Served::start(&fixture("llama-q8_0.gguf"), |settings| settings.step_tokens_max = 2).await;
        let accounts = served.platform.accounts();
        let (info, key) = accounts
            .create_key(&admin(&served).await, NewKey { role: "inference".into(), ..NewKey::default() })
            .await
            .expect("a key");
        let mut body = text(480);
        (body["model"], body["stream"], body["n"]) = (json!(served.model), json!(true), json!(16));
        let head = [("content-type", "application/json")];
        let mut reads = Connection::open(served.address).await.with_key(&key);
        reads.send("POST", TEXT, &head, body.to_string().as_bytes()).await;
        reads.until("\"text\":").await;
        // Another never reads, and a third waits for the whole answer.
        let mut silent = Connection::open(served.address).await.with_key(&key);
        silent.send("POST", TEXT, &head, body.to_string().as_bytes()).await;
        body["stream"] = json!(false);
        let mut waits = Connection::open(served.address).await.with_key(&key);
        waits.send("POST", TEXT, &head, body.to_string().as_bytes()).await;
        // One of another key goes on.
        let mut other = served.connect().await;
        let mut short = text(40);
        short["model"] = json!(served.model);
        other.send("POST", TEXT, &head, short.to_string().as_bytes()).await;
        let running = async {
            while accounts.meter_stats().expect("a meter").running < 4 {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(crate::support::PATIENCE, running).await.expect("in time");

        let revoked = std::time::Instant::now();
        if by_other_process {
            let command = Accounts::open(served.data.path(), Keys::Asked).await.expect("accounts").accounts;
            let operator = command.operator().await.expect("the operator");
            command.revoke_key(&operator, &info.id).await.expect("revoked");
        } else {
            accounts.revoke_key(&admin(&served).await, &info.id).await.expect("revoked");
        }
        let refused = waits.response().await;
        assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
        check_error(&refused, 401, Some("invalid_api_key"), None);
        let rest = reads.until("0\r\n\r\n").await;
        assert!(rest.contains("was revoked") && !rest.contains("[DONE]"), "{rest}");
        assert_eq!(other.response().await.status, 200);
        let request = UsageRequest { key: Some(info.id.clone()), ..UsageRequest::default() };
        let sum = ledger(&served, request).await.remove(0);
        assert_eq!((sum.requests, sum.completed), (3, 0));
        let all = total(&served).await;
        assert_eq!(all.output_tokens, served.stats().generation_tokens, "what was produced is billed");
        assert!(sum.output_tokens > 0 && sum.output_tokens < 3 * 16 * 480, "{}", sum.output_tokens);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_tokens_takes_a_request_from_the_limits() {
    let served = served().await;
    let limits = LimitsInfo { requests_per_minute: Some(3), ..LimitsInfo::default() };
    let mut connection = limited(&served, limits).await;
    let head = [("content-type", "application/json")];
    let prompt = json!({"prompt": "hello"}).to_string();
    let tokens = json!({"tokens": [1, 2]}).to_string();
    let chat = json!({"messages": [{"role": "user", "content": "hello"}]}).to_string();
    for (path, body) in [("/tokenize", &prompt), ("/detokenize", &tokens), ("/tokenize", &chat)] {
        assert_eq!(connection.request("POST", path, &head, body.as_bytes()).await.status, 200, "{path}");
    }
    for (path, body) in [("/tokenize", &prompt), ("/detokenize", &tokens)] {
        let refused = connection.request("POST", path, &head, body.as_bytes()).await;
        check_error(&refused, 429, Some("rate_limit_exceeded"), None);
        assert!(refused.header("retry-after").is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_tokens_looks_for_personal_data_as_a_completion_does() {
    let served = served().await;
    let accounts = served.platform.accounts();
    let ask = async |path: &str, body: Value| served.post(path, body).await;
    let plain = ask("/tokenize", json!({"prompt": "write to [EMAIL]"})).await.json()["tokens"].clone();
    let mail = json!({"prompt": "write to ada@example.org"});
    let ids = ask("/tokenize", mail.clone()).await.json()["tokens"].clone();
    let set = async |request: &str, response: &str| {
        let change = TenantChange {
            redaction_request: Some(request.into()),
            redaction_response: Some(response.into()),
            ..TenantChange::default()
        };
        accounts.change_tenant(&admin(&served).await, "default", change).await.expect("changed");
    };
    set("mask", "off").await;
    assert_eq!(ask("/tokenize", mail.clone()).await.json()["tokens"], plain);
    check_error(&ask("/detokenize", json!({"tokens": ids})).await, 400, None, Some("tokens"));
    set("refuse", "off").await;
    check_error(&ask("/tokenize", mail).await, 400, None, Some("prompt"));
    let chat = json!({"messages": [{"role": "user", "content": "write to ada@example.org"}]});
    check_error(&ask("/tokenize", chat).await, 400, None, Some("messages"));
    set("off", "mask").await;
    let text = ask("/detokenize", json!({"tokens": ids})).await.json()["prompt"].clone();
    assert!(text.as_str().is_some_and(|text| text.ends_with("write to [EMAIL]")), "{text}");
    set("off", "refuse").await;
    check_error(&ask("/detokenize", json!({"tokens": ids})).await, 400, None, None);
}
