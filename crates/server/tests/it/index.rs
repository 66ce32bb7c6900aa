//! `GET /` and the headers that every answer has.

use crate::support::{Server, chat};

#[tokio::test]
async fn the_index_points_to_the_document() {
    let server = Server::start().await;
    assert_eq!(server.get("/").await.json()["openapi"], "/openapi.json");
}

#[tokio::test]
async fn every_answer_has_an_id_and_a_time() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for path in ["/", "/v1/models", "/nowhere", "/metrics"] {
        let response = server.get(path).await;
        let ms = response.header("openai-processing-ms").and_then(|ms| ms.parse::<u64>().ok());
        assert!(ms.is_some_and(|ms| ms < 20_000), "{path}");
        ids.push(response.header("x-request-id").expect("an id").to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_sane_id_of_the_client_is_kept() {
    let server = Server::start().await;
    let ask = async |id: &str| {
        let response = server.connect().await.request("GET", "/", &[("x-request-id", id)], b"").await;
        response.header("x-request-id").expect("an id").to_owned()
    };
    assert_eq!(ask("trace-7").await, "trace-7");
    assert!(ask("two words").await.starts_with("req_"));
    assert!(ask(&"x".repeat(500)).await.starts_with("req_"));
}

#[tokio::test]
async fn rate_limits_show_the_room_that_is_left() {
    let server = Server::start().await;
    let response = server.post("/v1/chat/completions", &chat("hello")).await;
    let header = |name: &str| response.header(&format!("x-ratelimit-{name}")).expect("a header").to_owned();
    assert_eq!((header("limit-requests"), header("remaining-requests")), ("1280".into(), "1280".into()));
    assert_eq!((header("limit-tokens"), header("remaining-tokens")), ("1600".into(), "1200".into()));
    assert_eq!((header("reset-requests"), header("reset-tokens")), ("0s".into(), "0s".into()));
    assert_eq!(server.get("/health").await.header("x-ratelimit-limit-requests"), None);
}
