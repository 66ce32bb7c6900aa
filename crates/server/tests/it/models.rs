//! `GET /v1/models` and `GET /v1/models/{id}`.

use crate::support::{Server, check_error};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn the_list() {
    let server = Server::start().await;
    server.backend.unready.store(true, Ordering::Release);
    let response = server.get("/v1/models").await;
    assert_eq!(response.status, 200);
    insta::assert_json_snapshot!(response.json());
}

#[tokio::test]
async fn one_model() {
    let server = Server::start().await;
    let response = server.get("/v1/models/tiny").await;
    assert_eq!((response.status, response.json()["id"].as_str()), (200, Some("tiny")));
    check_error(&server.get("/v1/models/org%2Fother").await, 404, Some("model_not_found"), Some("model"));
    check_error(&server.get("/v1/models/%ff").await, 400, None, None);
}
