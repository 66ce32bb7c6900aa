//! Bodies, heads, connections and time have bounds (THREATS B5, B6, D1).

use crate::support::{Server, chat, check_error};
use orrery_server::Settings;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_comes() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n").await;
    connection.raw(b"\r\n").await;
    check_error(&connection.response().await, 413, Some("request_too_large"), None);
}

#[tokio::test]
async fn a_client_that_sends_it_anyway_still_reads_the_answer() {
    let server = Server::start().await;
    let body = vec![b' '; 8 * 1024 * 1024];
    check_error(&server.post_bytes(CHAT, &body).await, 413, Some("request_too_large"), None);
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_the_limit() {
    let server = Server::with(Settings { body_max_bytes: 1000, ..Settings::default() }).await;
    let mut connection = server.connect().await;
    connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n").await;
    connection.raw(b"\r\n").await;
    for _ in 0..11 {
        connection.raw(format!("64\r\n{}\r\n", " ".repeat(100)).as_bytes()).await;
    }
    check_error(&connection.response().await, 413, Some("request_too_large"), None);
}

#[tokio::test]
async fn a_body_at_the_limit_passes() {
    let server = Server::with(Settings { body_max_bytes: 1000, ..Settings::default() }).await;
    let padded = |bytes: usize| format!("{:bytes$}", chat("hello").to_string());
    assert_eq!(server.post_bytes(CHAT, padded(1000).as_bytes()).await.status, 200);
    assert_eq!(server.post_bytes(CHAT, padded(1001).as_bytes()).await.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = Server::with(Settings { body_timeout_ms: 50, ..Settings::default() }).await;
    let mut connection = server.connect().await;
    connection.begin("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n").await;
    connection.raw(b"\r\n{").await;
    check_error(&connection.response().await, 408, Some("request_timeout"), None);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_408_and_silence_is_closed() {
    let server = Server::with(Settings { header_timeout_ms: 50, ..Settings::default() }).await;
    let mut half = server.connect().await;
    let mut silent = server.connect().await;
    half.raw(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    check_error(&half.response().await, 408, Some("request_timeout"), None);
    half.closed().await;
    silent.closed().await;
}

#[tokio::test]
async fn a_megabyte_of_header_is_431() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.send("GET", "/", &[("x-big", &"x".repeat(1024 * 1024))], b"").await;
    let refused = connection.response().await;
    check_error(&refused, 431, Some("request_headers_too_large"), None);
    assert!(refused.header("x-request-id").is_some() && refused.header("connection") == Some("close"));
    connection.closed().await;
}

#[tokio::test]
async fn a_hundred_thousand_headers_are_431() {
    let server = Server::start().await;
    let headers = vec![("a", "b"); 100_000];
    let mut connection = server.connect().await;
    connection.send("GET", "/", &headers, b"").await;
    check_error(&connection.response().await, 431, Some("request_headers_too_large"), None);
}

#[tokio::test]
async fn headers_up_to_the_limits_pass() {
    let server = Server::with(Settings { headers_max: 10, header_max_bytes: 8192, ..Settings::default() }).await;
    // `host` is one of the ten.
    for (count, status) in [(9, 200), (10, 431)] {
        let mut connection = server.stranger().await;
        let answer = connection.request("GET", "/", &vec![("a", "b"); count], b"").await;
        assert_eq!(answer.status, status, "{count}");
    }
    for (bytes, status) in [(8_000, 200), (8_192, 431)] {
        let mut connection = server.stranger().await;
        let answer = connection.request("GET", "/", &[("a", &"b".repeat(bytes))], b"").await;
        assert_eq!(answer.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn a_long_url_is_414() {
    let server = Server::with(Settings { header_max_bytes: 1024 * 1024, ..Settings::default() }).await;
    let mut connection = server.connect().await;
    connection.send("GET", &format!("/{}", "x".repeat(100_000)), &[], b"").await;
    check_error(&connection.response().await, 414, Some("uri_too_long"), None);
}

#[tokio::test]
async fn garbage_is_400() {
    let server = Server::start().await;
    let heads: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00 hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: two\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for head in heads {
        let mut connection = server.connect().await;
        connection.raw(head).await;
        check_error(&connection.response().await, 400, None, None);
        connection.closed().await;
    }
    // After a good request too.
    let mut connection = server.connect().await;
    connection.request("GET", "/", &[], b"").await;
    connection.raw(b"\r\n\r\nnonsense\r\n\r\n").await;
    check_error(&connection.response().await, 400, None, None);
}

#[tokio::test]
async fn connections_over_the_limit_are_told_so() {
    let server = Server::with(Settings { connections_max: 2, ..Settings::default() }).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut connection = server.connect().await;
        connection.send("POST", CHAT, &[], chat("drip").to_string().as_bytes()).await;
        busy.push(connection);
    }
    server.backend.wait_running(2).await;
    let mut third = server.connect().await;
    let refused = third.response().await;
    check_error(&refused, 503, Some("service_unavailable"), None);
    assert!(refused.header("retry-after").is_some());
    // The two that are in get their answers, and stay in use.
    server.backend.release.add_permits(2);
    for connection in &mut busy {
        assert_eq!(connection.response().await.status, 200);
        assert_eq!(connection.request("GET", "/", &[], b"").await.status, 200);
    }
}

#[tokio::test]
async fn bad_bodies_are_400_and_a_wrong_type_is_415() {
    let server = Server::start().await;
    let deep = format!("{{\"model\":{}", "[".repeat(3_000_000));
    let bodies: [&[u8]; 6] = [b"", b"{", b"[]", deep.as_bytes(), br#"{"model":"\udc00"}"#, b"{\"model\":\"\0\"}"];
    for body in bodies {
        check_error(&server.post_bytes(CHAT, body).await, 400, None, None);
    }
    let mut connection = server.connect().await;
    let form = connection.request("POST", CHAT, &[("content-type", "text/plain")], b"{}").await;
    check_error(&form, 415, Some("unsupported_media_type"), None);
    // After all that the server is well.
    assert_eq!(server.post(CHAT, &chat("hello")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let server = Server::with(Settings { write_timeout_ms: 50, ..Settings::default() }).await;
    let mut connection = server.connect().await;
    let body = crate::support::with(chat("endless"), serde_json::json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    server.backend.wait_running(1).await;
    server.backend.wait_running(0).await;
}

#[tokio::test]
async fn a_large_answer_on_a_closing_connection_is_whole() {
    let server = Server::start().await;
    let prompt = "word ".repeat(600_000);
    let body = serde_json::json!({"model": "tiny", "prompt": prompt, "echo": true}).to_string();
    let mut connection = server.connect().await;
    connection.send("POST", "/v1/completions", &[("connection", "close")], body.as_bytes()).await;
    // The answer does not fit into the sockets' buffers, so the server has to wait for its reader.
    let answer = connection.response().await.json();
    assert_eq!(answer["choices"][0]["text"], format!("{prompt}Hello"));
    connection.closed().await;
}
