//! `/v2`: models of the registry over the Open Inference Protocol.

use crate::support::{Connection, Response, Server};
use bytes::Bytes;
use orrery_platform::accounts::{NewKey, TenantChange};
use orrery_platform::predict::PredictSettings;
use orrery_platform::registry::NewPart;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2a + 3b + 1, where a missing `a` is 10; as `fixtures/make_predict.py` makes it.
const MODEL: &str = "regression.onnx";
const SHA256: &str = "79346f711ff4e3a29af9e8206ad2876e753bc83464613eed368bd18a98f488a1";
const PATH: &str = "/v2/models/sum/infer";

/// ONNX Runtime's library, fetched once. Where it cannot be had the test fails: it never skips.
fn library() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let folder = target.join("predict");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../predict/tests/fetch.py");
    let status = Command::new("python3").arg(script).arg(&folder).status().expect("python3 starts");
    assert!(status.success(), "what the tests need cannot be fetched");
    folder.join("libonnxruntime.so")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/predict").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A server with a model `sum` in the first tenant's registry.
async fn serving() -> Server {
    let server = Server::start().await;
    let accounts = &server.backend.accounts;
    accounts.start_predictions(PredictSettings { library: Some(library()), ..PredictSettings::default() });
    publish(&server, &fixture(MODEL)).await.expect("published");
    server
}

async fn publish(server: &Server, model: &[u8]) -> Result<(), String> {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let manifest = json!({
        "format": 1, "name": "sum", "task": "other", "model": "model.onnx", "files": {"model.onnx": SHA256},
    });
    let part = |name: &str, content: &[u8]| NewPart { name: name.into(), content: Bytes::copy_from_slice(content) };
    let parts = vec![part("orrery.json", manifest.to_string().as_bytes()), part("model.onnx", model)];
    accounts.registry().import(&by, "sum", parts).await.map(drop).map_err(|error| error.to_string())
}

fn column(name: &str, data: Value) -> Value {
    json!({"name": name, "datatype": "FP32", "shape": [4, 1], "data": data})
}

fn rows() -> Value {
    json!({"id": "q7", "inputs": [column("a", json!([1.5, 2, -3, null])), column("b", json!([[1], [0], [2], [1]]))]})
}

fn check_refusal(response: &Response, status: u16, says: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let error = response.json()["error"].as_str().expect("a text").to_owned();
    assert!(error.contains(says), "{error}");
}

#[tokio::test]
async fn four_rows_are_computed() {
    let server = serving().await;
    let wanted = json!({
        "id": "q7", "model_name": "sum", "model_version": "1",
        "outputs": [{"name": "prediction", "datatype": "FP32", "shape": [4, 1], "data": [7.0, 5.0, 1.0, 24.0]}],
    });
    for path in [PATH, "/v2/models/sum@1/infer", "/v2/models/sum/versions/1/infer"] {
        assert_eq!(server.post(path, &rows()).await.json(), wanted, "{path}");
    }
    let described = server.get("/v2/models/sum").await.json();
    let port = |name: &str| json!({"name": name, "datatype": "FP32", "shape": [-1, 1]});
    assert_eq!(described["inputs"], json!([port("a"), port("b")]));
    assert_eq!(described["outputs"], json!([port("prediction")]));
    assert_eq!(server.get("/v2/models/sum/ready").await.json(), json!({"name": "sum", "ready": true}));
}

#[tokio::test]
async fn tensors_follow_the_json_as_bytes() {
    let server = serving().await;
    let numbers = |values: [f32; 4]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let input =
        |name: &str| json!({"name": name, "datatype": "FP32", "shape": [4, 1], "parameters": {"binary_data_size": 16}});
    let request = json!({"inputs": [input("a"), input("b")], "parameters": {"binary_data_output": true}}).to_string();
    let body = [request.as_bytes(), &numbers([1.5, 2.0, -3.0, f32::NAN]), &numbers([1.0, 0.0, 2.0, 1.0])].concat();
    let length = request.len().to_string();
    let headers = [("content-type", "application/octet-stream"), ("inference-header-content-length", length.as_str())];
    let response = server.connect().await.request("POST", PATH, &headers, &body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let length = response.header("inference-header-content-length").expect("a length").parse().expect("a number");
    let (text, bytes) = response.body.split_at(length);
    let answer: Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(answer["outputs"][0]["parameters"], json!({"binary_data_size": 16}));
    assert_eq!(bytes, numbers([7.0, 5.0, 1.0, 24.0]));
    // One byte too few.
    let short = server.connect().await.request("POST", PATH, &headers, &body[..body.len() - 1]).await;
    check_refusal(&short, 400, "`binary_data_size`");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = serving().await;
    let column = |name: &str, datatype: &str, data: Value| json!({"inputs": [{"name": name, "datatype": datatype, "shape": [1, 1], "data": data}]});
    for (body, says) in [
        (json!({}), "inputs"),
        (column("c", "FP32", json!([1])), "`c`"),
        (column("a", "FP32", json!([1])), "`b`"),
        (column("a", "FP32", json!(["x"])), "`a`"),
        (column("a", "INT8", json!([200])), "INT8"),
        (column("a", "FP99", json!([1])), "datatype"),
        (column("a", "FP32", json!([1, 2])), "shape"),
    ] {
        check_refusal(&server.post(PATH, &body).await, 400, says);
    }
    check_refusal(&server.post("/v2/models/other/infer", &rows()).await, 404, "`other`");
    check_refusal(&server.post("/v2/models/sum@2/infer", &rows()).await, 404, "2");
}

#[tokio::test]
async fn a_broken_artefact_is_not_published() {
    let server = Server::start().await;
    let refused = publish(&server, b"not the model").await.expect_err("another digest");
    assert!(refused.contains("sha256"), "{refused}");
    check_refusal(&server.post(PATH, &rows()).await, 404, "`sum`");
}

#[tokio::test]
async fn without_the_library_the_way_out_is_told() {
    let server = Server::start().await;
    publish(&server, &fixture(MODEL)).await.expect("published");
    check_refusal(&server.post(PATH, &rows()).await, 503, "predict.library");
}

#[tokio::test]
async fn another_tenant_has_no_such_model() {
    let server = serving().await;
    let mut other = other_tenant(&server).await;
    let body = rows().to_string();
    let response = other.request("POST", PATH, &[("content-type", "application/json")], body.as_bytes()).await;
    check_refusal(&response, 404, "`sum`");
}

async fn other_tenant(server: &Server) -> Connection {
    let accounts = &server.backend.accounts;
    let by = accounts.authenticate(Some(&server.backend.key)).await.expect("a good key");
    let change = TenantChange { name: Some("other".into()), ..TenantChange::default() };
    let tenant = accounts.create_tenant(&by, change).await.expect("a tenant").id;
    let new = NewKey { role: "inference".into(), tenant: Some(tenant), ..NewKey::default() };
    let (_, key) = accounts.create_key(&by, new).await.expect("a key");
    server.stranger().await.with_key(&key)
}
