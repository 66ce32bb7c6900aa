//! HTTPS: the same server behind TLS, certificates that change under it, and clients that speak something else.

use crate::support::tls::{Identity, Pair, handshake};
use crate::support::{Connection, PATIENCE, Server, chat, check_error, with};
use orrery_server::{Settings, Tls, TlsFiles};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const CHAT: &str = "/v1/chat/completions";

fn quick() -> Settings {
    Settings { tls_reload_ms: 10, ..Settings::default() }
}

#[tokio::test]
async fn a_chat_and_a_stream_over_tls() {
    let identity = Identity::new();
    let server = Server::tls(Settings::default(), &Pair::new(&identity)).await;
    let mut connection = server.connect_tls(&identity).await;
    for _ in 0..2 {
        let answer = connection.request("POST", CHAT, &[], chat("hello").to_string().as_bytes()).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello");
    }
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    connection.send("POST", CHAT, &[], body.as_bytes()).await;
    // The first token is here while the rest is not made yet.
    connection.until("Hel").await;
    server.backend.release.add_permits(1);
    connection.until("data: [DONE]\n\n").await;
}

#[tokio::test]
async fn a_large_body_and_a_large_answer_over_tls() {
    let identity = Identity::new();
    let server = Server::tls(Settings::default(), &Pair::new(&identity)).await;
    let mut connection = server.connect_tls(&identity).await;
    let prompt = "word ".repeat(600_000);
    let body = json!({"model": "tiny", "prompt": prompt, "echo": true}).to_string();
    connection.send("POST", "/v1/completions", &[("connection", "close")], body.as_bytes()).await;
    assert_eq!(connection.response().await.json()["choices"][0]["text"], format!("{prompt}Hello"));
    connection.closed().await;
    // What hyper refuses by itself has a body here too.
    let mut connection = server.connect_tls(&identity).await;
    connection.raw(b"GET / HTTP/9.9\r\n\r\n").await;
    check_error(&connection.response().await, 400, None, None);
    connection.closed().await;
}

#[tokio::test]
async fn versions_and_protocols() {
    let identity = Identity::new();
    let server = Server::tls(Settings::default(), &Pair::new(&identity)).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = handshake(&server, &identity, &[version], &["h2", "http/1.1"]).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let refused = handshake(&server, &identity, rustls::ALL_VERSIONS, &["h2"]).await.expect_err("no HTTP/2");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    handshake(&server, &Identity::new(), rustls::ALL_VERSIONS, &[]).await.expect_err("another's certificate");
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_told_so_and_closed() {
    let identity = Identity::new();
    let server = Server::tls(Settings::default(), &Pair::new(&identity)).await;
    let mut plain = server.connect().await;
    plain.send("GET", "/", &[], b"").await;
    let error = check_error(&plain.response().await, 400, None, None);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("https://")), "{error}");
    plain.closed().await;
    let mut garbage = server.connect().await;
    garbage.raw(b"\x00\x01\x02\x03\x04\x05\x06\x07").await;
    garbage.closed().await;
    assert_eq!(server.connect_tls(&identity).await.request("GET", "/", &[], b"").await.status, 200);
}

#[tokio::test]
async fn tls_to_the_plain_port_is_refused() {
    let server = Server::start().await;
    let refused = handshake(&server, &Identity::new(), rustls::ALL_VERSIONS, &[]).await.expect_err("no TLS here");
    assert!(refused.to_string().contains("InvalidContentType"), "{refused}");
    assert_eq!(server.post(CHAT, &chat("hello")).await.status, 200);
}

