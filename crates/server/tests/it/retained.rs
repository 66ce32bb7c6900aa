//! What is retained, over a real engine: nothing unless a tenant wants it, and then encrypted, found, and gone in time.

use crate::engine::{Served, fixture};
use crate::support::{Connection, PATIENCE, Response, check_error};
use orrery_platform::accounts::{NewKey, TenantChange};
use orrery_platform::{FileSettings, Principal};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";
const CANARY: &str = "zebra-canary-of-a-prompt-3319";
const DAY_MS: i64 = 86_400_000;

async fn served(files: FileSettings) -> Served {
    Served::start_with(&fixture("llama-q8_0.gguf"), |_| {}, files).await
}

async fn admin(served: &Served) -> Principal {
    served.platform.accounts().authenticate(Some(&served.key)).await.expect("a good key")
}

/// A new tenant that keeps so many days, and a connection of its administrator.
async fn tenant(served: &Served, days: u32) -> (String, Connection) {
    let (accounts, by) = (served.platform.accounts(), admin(served).await);
    let change = TenantChange { name: Some("t".into()), retention_days: Some(days), ..TenantChange::default() };
    let id = accounts.create_tenant(&by, change).await.expect("a tenant").id;
    let new = NewKey { role: "tenant_admin".into(), tenant: Some(id.clone()), ..NewKey::default() };
    let (_, key) = accounts.create_key(&by, new).await.expect("a key");
    (id, Connection::open(served.address).await.with_key(&key))
}

async fn keep(served: &Served, tenant: &str, days: u32) {
    let change = TenantChange { retention_days: Some(days), ..TenantChange::default() };
    served.platform.accounts().change_tenant(&admin(served).await, tenant, change).await.expect("changed");
}

async fn ask(served: &Served, connection: &mut Connection, path: &str, mut body: Value) -> Response {
    body["model"] = json!(served.model);
    connection.request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
}

async fn list(served: &Served, connection: &mut Connection) -> Vec<Value> {
    tokio::time::timeout(PATIENCE, served.platform.accounts().files().retained_written()).await.expect("in time");
    let response = connection.request("GET", CHAT, &[], b"").await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["data"].as_array().expect("data").clone()
}

fn chat(content: &str) -> Value {
    json!({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}],
           "max_tokens": 6, "temperature": 0, "ignore_eos": true})
}

/// How many files below a folder hold the text.
fn found(folder: &Path, text: &str) -> usize {
    let entries = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    entries.map(|path| if path.is_dir() { found(&path, text) } else { usize::from(holds(&path)) }).sum()
}

