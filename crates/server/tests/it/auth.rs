//! Who may pass: every route, with no key, a wrong key, and a key of every role.

use crate::support::{Response, Server, check_error};
use orrery_platform::accounts::NewKey;
use serde_json::Value;

/// Every route and method of the OpenAPI document, and which of the roles may use it: platform admin, tenant admin,
/// developer, inference. Written down a second time: a new route fails here until it is decided who may use it.
const DOORS: &[(&str, &str, [bool; 4])] = &[
    ("get", "/metrics", [true, false, false, false]),
    ("get", "/v1/models", [true, true, true, true]),
    ("get", "/v1/models/{id}", [true, true, true, true]),
    ("post", "/v1/chat/completions", [true, true, true, true]),
    ("get", "/v1/chat/completions", [true, true, false, false]),
    ("get", "/v1/chat/completions/{id}", [true, true, false, false]),
    ("delete", "/v1/chat/completions/{id}", [true, true, false, false]),
    ("get", "/v1/chat/completions/{id}/messages", [true, true, false, false]),
    ("post", "/v1/completions", [true, true, true, true]),
    ("post", "/tokenize", [true, true, true, true]),
    ("post", "/detokenize", [true, true, true, true]),
    ("get", "/v1/files", [true, true, true, false]),
    ("post", "/v1/files", [true, true, true, false]),
    ("get", "/v1/files/{id}", [true, true, true, false]),
    ("delete", "/v1/files/{id}", [true, true, true, false]),
    ("get", "/v1/files/{id}/content", [true, true, true, false]),
    ("get", "/v1/training/jobs", [true, true, true, false]),
    ("post", "/v1/training/jobs", [true, true, true, false]),
    ("get", "/v1/training/jobs/{id}", [true, true, true, false]),
    ("post", "/v1/training/jobs/{id}/cancel", [true, true, true, false]),
    ("get", "/v1/training/jobs/{id}/events", [true, true, true, false]),
    ("get", "/v1/training/jobs/{id}/checkpoints", [true, true, true, false]),
    ("get", "/v1/training/jobs/{id}/report", [true, true, true, false]),
    ("get", "/v1/registry/models", [true, true, true, true]),
    ("get", "/v1/registry/models/{model}", [true, true, true, true]),
    ("delete", "/v1/registry/models/{model}", [true, true, true, false]),
    ("get", "/v1/registry/models/{model}/files/{file}", [true, true, true, false]),
    ("post", "/v1/registry/models/{model}/aliases/{alias}", [true, true, true, false]),
    ("post", "/v1/registry/models/{model}/aliases/{alias}/rollback", [true, true, true, false]),
    ("get", "/v1/keys", [true, true, false, false]),
    ("post", "/v1/keys", [true, true, false, false]),
    ("get", "/v1/keys/{id}", [true, true, false, false]),
    ("post", "/v1/keys/{id}", [true, true, false, false]),
    ("delete", "/v1/keys/{id}", [true, true, false, false]),
    ("get", "/v1/tenants", [true, true, false, false]),
    ("post", "/v1/tenants", [true, false, false, false]),
    ("get", "/v1/tenants/{id}", [true, true, false, false]),
    ("post", "/v1/tenants/{id}", [true, false, false, false]),
    ("delete", "/v1/tenants/{id}", [true, false, false, false]),
    ("get", "/v1/prices", [true, true, true, false]),
    ("post", "/v1/prices", [true, false, false, false]),
    ("delete", "/v1/prices/{model}", [true, false, false, false]),
    ("get", "/v1/usage", [true, true, true, true]),
    ("get", "/v1/audit", [true, true, false, false]),
    ("get", "/v1/audit/verify", [true, false, false, false]),
    ("get", "/v2", [true, true, true, true]),
    ("get", "/v2/models/{model}", [true, true, true, true]),
    ("get", "/v2/models/{model}/ready", [true, true, true, true]),
    ("post", "/v2/models/{model}/infer", [true, true, true, true]),
    ("post", "/v2/models/{model}/versions/{version}/infer", [true, true, true, true]),
];

/// Routes that need no key.
const OPEN: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/health"),
    ("get", "/ready"),
    ("get", "/openapi.json"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
];

const ROLES: [&str; 4] = ["platform_admin", "tenant_admin", "developer", "inference"];

async fn send(server: &Server, key: Option<&str>, method: &str, path: &str) -> Response {
    let path = path.replace("{id}", "tiny").replace("{model}", "tiny").replace("{version}", "1");
    let path = path.replace("{file}", "model.onnx").replace("{alias}", "production");
    let body: &[u8] = if method == "post" { b"{}" } else { b"" };
    let authorization = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    server.stranger().await.request(&method.to_uppercase(), &path, &headers, body).await
}

/// Keys of every role, of a tenant of their own but for the platform admin's.
async fn keys(server: &Server) -> [String; 4] {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let mut keys: [String; 4] = Default::default();
    for (role, key) in ROLES.into_iter().zip(&mut keys) {
        let new = NewKey { role: role.into(), ..NewKey::default() };
        *key = accounts.create_key(&by, new).await.expect("a key").1;
    }
    keys
}

