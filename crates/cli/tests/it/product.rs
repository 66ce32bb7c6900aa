//! The whole product with the real default model: pull, list, serve, chat, bench, eval, stop.

use crate::model;
use crate::run::{Server, finish, orrery};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

#[test]
fn a_user_pulls_serves_chats_measures_and_stops() {
    let data_dir = model::data_dir();
    let listed = finish(orrery(&["list", "--data-dir"]).arg(data_dir));
    assert!(listed.out.lines().any(|line| line.starts_with(model::NAME) && line.ends_with("pulled")), "{}", listed.out);

    let mut server = Server::start(data_dir, &["--log", "text/warn"]);
    assert_eq!(server.ready(), model::NAME);
    assert!(health(server.url.strip_prefix("http://").expect("http")).starts_with("HTTP/1.1 200"));

    let shown = finish(orrery(&["key", "show", "--data-dir"]).arg(data_dir));
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let key = shown.out.trim();
    let stranger = finish(&mut orrery(&["chat", "Hello.", "--url", &server.url]));
    assert!(stranger.code == Some(1) && stranger.err.contains("a key is needed"), "{}", stranger.err);

    let asked = |seed: &str| {
        let question = "What is the capital of France? Answer with one word.";
        let arguments = [
            "chat",
            question,
            "--url",
            &server.url,
            "--api-key",
            key,
            "--temperature",
            "0",
            "--max-tokens",
            "16",
            "--seed",
            seed,
        ];
        finish(&mut orrery(&arguments))
    };
    let reply = asked("1");
    assert_eq!(reply.code, Some(0), "{}", reply.err);
    assert!(reply.out.contains("Paris"), "{}", reply.out);
    assert_eq!(reply.out, asked("2").out, "a greedy reply does not depend on the seed");

    let arguments = [
        "bench",
        "--url",
        &server.url,
        "--api-key",
        key,
        "--json",
        "--clients",
        "4",
        "--requests",
        "8",
        "--output-tokens",
        "8",
    ];
    let measured = finish(&mut orrery(&arguments));
    assert_eq!(measured.code, Some(0), "{}", measured.err);
    let json: serde_json::Value = serde_json::from_str(&measured.out).expect("JSON");
    assert_eq!(json["exact_prompts"], true, "{json}");
    assert_eq!((json["total_input_tokens"].as_u64(), json["total_output_tokens"].as_u64()), (Some(8 * 128), Some(64)));

    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn chat_starts_an_engine_of_its_own() {
    let data_dir = model::data_dir().to_str().expect("UTF-8 path");
    // Nothing listens at port 1, so chat starts its own.
    let arguments = ["chat", "Say hello.", "--listen", "127.0.0.1:1", "--data-dir", data_dir, "--max-tokens", "8"];
    let run = finish(&mut orrery(&arguments));
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(!run.out.trim().is_empty());
    assert!(run.err.contains("started an engine for smollm2-135m-instruct"), "{}", run.err);
}

/// The oracle is transformers in float32 on the dequantised weights, over the first window of the same text
/// (`fixtures/README.md`); the model's own tests take all of it.
#[test]
fn perplexity_is_that_of_float32() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/smollm2");
    let reference = std::fs::read_to_string(fixtures.join("moby_dick.json")).expect("a fixture");
    let reference: serde_json::Value = serde_json::from_str(&reference).expect("JSON");
    let window = reference["window"].to_string();
    let mut command = orrery(&["eval", "perplexity", "--json", "--window", &window, "--tokens", &window, "--data-dir"]);
    let run = finish(command.arg(model::data_dir()).arg("--text").arg(fixtures.join("moby_dick.txt")));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let json: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    let scored = reference["window"].as_f64().expect("a count") - 1.0;
    assert_eq!((json["tokens"].as_f64(), &json["window"]), (Some(scored), &reference["window"]), "{json}");
    let wanted = (reference["negative_log_likelihood"][0].as_f64().expect("a sum") / scored).exp();
    let (found, nll) = (json["perplexity"].as_f64().expect("a figure"), json["nll"].as_f64().expect("a figure"));
    assert!((found / wanted - 1.0).abs() < 0.005, "{found} {wanted}");
    assert!((nll.exp() / found - 1.0).abs() < 1e-9, "{json}");
}

#[test]
fn a_second_signal_exits_at_once() {
    let mut server = Server::start(model::data_dir(), &["--log", "text/warn"]);
    server.ready();
    // A request that would run for long keeps the server from ending on the first signal.
    let url = server.url.clone();
    let body = r#"{"model":"smollm2-135m-instruct","prompt":"Once","max_tokens":4000,"ignore_eos":true,"stream":true}"#;
    let address = url.strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let length = body.len();
    let shown = finish(orrery(&["key", "show", "--data-dir"]).arg(model::data_dir()));
    let key = shown.out.trim();
    write!(stream, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("connected");
    let mut first = [0; 512];
    assert!(stream.read(&mut first).expect("the reply begins") > 0);
    server.signal("TERM");
    // Not ready any more: the first signal has been taken.
    while !health(address).contains("503") {}
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}

/// The answer of /health; 503 as well when the socket is closed already.
fn health(address: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().unwrap_or_else(|_: std::io::Error| "503".to_owned())
}