fn blobs(served: &Served, tenant: &str) -> usize {
    let mut folders = vec![served.data.path().join("blobs/tenants").join(tenant)];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("entry").path()) {
            if path.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_unless_it_is_asked_for() {
    let served = served(FileSettings::default()).await;
    let (id, mut connection) = tenant(&served, 0).await;
    assert_eq!(ask(&served, &mut connection, CHAT, chat(CANARY)).await.status, 200);
    assert_eq!(list(&served, &mut connection).await, [] as [Value; 0]);
    assert_eq!((blobs(&served, &id), found(served.data.path(), CANARY)), (0, 0));
    let mut store = chat("x");
    store["store"] = json!(true);
    let refused = ask(&served, &mut connection, CHAT, store.clone()).await;
    check_error(&refused, 400, Some("unsupported_parameter"), Some("store"));
    keep(&served, &id, 1).await;
    assert_eq!(ask(&served, &mut connection, CHAT, store).await.status, 200);
    assert_eq!(list(&served, &mut connection).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_answers_are_found_by_their_tenants_administrators() {
    let served = served(FileSettings::default()).await;
    let (id, mut connection) = tenant(&served, 2).await;
    let whole = ask(&served, &mut connection, CHAT, chat(CANARY)).await.json();
    let mut streamed = chat("again");
    (streamed["stream"], streamed["n"]) = (json!(true), json!(2));
    let chunks = ask(&served, &mut connection, CHAT, streamed).await.chunks();
    let text = json!({"prompt": "once upon", "max_tokens": 3, "temperature": 0, "ignore_eos": true});
    let completed = ask(&served, &mut connection, TEXT, text).await.json();
    let kept = list(&served, &mut connection).await;
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[0]["id"], whole["id"]);
    for field in ["object", "created", "model", "usage", "choices"] {
        assert_eq!(kept[0][field], whole[field], "{field}");
    }
    assert_eq!((&kept[0]["outcome"], &kept[0]["endpoint"]), (&json!("completed"), &json!("chat.completions")));
    assert_eq!(kept[1]["id"], chunks[0]["id"]);
    let choice = |index: u64| -> String {
        let deltas = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == json!(index));
        deltas.filter_map(|choice| choice["delta"]["content"].as_str()).collect()
    };
    for stored in kept[1]["choices"].as_array().expect("choices") {
        let index = stored["index"].as_u64().expect("an index");
        assert_eq!(stored["message"]["content"], choice(index));
    }
    assert_eq!(kept[1]["choices"].as_array().map(Vec::len), Some(2));
    assert_eq!((&kept[2]["id"], &kept[2]["endpoint"]), (&completed["id"], &json!("completions")));
    assert_eq!(kept[2]["choices"][0]["message"]["content"], completed["choices"][0]["text"]);

    let path = format!("{CHAT}/{}", whole["id"].as_str().expect("an id"));
    assert_eq!(connection.request("GET", &path, &[], b"").await.json(), kept[0]);
    let messages = connection.request("GET", &format!("{path}/messages?limit=1&order=desc"), &[], b"").await.json();
    assert_eq!((&messages["data"][0]["content"], &messages["has_more"]), (&json!(CANARY), &json!(true)));
    let first = messages["first_id"].as_str().expect("an id");
    let rest = connection.request("GET", &format!("{path}/messages?after={first}&order=desc"), &[], b"").await.json();
    assert_eq!(rest["data"][0]["content"], "Be brief.");
    let page = connection.request("GET", &format!("{CHAT}?limit=1&order=desc"), &[], b"").await.json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&completed["id"], &json!(true)));

    // Not even a platform admin of another tenant, nor as a file.
    let mut other = served.connect().await;
    check_error(&other.request("GET", &path, &[], b"").await, 404, Some("not_found"), None);
    assert_eq!(list(&served, &mut other).await, [] as [Value; 0]);
    let file = path.replace(CHAT, "/v1/files");
    check_error(&connection.request("GET", &file, &[], b"").await, 404, Some("not_found"), None);
    assert_eq!(connection.request("GET", "/v1/files", &[], b"").await.json()["data"], json!([]));
    // What is on the disk is encrypted, and each look is on record.
    assert_eq!((found(served.data.path(), CANARY), blobs(&served, &id)), (0, 3));
    let audit = served.get(&format!("/v1/audit?tenant={id}")).await.json();
    let looks = audit["data"].as_array().expect("rows").iter().filter(|row| row["action"] == "retained.read").count();
    assert_eq!(looks, 3);

    assert_eq!(connection.request("DELETE", &path, &[], b"").await.json()["object"], "chat.completion.deleted");
    check_error(&connection.request("GET", &path, &[], b"").await, 404, Some("not_found"), None);
    assert_eq!(blobs(&served, &id), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_or_masked_is_kept_as_it_was_given_out() {
    let served = served(FileSettings::default()).await;
    let (id, mut connection) = tenant(&served, 1).await;
    let change = TenantChange { redaction_request: Some("mask".into()), ..TenantChange::default() };
    served.platform.accounts().change_tenant(&admin(&served).await, &id, change).await.expect("changed");
    let mut long = chat("write to ada@example.org");
    (long["model"], long["stream"], long["max_tokens"]) = (json!(served.model), json!(true), json!(400));
    connection.send("POST", CHAT, &[("content-type", "application/json")], long.to_string().as_bytes()).await;
    let begun = connection.until("\"content\":\"").await;
    let key = connection.key();
    drop(connection);
    tokio::time::timeout(PATIENCE, async {
        while served.stats().running > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("in time");
    let mut connection = Connection::open(served.address).await.with_key(&key);
    let kept = tokio::time::timeout(PATIENCE, async {
        loop {
            let kept = list(&served, &mut connection).await;
            if !kept.is_empty() {
                return kept;
            }
        }
    });
    let kept = kept.await.expect("in time").remove(0);
    assert_eq!((&kept["outcome"], &kept["choices"][0]["finish_reason"]), (&json!("cancelled"), &Value::Null));
    assert!(begun.contains(kept["id"].as_str().expect("an id")));
    let path = format!("{CHAT}/{}/messages", kept["id"].as_str().expect("an id"));
    let messages = connection.request("GET", &path, &[], b"").await.json();
    assert_eq!(messages["data"][1]["content"], "write to [EMAIL]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_goes_in_time_and_at_once_when_it_is_not_wanted() {
    let served = served(FileSettings::default()).await;
    let files = served.platform.accounts().files();
    let (id, mut connection) = tenant(&served, 3).await;
    ask(&served, &mut connection, CHAT, chat("one")).await;
    let kept = list(&served, &mut connection).await.remove(0);
    let created_ms = (kept["expires_at"].as_i64().expect("a time") - 3 * 86_400) * 1000;
    assert!((kept["created"].as_i64().expect("a time") * 1000 - created_ms).abs() <= 1000);
    assert_eq!(files.sweep(created_ms + 3 * DAY_MS - 2_000).await.expect("swept"), 0);
    assert_eq!(files.sweep(created_ms + 3 * DAY_MS + 2_000).await.expect("swept"), 1);
    assert_eq!((list(&served, &mut connection).await.len(), blobs(&served, &id)), (0, 0));

    ask(&served, &mut connection, CHAT, chat("two")).await;
    assert_eq!(list(&served, &mut connection).await.len(), 1);
    keep(&served, &id, 2).await;
    let shorter = list(&served, &mut connection).await.remove(0);
    let time = |kept: &Value, field: &str| kept[field].as_i64().expect("a time");
    assert!((time(&shorter, "expires_at") - time(&shorter, "created") - 2 * 86_400).abs() <= 1);
    // A request that runs while it is switched off is not kept either.
    let mut running = Connection::open(served.address).await.with_key(&connection.key());
    let mut long = chat("three");
    (long["model"], long["stream"], long["max_tokens"]) = (json!(served.model), json!(true), json!(300));
    running.send("POST", CHAT, &[("content-type", "application/json")], long.to_string().as_bytes()).await;
    running.until("\"content\":\"").await;
    keep(&served, &id, 0).await;
    assert_eq!((list(&served, &mut connection).await.len(), blobs(&served, &id)), (0, 0));
    running.until("[DONE]").await;
    assert_eq!((list(&served, &mut connection).await.len(), blobs(&served, &id)), (0, 0));

    keep(&served, &id, 1).await;
    ask(&served, &mut connection, CHAT, chat(CANARY)).await;
    assert_eq!((list(&served, &mut connection).await.len(), blobs(&served, &id)), (1, 1));
    served.platform.accounts().erase_tenant(&admin(&served).await, &id).await.expect("erased");
    assert_eq!((blobs(&served, &id), found(served.data.path(), CANARY)), (0, 0));
}

/// No request waits, and none fails, for what cannot be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_counted_and_holds_nothing_up() {
    for settings in [
        FileSettings { retained_queue_bytes: 100, ..FileSettings::default() },
        FileSettings { retained_quota_bytes: 100, ..FileSettings::default() },
    ] {
        let served = served(settings).await;
        let (id, mut connection) = tenant(&served, 1).await;
        assert_eq!(ask(&served, &mut connection, CHAT, chat("one")).await.status, 200);
        assert_eq!((list(&served, &mut connection).await.len(), blobs(&served, &id)), (0, 0));
        assert_eq!(served.platform.accounts().files().retained_lost(), 1);
        assert!(served.get("/metrics").await.text().contains("orrery_retained_lost_total 1"));
    }
}