#[tokio::test]
async fn the_table_has_every_route() {
    let server = Server::start().await;
    let document: Value = send(&server, None, "get", "/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        routes.extend(item.as_object().expect("methods").keys().map(|method| (method.clone(), path.clone())));
    }
    let mut listed: Vec<(String, String)> = DOORS
        .iter()
        .map(|(method, path, _)| (*method, *path))
        .chain(OPEN.iter().copied())
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    routes.sort();
    listed.sort();
    assert_eq!(routes, listed);
}

#[tokio::test]
async fn without_a_good_key_nothing_but_the_open_routes_answers() {
    let server = Server::start().await;
    let (known, last) = server.backend.key.split_at(41);
    let forged = format!("{known}{}", if last == "x" { "y" } else { "x" });
    let unknown = "orr_00000000000000000000000000000000";
    for (method, path, _) in DOORS {
        for key in [None, Some(""), Some("x"), Some(forged.as_str()), Some(unknown), Some("' OR 1=1 --")] {
            let response = send(&server, key, method, path).await;
            check_error(&response, 401, Some("invalid_api_key"), None);
            assert_eq!(response.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        }
    }
    for (method, path) in OPEN {
        assert_eq!(send(&server, None, method, path).await.status, 200, "{path}");
    }
    for path in ["/nothing", "/v1/batches", "/v1/models/", "/v1", "/v1/chat/completions/x/y"] {
        check_error(&send(&server, None, "get", path).await, 401, Some("invalid_api_key"), None);
    }
}

#[tokio::test]
async fn every_role_may_do_what_the_table_says() {
    let server = Server::start().await;
    let keys = keys(&server).await;
    for (method, path, allowed) in DOORS {
        for ((role, key), allowed) in ROLES.iter().zip(&keys).zip(allowed) {
            let response = send(&server, Some(key), method, path).await;
            let forbidden = response.status == 403;
            assert_eq!(forbidden, !allowed, "{role} {method} {path}: {}", response.text());
            if forbidden {
                check_error(&response, 403, Some("insufficient_permissions"), None);
            }
        }
    }
}

#[tokio::test]
async fn no_header_and_no_spelling_of_a_path_opens_a_door() {
    let server = Server::start().await;
    let paths = [
        "//v1/models",
        "/v1//models",
        "/health/../v1/models",
        "/./v1/models",
        "/%76%31/models",
        "/v1/models%2f",
        "/V1/MODELS",
        "/health;/v1/models",
        "/v1/models?x=/health",
        "/v1/models#/health",
        "http://localhost/v1/models",
        "http://localhost/health/../v1/models",
    ];
    for path in paths {
        let mut stranger = server.stranger().await;
        let response = stranger.request("GET", path, &[], b"").await;
        // `#` is no part of a request's target; everything else is a route that wants a key.
        assert!(matches!(response.status, 400 | 401), "{path}: {}", response.status);
    }
    for header in [
        ("host", "localhost"),
        ("x-forwarded-host", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/health"),
        ("x-rewrite-url", "/health"),
        ("x-http-method-override", "GET"),
        ("cookie", "key=admin"),
        ("x-api-key", "admin"),
    ] {
        let response = server.stranger().await.request("GET", "/v1/models", &[header], b"").await;
        assert!(matches!(response.status, 400 | 401), "{header:?}: {}", response.status);
    }
    let mut head = server.stranger().await;
    head.send("HEAD", "/v1/models", &[], b"").await;
    assert_eq!(head.read_head().await.0, 401);
    for method in ["OPTIONS", "TRACE", "PUT", "PATCH", "PROPFIND"] {
        let response = server.stranger().await.request(method, "/v1/models", &[], b"").await;
        assert_eq!(response.status, 401, "{method}");
    }
}

#[tokio::test]
async fn a_body_is_not_read_for_a_stranger() {
    let server = Server::start().await;
    let mut stranger = server.stranger().await;
    // The body that is announced never comes.
    stranger.raw(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    check_error(&stranger.response().await, 401, Some("invalid_api_key"), None);
}

/// A web page can make a browser send requests to this machine; without keys nothing else would stop them.
#[tokio::test]
async fn without_keys_only_this_machine_is_served() {
    let server = Server::without_keys().await;
    let send = async |head: &str| {
        let mut stranger = server.stranger().await;
        stranger.raw(format!("GET /v1/keys HTTP/1.1\r\n{head}\r\n").as_bytes()).await;
        stranger.response().await
    };
    assert_eq!(send("host: localhost:8080\r\n").await.status, 200);
    assert_eq!(send("host: 127.0.0.1\r\norigin: http://localhost:3000\r\n").await.status, 200);
    for head in [
        "host: rebound.example\r\n",
        "host: localhost\r\norigin: https://evil.example\r\n",
        "host: localhost\r\norigin: null\r\n",
    ] {
        check_error(&send(head).await, 403, Some("foreign_origin"), None);
    }
    let delete = b"DELETE /v1/keys/key_x HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n";
    let mut stranger = server.stranger().await;
    stranger.raw(delete).await;
    check_error(&stranger.response().await, 403, Some("foreign_origin"), None);
}
