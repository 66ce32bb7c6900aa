//! Training jobs and the registry over HTTP. Nothing is run here: workers have their tests in `platform`, and the whole way in `cli`.

use crate::support::{Server, check_error};
use orrery_platform::accounts::{NewKey, TenantChange};
use serde_json::{Value, json};

async fn job(server: &Server, body: &Value) -> Value {
    let response = server.post("/v1/training/jobs", body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

async fn file(server: &Server) -> String {
    let file = server.upload("line.csv", b"a,b,y\n1,2,1\n2,3,2\n3,4,3\n4,5,4\n").await.json();
    file["id"].as_str().expect("an id").to_owned()
}

/// A developer's key of another tenant.
async fn foreign_key(server: &Server) -> String {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let change = TenantChange { name: Some("other".into()), ..TenantChange::default() };
    let tenant = accounts.create_tenant(&by, change).await.expect("a tenant").id;
    let new = NewKey { role: "developer".into(), tenant: Some(tenant), ..NewKey::default() };
    accounts.create_key(&by, new).await.expect("a key").1
}

#[tokio::test]
async fn a_job_is_made_listed_read_and_cancelled() {
    let server = Server::start().await;
    let file = file(&server).await;
    let made = job(
        &server,
        &json!({
            "task": "tabular-regression", "training_file": file, "target": "y", "algorithm": "linear-regression",
            "suffix": "my-line", "deploy": true, "seed": 7,
        }),
    )
    .await;
    let id = made["id"].as_str().expect("an id").to_owned();
    for (field, wanted) in [
        ("object", json!("fine_tuning.job")),
        ("status", json!("queued")),
        ("model", json!("linear-regression")),
        ("fine_tuned_model", Value::Null),
        ("organization_id", json!("default")),
        ("training_file", json!(file)),
        ("result_files", json!([])),
        ("seed", json!(7)),
        ("error", Value::Null),
        ("name", json!("my-line")),
        ("deploy", json!("production")),
        ("task", json!("tabular-regression")),
        ("target", json!("y")),
        ("attempt", json!(0)),
    ] {
        assert_eq!(made[field], wanted, "{field}");
    }
    assert_eq!(made["hyperparameters"]["solver"], "exact", "defaults are filled in: {made}");
    assert_eq!(server.get(&format!("/v1/training/jobs/{id}")).await.json(), made);
    let list = server.get("/v1/training/jobs?limit=5").await.json();
    assert_eq!((&list["data"], &list["has_more"]), (&json!([made]), &json!(false)));
    let events = server.get(&format!("/v1/training/jobs/{id}/events")).await.json();
    assert_eq!(events, json!({ "object": "list", "data": [], "has_more": false }));
    let report = server.get(&format!("/v1/training/jobs/{id}/report")).await;
    check_error(&report, 409, Some("conflict"), None);
    let cancelled = server.post(&format!("/v1/training/jobs/{id}/cancel"), &json!({})).await.json();
    assert_eq!((&cancelled["status"], &cancelled["cancel_requested"]), (&json!("cancelled"), &json!(true)));
    let streamed = server.get(&format!("/v1/training/jobs/{id}/events?stream=true")).await;
    assert!(streamed.text().starts_with("event: job\ndata: {\"id\":\"job_"), "{}", streamed.text());
    assert!(streamed.text().ends_with("}\n\n"));
}

#[tokio::test]
async fn mistakes_name_their_field() {
    let server = Server::start().await;
    let file = file(&server).await;
    for (body, param) in [
        (json!({}), "training_file"),
        (json!({ "training_file": file }), "task"),
        (json!({ "training_file": "file-x", "task": "tabular-regression" }), "training_file"),
        (json!({ "training_file": file, "task": "chess" }), "task"),
        (json!({ "training_file": file, "task": "tabular-regression", "colour": 1 }), "colour"),
        (json!({ "training_file": file, "task": "tabular-regression", "algorithm": "forest" }), "algorithm"),
        (json!({ "training_file": file, "task": "tabular-regression", "suffix": "A b" }), "suffix"),
        (json!({ "training_file": file, "task": "tabular-regression", "deploy": 3 }), "deploy"),
        (
            json!({
                "training_file": file, "task": "tabular-regression", "algorithm": "mlp",
                "hyperparameters": { "epochs": 0 },
            }),
            "hyperparameters.epochs",
        ),
    ] {
        let response = server.post("/v1/training/jobs", &body).await;
        assert_eq!((response.status, &response.json()["error"]["param"]), (400, &json!(param)), "{}", response.text());
    }
    let events = server.get("/v1/training/jobs/job_x/events?after=y").await;
    check_error(&events, 400, None, Some("after"));
    let list = server.get("/v1/training/jobs?after=job_x").await;
    check_error(&list, 400, None, Some("after"));
}

#[tokio::test]
async fn another_tenants_job_is_as_unknown_as_none() {
    let server = Server::start().await;
    let file = file(&server).await;
    let made = job(&server, &json!({ "task": "tabular-regression", "training_file": file, "target": "y" })).await;
    let id = made["id"].as_str().expect("an id");
    let key = foreign_key(&server).await;
    let stranger = async || server.stranger().await.with_key(&key);
    for (method, path) in
        [("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/checkpoints"), ("GET", "/report")]
    {
        let answer = async |id: &str| {
            let path = format!("/v1/training/jobs/{id}{path}");
            let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
            let response = stranger().await.request(method, &path, &[], body).await;
            (response.status, response.text().replace(id, "ID"))
        };
        let theirs = answer(id).await;
        assert_eq!(theirs, answer("job_0000000000000000").await, "{method} {path}");
        assert_eq!(theirs.0, 404);
    }
    let body = json!({ "task": "tabular-regression", "training_file": file, "target": "y" });
    let response = stranger().await.post("/v1/training/jobs", &body).await;
    check_error(&response, 400, None, Some("training_file"));
    assert_eq!(stranger().await.get("/v1/training/jobs").await.json()["data"], json!([]));
}

#[tokio::test]
async fn the_registry_names_what_is_not_there() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/registry/models").await.json(), json!({ "object": "list", "data": [] }));
    for path in ["iris", "iris@1", "iris@production", "..%2Firis", "iris/files/model.onnx"] {
        let response = server.get(&format!("/v1/registry/models/{path}")).await;
        assert_eq!(response.status, 404, "{path}: {}", response.text());
    }
    for (body, status, param) in [
        (json!({}), 400, json!("version")),
        (json!({ "version": 0 }), 400, json!("version")),
        (json!({ "version": 1, "canary": { "version": 2 } }), 400, json!("canary.percent")),
        (json!({ "version": 1, "canary": { "version": 2, "percent": 100 } }), 400, json!("canary.percent")),
        (json!({ "version": 1, "shadow": 2 }), 400, json!("shadow")),
        (json!({ "version": 1, "weight": 2 }), 400, json!("weight")),
        (json!({ "version": 1 }), 404, Value::Null),
    ] {
        let response = server.post("/v1/registry/models/iris/aliases/production", &body).await;
        assert_eq!((response.status, &response.json()["error"]["param"]), (status, &param), "{}", response.text());
    }
    let back = server.post("/v1/registry/models/iris/aliases/production/rollback", &json!({})).await;
    assert_eq!(back.status, 404);
    let archive = server.delete("/v1/registry/models/iris").await;
    check_error(&archive, 400, None, Some("model"));
    let archive = server.delete("/v1/registry/models/iris@1").await;
    assert_eq!(archive.status, 404);
}
