//! Tenants, keys, prices, usage and the audit log over HTTP.

use crate::support::{Response, Server, check_error};
use serde_json::{Value, json};

struct Api<'a> {
    server: &'a Server,
    key: String,
}

impl<'a> Api<'a> {
    fn first(server: &'a Server) -> Self {
        Self { server, key: server.backend.key.clone() }
    }

    fn with(&self, key: &Value) -> Self {
        Self { server: self.server, key: key["key"].as_str().expect("a key's text").to_owned() }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let authorization = format!("Bearer {}", self.key);
        let headers = [("authorization", authorization.as_str())];
        self.server.stranger().await.request(method, path, &headers, body.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &Value::Null).await
    }

    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let response = self.send(method, path, &body).await;
        assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
        response.json()
    }

    /// A tenant with a key for its admin.
    async fn tenant(&self, name: &str) -> (String, Value) {
        let tenant = self.ok("POST", "/v1/tenants", json!({"name": name})).await;
        let id = tenant["id"].as_str().expect("an id").to_owned();
        let key = self.ok("POST", "/v1/keys", json!({"tenant": id, "role": "tenant_admin", "name": "admin"})).await;
        (id, key)
    }
}

#[tokio::test]
async fn a_key_is_made_used_changed_and_revoked() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let made = admin.ok("POST", "/v1/keys", json!({"name": "ci", "limits": {"requests_per_minute": 5}})).await;
    let (id, text) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a text"));
    assert!(text.starts_with("orr_") && text.len() == 42 && made["role"] == "inference");
    assert_eq!(made["limits"]["requests_per_minute"], 5);
    let user = admin.with(&made);
    assert_eq!(user.get("/v1/models").await.status, 200);

    let path = format!("/v1/keys/{id}");
    let seen = admin.ok("GET", &path, Value::Null).await;
    assert!(seen.get("key").is_none() && seen["hint"] == text[..8]);
    let list = admin.get("/v1/keys").await.text();
    assert!(list.contains(id) && !list.contains(text), "a list shows no key's text");

    let changed = admin.ok("POST", &path, json!({"name": "new", "role": "developer", "limits": {}})).await;
    assert_eq!((&changed["name"], &changed["role"]), (&json!("new"), &json!("developer")));
    assert_eq!(changed["limits"]["requests_per_minute"], Value::Null);
    assert_eq!(user.get("/v1/prices").await.status, 200, "a new role counts at once");

    let revoked = admin.ok("DELETE", &path, Value::Null).await;
    assert!(revoked["revoked_at"].is_i64());
    check_error(&user.get("/v1/models").await, 401, Some("invalid_api_key"), None);
}

#[tokio::test]
async fn a_key_expires() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let past = json!({"expires_at": 1_000_000_000});
    check_error(&admin.send("POST", "/v1/keys", &past).await, 400, None, Some("expires_at"));
    let made = admin.ok("POST", "/v1/keys", json!({"expires_at": 253_402_300_799_i64})).await;
    assert_eq!(admin.with(&made).get("/v1/models").await.status, 200);
    assert_eq!(made["expires_at"], 253_402_300_799_i64);
}

/// Another tenant's objects are as unknown as those that do not exist: the same status, the same body but for the name.
#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let (a, a_key) = admin.tenant("a").await;
    let (b, b_key) = admin.tenant("b").await;
    let user = admin.with(&a_key);
    let b_key_id = b_key["id"].as_str().expect("an id");
    let routes = [
        ("GET", "/v1/keys/ID", b_key_id, "key_0000000000000000"),
        ("POST", "/v1/keys/ID", b_key_id, "key_0000000000000000"),
        ("DELETE", "/v1/keys/ID", b_key_id, "key_0000000000000000"),
        ("GET", "/v1/tenants/ID", b.as_str(), "ten_0000000000000000"),
        ("GET", "/v1/keys?tenant=ID", b.as_str(), "ten_0000000000000000"),
        ("GET", "/v1/usage?tenant=ID", b.as_str(), "ten_0000000000000000"),
        ("GET", "/v1/audit?tenant=ID", b.as_str(), "ten_0000000000000000"),
    ];
    for (method, route, foreign, unknown) in routes {
        let body = if method == "POST" { json!({}) } else { Value::Null };
        let answer = async |id: &str| {
            let response = user.send(method, &route.replace("ID", id), &body).await;
            (response.status, response.text().replace(id, "ID"))
        };
        let (of_foreign, of_unknown) = (answer(foreign).await, answer(unknown).await);
        assert_eq!(of_foreign.0, 404, "{method} {route}: {}", of_foreign.1);
        assert_eq!(of_foreign, of_unknown, "{method} {route}");
    }
    let new = json!({"tenant": b});
    assert_eq!(user.send("POST", "/v1/keys", &new).await.status, 404);
    let seen = |list: Value| list["data"].as_array().expect("a list").len();
    assert_eq!(seen(user.get("/v1/keys").await.json()), 1);
    let tenants = user.get("/v1/tenants").await.json();
    assert_eq!((seen(tenants.clone()), &tenants["data"][0]["id"]), (1, &json!(a)));
    let audit = user.get("/v1/audit").await.json();
    assert!(audit["data"].as_array().expect("rows").iter().all(|row| row["tenant"] == a.as_str()));
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let (_, key) = admin.tenant("a").await;
    let user = admin.with(&key);
    let wanted = json!({"role": "platform_admin"});
    check_error(&user.send("POST", "/v1/keys", &wanted).await, 403, Some("insufficient_permissions"), None);
    let mine = user.ok("POST", "/v1/keys", json!({"role": "developer"})).await;
    let path = format!("/v1/keys/{}", mine["id"].as_str().expect("an id"));
    check_error(&user.send("POST", &path, &wanted).await, 403, Some("insufficient_permissions"), None);
}

