//! Clients that hold on to what they have, and more of them than there is room for (D1 and D6 of docs/security.md).

use crate::support::{Connection, PATIENCE, Server, chat, check_error, with};
use orrery_server::Settings;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";

async fn check_healthy(server: &Server) {
    let asked = Instant::now();
    assert_eq!(server.post(CHAT, &chat("hello")).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// D1: a thousand that send a byte now and then, silent ones, and ones that hold back the end of a head or a body.
#[tokio::test]
async fn a_thousand_slow_clients_are_all_closed_and_hurt_nobody() {
    let settings = Settings { header_timeout_ms: 2_000, body_timeout_ms: 2_000, ..Settings::default() };
    let server = Server::with(settings).await;
    let mut slow = Vec::new();
    for index in 0..1_000 {
        let mut connection = server.connect().await;
        match index % 4 {
            0 => {}
            1 => connection.raw(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ").await,
            2 => connection.raw(b"GET /health HTTP/1.1\r\nhost: x\r\n\r").await,
            _ => {
                connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n").await;
                connection.raw(b"\r\n{").await;
            }
        }
        slow.push(connection);
    }
    check_healthy(&server).await;
    // A byte does not buy more time.
    let begun = Instant::now();
    while !slow.is_empty() {
        let mut open = Vec::new();
        for (index, mut connection) in slow.into_iter().enumerate() {
            let drips = index % 4 != 1 || connection.try_raw(b"x").await;
            if drips && connection.is_open().await {
                open.push(connection);
            }
        }
        slow = open;
        assert!(begun.elapsed() < PATIENCE, "{} are still open", slow.len());
        check_healthy(&server).await;
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let server = Server::with(Settings { connections_max: 2, ..Settings::default() }).await;
    let mut idle = server.connect().await;
    assert_eq!(idle.request("GET", "/", &[], b"").await.status, 200);
    let mut half = server.connect().await;
    half.raw(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    let mut streaming = server.connect().await;
    streaming.send("POST", CHAT, &[], with(chat("drip"), json!({"stream": true})).to_string().as_bytes()).await;
    streaming.until("Hel").await;
    // The one that was idle for longest has gone; the next to go is half a head, and never a request with a key.
    idle.closed().await;
    for _ in 0..10 {
        check_healthy(&server).await;
    }
    half.closed().await;
    server.backend.release.add_permits(1);
    streaming.until("data: [DONE]\n\n").await;
}

#[tokio::test]
async fn requests_without_a_key_hold_no_place() {
    let server = Server::with(Settings { connections_max: 8, write_timeout_ms: 60_000, ..Settings::default() }).await;
    // They ask and do not read, so that their answers stay in the server.
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut connection = server.stranger().await;
        let many = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
        connection.raw(many.as_bytes()).await;
        stuck.push(connection);
    }
    for _ in 0..20 {
        check_healthy(&server).await;
    }
}

#[tokio::test]
async fn many_idle_connections_of_one_client_do_not_cost_a_new_one_its_turn() {
    let server = Server::with(Settings { connections_max: 100, ..Settings::default() }).await;
    let mut flood: Vec<Connection> = Vec::new();
    for round in 0..500 {
        flood.push(server.connect().await);
        if round % 50 == 0 {
            check_healthy(&server).await;
        }
    }
    check_healthy(&server).await;
}

/// D6: ten times what there is room for, in the engine.
#[tokio::test]
async fn ten_times_too_many_requests_are_told_when_to_come_back() {
    let server = Server::start().await;
    server.backend.capacity.store(20, Ordering::Release);
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut connection = server.connect().await;
        connection.send("POST", CHAT, &[], body.as_bytes()).await;
        connections.push(connection);
    }
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for mut connection in connections {
        let (status, headers) = connection.read_head().await;
        if status == 200 {
            accepted.push(connection);
            continue;
        }
        assert_eq!(status, 429);
        let value = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        assert_eq!((value("retry-after"), value("retry-after-ms")), (Some("2"), Some("2000")));
        refused += 1;
    }
    assert_eq!((accepted.len(), refused), (20, 180));
    server.backend.release.add_permits(20);
    for connection in &mut accepted {
        connection.until("data: [DONE]\n\n").await;
    }
    check_healthy(&server).await;
}

/// D6: ten times as many connections as there are places, each with a request that is served.
#[tokio::test]
async fn ten_times_too_many_connections_are_told_when_to_come_back() {
    let server = Server::with(Settings { connections_max: 20, ..Settings::default() }).await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        let mut connection = server.connect().await;
        connection.send("POST", CHAT, &[], body.as_bytes()).await;
        connection.until("Hel").await;
        accepted.push(connection);
    }
    let mut refused = Vec::new();
    for _ in 0..180 {
        refused.push(server.connect().await);
    }
    for connection in &mut refused {
        let answer = connection.response().await;
        check_error(&answer, 503, Some("service_unavailable"), None);
        assert!(answer.header("retry-after").is_some());
        connection.closed().await;
    }
    server.backend.release.add_permits(20);
    for connection in &mut accepted {
        connection.until("data: [DONE]\n\n").await;
    }
    check_healthy(&server).await;
}
