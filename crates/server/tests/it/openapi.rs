//! `GET /openapi.json`: complete and sound.

use crate::support::{Server, check_error, with};
use orrery_server::{Limits, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The routes, written down a second time: the document must list exactly these.
const ROUTES: &[&str] = &[
    "get /",
    "get /health",
    "get /metrics",
    "get /openapi.json",
    "get /ready",
    "delete /v1/chat/completions/{id}",
    "get /v1/chat/completions",
    "get /v1/chat/completions/{id}",
    "get /v1/chat/completions/{id}/messages",
    "delete /v1/files/{id}",
    "get /v1/files",
    "get /v1/files/{id}",
    "get /v1/files/{id}/content",
    "post /v1/files",
    "get /v1/training/jobs",
    "post /v1/training/jobs",
    "get /v1/training/jobs/{id}",
    "post /v1/training/jobs/{id}/cancel",
    "get /v1/training/jobs/{id}/events",
    "get /v1/training/jobs/{id}/checkpoints",
    "get /v1/training/jobs/{id}/report",
    "get /v1/registry/models",
    "get /v1/registry/models/{model}",
    "delete /v1/registry/models/{model}",
    "get /v1/registry/models/{model}/files/{file}",
    "post /v1/registry/models/{model}/aliases/{alias}",
    "post /v1/registry/models/{model}/aliases/{alias}/rollback",
    "delete /v1/keys/{id}",
    "delete /v1/prices/{model}",
    "delete /v1/tenants/{id}",
    "get /v1/audit",
    "get /v1/audit/verify",
    "get /v1/keys",
    "get /v1/keys/{id}",
    "get /v1/models",
    "get /v1/models/{id}",
    "get /v1/prices",
    "get /v1/tenants",
    "get /v1/tenants/{id}",
    "get /v1/usage",
    "post /detokenize",
    "post /tokenize",
    "post /v1/chat/completions",
    "post /v1/completions",
    "post /v1/keys",
    "post /v1/keys/{id}",
    "post /v1/prices",
    "post /v1/tenants",
    "post /v1/tenants/{id}",
    "get /v2",
    "get /v2/health/live",
    "get /v2/health/ready",
    "get /v2/models/{model}",
    "get /v2/models/{model}/ready",
    "post /v2/models/{model}/infer",
    "post /v2/models/{model}/versions/{version}/infer",
];

async fn document() -> Value {
    Server::start().await.get("/openapi.json").await.json()
}

#[tokio::test]
async fn every_route_is_listed() {
    let document = document().await;
    let paths = document["paths"].as_object().expect("paths");
    let listed = paths.iter().flat_map(|(path, item)| {
        item.as_object().expect("methods").keys().map(move |method| format!("{method} {path}"))
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), ROUTES.iter().map(ToString::to_string).collect());
}

#[tokio::test]
async fn every_listed_route_answers() {
    let server = Server::start().await;
    for route in ROUTES {
        let (method, path) = route.split_once(' ').expect("method and path");
        let path = path.replace("{id}", "tiny").replace("{model}", "tiny").replace("{version}", "1");
        let body: &[u8] = if method == "post" { b"{}" } else { b"" };
        let response = server.connect().await.request(&method.to_uppercase(), &path, &[], body).await;
        let unknown = response.status == 404
            && match path.starts_with("/v2") {
                // Errors of the Open Inference Protocol are a text.
                true => response.json()["error"].is_string(),
                false => response.json()["error"]["code"] == "not_found",
            };
        assert!(matches!(response.status, 200 | 400) || unknown, "{route}: {}", response.status);
    }
}

#[tokio::test]
async fn the_document_is_sound() {
    let document = document().await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("methods").values() {
            assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()));
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            assert!(ids.insert(id.clone()), "{id} is used twice");
        }
    }
}

#[tokio::test]
async fn the_limits_of_the_settings_are_told_and_held() {
    let limits = Limits { choices_max: 2, logprobs_max: 3, stop_strings_max: 1, stop_bytes_max: 5 };
    let server = Server::with(Settings { limits, ..Settings::default() }).await;
    let document = server.get("/openapi.json").await.json();
    let told = |request: &str, rest: &str| {
        document.pointer(&format!("/components/schemas/{request}/properties/{rest}")).and_then(Value::as_f64)
    };
    for request in ["CreateChatCompletionRequest", "CreateCompletionRequest"] {
        assert_eq!(told(request, "n/maximum"), Some(2.0));
        assert_eq!(told(request, "stop/oneOf/0/maxLength"), Some(5.0));
        assert_eq!(told(request, "stop/oneOf/1/maxItems"), Some(1.0));
    }
    assert_eq!(told("CreateChatCompletionRequest", "top_logprobs/maximum"), Some(3.0));
    assert_eq!(told("CreateCompletionRequest", "logprobs/maximum"), Some(3.0));
    assert_eq!(told("CreateCompletionRequest", "best_of/maximum"), Some(2.0));
    let chat = json!({"n": 2, "logprobs": true, "top_logprobs": 3, "stop": ["12345"]});
    let path = "/v1/chat/completions";
    let base = || with(crate::support::chat("hello"), chat.clone());
    assert_eq!(server.post(path, &base()).await.status, 200);
    let over = [("n", json!(3)), ("top_logprobs", json!(4)), ("stop", json!(["1", "2"])), ("stop", json!("123456"))];
    for (name, value) in over {
        let refused = server.post(path, &with(base(), json!({name: value}))).await;
        check_error(&refused, 400, None, Some(name));
    }
}

#[tokio::test]
async fn the_document_as_a_whole() {
    insta::assert_json_snapshot!(document().await);
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(reference) if key == "$ref" => references.push(reference.to_owned()),
                    _ => collect_references(value, references),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, references)),
        _ => {}
    }
}