#[tokio::test]
async fn a_tenant_is_changed_suspended_and_erased() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let (id, key) = admin.tenant("research").await;
    let path = format!("/v1/tenants/{id}");
    let change = json!({
        "weight": 200, "kv_floor_percent": 10, "limits": {"month_tokens": 1000}, "retention_days": 7,
        "redaction": {"request": "mask", "response": "refuse"},
    });
    let changed = admin.ok("POST", &path, change).await;
    assert_eq!((&changed["name"], &changed["weight"]), (&json!("research"), &json!(200)));
    assert_eq!(changed["redaction"], json!({"request": "mask", "response": "refuse"}));
    assert_eq!(changed["limits"]["month_tokens"], 1000);

    admin.ok("POST", &path, json!({"suspended": true})).await;
    check_error(&admin.with(&key).get("/v1/models").await, 401, Some("invalid_api_key"), None);
    admin.ok("POST", &path, json!({"suspended": false})).await;
    assert_eq!(admin.with(&key).get("/v1/models").await.status, 200);

    assert_eq!(admin.send("DELETE", &path, &Value::Null).await.status, 204);
    check_error(&admin.with(&key).get("/v1/models").await, 401, Some("invalid_api_key"), None);
    check_error(&admin.get(&path).await, 404, Some("not_found"), None);
    check_error(&admin.send("DELETE", "/v1/tenants/default", &Value::Null).await, 409, Some("conflict"), None);
    let suicide = json!({"suspended": true});
    check_error(&admin.send("POST", "/v1/tenants/default", &suicide).await, 409, Some("conflict"), None);
}

#[tokio::test]
async fn mistakes_are_named() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let cases = [
        ("/v1/tenants", json!({}), "name"),
        ("/v1/tenants", json!({"name": "x", "weight": 0}), "weight"),
        ("/v1/tenants", json!({"name": "x", "colour": "red"}), "colour"),
        ("/v1/tenants", json!({"name": "x", "limits": {"per_hour": 1}}), "limits.per_hour"),
        ("/v1/tenants", json!({"name": "x", "limits": {"month_tokens": -1}}), "limits.month_tokens"),
        ("/v1/tenants", json!({"name": "x", "redaction": {"request": "hide"}}), "redaction.request"),
        ("/v1/keys", json!({"role": "king"}), "role"),
        ("/v1/keys", json!({"tenant": "../x"}), "tenant"),
        ("/v1/prices", json!({"model": "m", "input_nano": 1, "cached_nano": 1}), "output_nano"),
        ("/v1/prices", json!({"model": "m", "input_nano": -1, "cached_nano": 1, "output_nano": 1}), "input_nano"),
    ];
    for (path, body, param) in cases {
        check_error(&admin.send("POST", path, &body).await, 400, None, Some(param));
    }
    for (path, param) in [
        ("/v1/usage?group_by=colour", "group_by"),
        ("/v1/usage?since=yesterday", "since"),
        ("/v1/usage?format=xml", "format"),
        ("/v1/usage?colour=red", "colour"),
        ("/v1/audit?limit=0", "limit"),
        ("/v1/keys?tenant=a&tenant=b", "tenant"),
    ] {
        check_error(&admin.get(path).await, 400, None, Some(param));
    }
}

#[tokio::test]
async fn prices_are_set_and_removed() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let price = json!({"model": "tiny", "input_nano": 150, "cached_nano": 15, "output_nano": 600});
    admin.ok("POST", "/v1/prices", price.clone()).await;
    let list = admin.ok("GET", "/v1/prices", Value::Null).await;
    assert_eq!(list["data"][0]["output_nano"], 600);
    assert_eq!(admin.send("DELETE", "/v1/prices/tiny", &Value::Null).await.status, 204);
    check_error(&admin.send("DELETE", "/v1/prices/tiny", &Value::Null).await, 404, Some("not_found"), None);
}