/// Opens connections until one trusts the certificate of `identity`.
async fn wait_for(server: &Server, identity: &Identity) -> Connection {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the certificate was not taken over");
        if let Ok(stream) = handshake(server, identity, rustls::ALL_VERSIONS, &[]).await {
            return Connection::over(stream).with_key(&server.backend.key);
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_while_a_stream_runs() {
    let (old, new) = (Identity::new(), Identity::new());
    let pair = Pair::new(&old);
    let server = Server::tls(quick(), &pair).await;
    let mut streaming = server.connect_tls(&old).await;
    let body = with(chat("drip"), json!({"stream": true})).to_string();
    streaming.send("POST", CHAT, &[], body.as_bytes()).await;
    streaming.until("Hel").await;
    pair.put(&new);
    assert_eq!(wait_for(&server, &new).await.request("GET", "/", &[], b"").await.status, 200);
    handshake(&server, &old, rustls::ALL_VERSIONS, &[]).await.expect_err("the old one is gone");
    server.backend.release.add_permits(1);
    streaming.until("data: [DONE]\n\n\r\n0\r\n\r\n").await;
    assert_eq!(streaming.request("GET", "/", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_broken_new_certificate_keeps_the_old_until_it_is_mended() {
    let (old, new) = (Identity::new(), Identity::new());
    let pair = Pair::new(&old);
    let server = Server::tls(quick(), &pair).await;
    // A certificate without its key: the pair does not fit.
    for broken in [new.certificate.as_str(), "garbage", ""] {
        pair.put_certificate(broken);
        let begun = Instant::now();
        // Many looks long.
        while begun.elapsed() < Duration::from_millis(100) {
            server.connect_tls(&old).await;
        }
    }
    pair.put(&new);
    wait_for(&server, &new).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_the_name_of_the_file() {
    let (identity, other) = (Identity::new(), Identity::new());
    let pair = Pair::new(&identity);
    let files = pair.files();
    let refused = |files: TlsFiles, parts: &[&str]| {
        let message = Tls::load(files).err().expect("refused").to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
    };
    let missing = |name: &str| files.key.with_file_name(name);
    refused(TlsFiles { certificate: missing("no.pem"), ..files.clone() }, &["certificate", "no.pem", "No such file"]);
    refused(TlsFiles { key: missing("no.pem"), ..files.clone() }, &["key", "no.pem", "No such file"]);
    refused(TlsFiles { key: missing("."), ..files.clone() }, &["is no file"]);
    // The two mixed up.
    refused(TlsFiles { certificate: files.key.clone(), key: files.key.clone() }, &["key.pem", "BEGIN CERTIFICATE"]);
    refused(TlsFiles { key: files.certificate.clone(), ..files.clone() }, &["cert.pem", "private key"]);
    pair.put_certificate(&other.certificate);
    refused(files.clone(), &["key.pem is not that of the certificate", "cert.pem"]);
    pair.put_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused(files.clone(), &["cert.pem is damaged"]);
    pair.put(&Identity::valid(2019, 2020));
    refused(files.clone(), &["certificate 1 of", "cert.pem expired", "days ago"]);
    pair.put(&Identity::valid(2119, 2120));
    refused(files.clone(), &["cert.pem is not valid before", "clock"]);
    // An expired one behind a good one.
    pair.put(&identity);
    pair.put_certificate(&format!("{}{}", identity.certificate, Identity::valid(2019, 2020).certificate));
    refused(files.clone(), &["certificate 2 of", "expired"]);
    pair.put(&identity);
    for (mode, good) in [(0o644, false), (0o604, false), (0o620, false), (0o640, true), (0o400, true)] {
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).expect("ours");
        match good {
            true => drop(Tls::load(files.clone()).expect("closed to others")),
            false => refused(files.clone(), &["key.pem is open to others", "chmod 600"]),
        }
    }
}

/// D1: handshakes that never end take nobody's turn, and are over with the time of a head.
#[tokio::test]
async fn a_thousand_half_open_handshakes_hurt_nobody() {
    let identity = Identity::new();
    let settings = Settings { header_timeout_ms: 2_000, ..Settings::default() };
    let server = Server::tls(settings, &Pair::new(&identity)).await;
    let mut half_open = Vec::new();
    for index in 0..1_000 {
        let mut connection = server.connect().await;
        // Silent, or the beginning of a client's hello.
        if index % 2 == 0 {
            connection.raw(b"\x16\x03\x01\x02\x00\x01\x00").await;
        }
        half_open.push(connection);
    }
    let asked = Instant::now();
    let mut healthy = server.connect_tls(&identity).await;
    assert_eq!(healthy.request("POST", CHAT, &[], chat("hello").to_string().as_bytes()).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for connection in &mut half_open {
        connection.closed().await;
    }
}

#[tokio::test]
async fn half_open_handshakes_do_not_hold_up_the_end() {
    let identity = Identity::new();
    let mut server = Server::tls(Settings::default(), &Pair::new(&identity)).await;
    let mut half_open = server.connect().await;
    half_open.raw(b"\x16\x03\x01").await;
    assert_eq!(server.connect_tls(&identity).await.request("GET", "/", &[], b"").await.status, 200);
    server.signal();
    half_open.closed().await;
    server.ended().await;
}