#[tokio::test]
async fn every_change_is_on_record_without_secrets() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let (id, key) = admin.tenant("a-secret-project").await;
    let key_path = format!("/v1/keys/{}", key["id"].as_str().expect("an id"));
    admin.ok("POST", &key_path, json!({"name": "other"})).await;
    admin.ok("DELETE", &key_path, Value::Null).await;
    admin.ok("POST", &format!("/v1/tenants/{id}"), json!({"weight": 5})).await;
    admin.ok("POST", "/v1/prices", json!({"model": "m", "input_nano": 1, "cached_nano": 1, "output_nano": 1})).await;
    let log = admin.get("/v1/audit").await;
    let rows = log.json();
    let actions: Vec<&str> =
        rows["data"].as_array().expect("rows").iter().rev().map(|row| row["action"].as_str().expect("text")).collect();
    assert_eq!(actions, ["tenant.create", "key.create", "key.change", "key.revoke", "tenant.change", "price.set"]);
    let text = log.text();
    assert!(!text.contains(key["key"].as_str().expect("a text")) && !text.contains("a-secret-project"), "{text}");
    let verdict = admin.ok("GET", "/v1/audit/verify", Value::Null).await;
    assert_eq!((&verdict["intact"], &verdict["rows"]), (&json!(true), &json!(6)));
    let page = admin.ok("GET", "/v1/audit?limit=2&before=4", Value::Null).await;
    assert_eq!((&page["data"][0]["sequence"], &page["has_more"]), (&json!(3), &json!(true)));
}

#[tokio::test]
async fn usage_is_json_or_csv() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let sums = admin.ok("GET", "/v1/usage", Value::Null).await;
    assert_eq!((&sums["object"], &sums["data"][0]["requests"]), (&json!("list"), &json!(0)));
    let csv = admin.get("/v1/usage?group_by=tenant,day&format=csv").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text().starts_with("tenant,key,model,day,requests,"));
    let key = admin.ok("POST", "/v1/keys", json!({})).await;
    let user = admin.with(&key);
    assert_eq!(user.get("/v1/usage").await.status, 200);
    let others = format!("/v1/usage?key={}", "key_0000000000000000");
    check_error(&user.get(&others).await, 403, Some("insufficient_permissions"), None);
}

/// What SQL would make something of.
const SQL: &[&str] = &[
    "'",
    "\"",
    "' OR '1'='1",
    "x' OR 1=1 --",
    "'; DROP TABLE tenants; --",
    "') UNION SELECT hash FROM keys --",
    "%",
    "_",
    "\\",
    "/*",
    ";",
    "NULL",
    "0 OR 1",
    "?1",
    ":tenant",
    "default' --",
    "\u{2019}",
    "x\u{0}",
];
/// Where a client's text filters, and what it may be answered with.
const FILTERS: &[(&str, &[u16])] = &[
    ("/v1/usage?tenant=", &[200, 400, 404]),
    ("/v1/usage?key=", &[200, 400, 404]),
    ("/v1/usage?model=", &[200]),
    ("/v1/usage?since=", &[400]),
    ("/v1/usage?until=", &[400]),
    ("/v1/usage?group_by=", &[400]),
    ("/v1/usage?format=", &[400]),
    ("/v1/audit?tenant=", &[200, 400, 404]),
    ("/v1/audit?before=", &[400]),
    ("/v1/audit?limit=", &[400]),
    ("/v1/keys?tenant=", &[200, 400, 404]),
    ("/v1/keys/", &[400, 404]),
    ("/v1/tenants/", &[400, 404]),
    ("/v1/models/", &[400, 404]),
];

/// What SQL would make something of is nothing but text, in every filter and id (THREATS C3).
#[tokio::test]
async fn sql_in_filters_and_ids_is_text() {
    let server = Server::start().await;
    let admin = Api::first(&server);
    let (tenant, key) = admin.tenant("a").await;
    admin.ok("POST", "/v1/prices", json!({"model": "m", "input_nano": 1, "cached_nano": 1, "output_nano": 1})).await;
    let state = async || {
        let mut all = String::new();
        for path in ["/v1/tenants", "/v1/keys", "/v1/prices", "/v1/usage?group_by=tenant"] {
            all += &admin.get(path).await.text();
        }
        all
    };
    let before = state().await;
    for text in SQL {
        let coded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for (path, statuses) in FILTERS {
            let answer = admin.get(&format!("{path}{coded}")).await;
            assert!(statuses.contains(&answer.status), "{path}{text}: {} {}", answer.status, answer.text());
            if answer.status == 200 {
                let rows = answer.json()["data"].as_array().expect("a list").len();
                let sums_to_nothing = rows == 0 || answer.json()["data"][0]["requests"] == 0;
                assert!(sums_to_nothing, "{path}{text}: {}", answer.text());
            }
        }
        for path in ["/v1/keys/", "/v1/tenants/", "/v1/prices/"] {
            let answer = admin.send("DELETE", &format!("{path}{coded}"), &Value::Null).await;
            assert!(matches!(answer.status, 400 | 404), "DELETE {path}{text}: {}", answer.status);
        }
        let body = json!({"tenant": text, "role": "inference", "name": "x"});
        assert!(matches!(admin.send("POST", "/v1/keys", &body).await.status, 400 | 404), "{text}");
    }
    assert_eq!(state().await, before, "nothing was changed");
    // As a name it is kept as it is.
    let name = "'; DROP TABLE keys; --";
    let changed = admin.ok("POST", &format!("/v1/tenants/{tenant}"), json!({"name": name})).await;
    assert_eq!(changed["name"], name);
    assert_eq!(admin.with(&key).get("/v1/models").await.status, 200);
}
