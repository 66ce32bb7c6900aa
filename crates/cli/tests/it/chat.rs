//! `orrery chat` against a scripted server.

use crate::run::{finish, finish_with_input, orrery};
use crate::scripted::{Answer, Scripted};
use serde_json::json;

fn server() -> Scripted {
    Scripted::start(|request| match request.path.as_str() {
        "/v1/models" => Answer::Json(200, json!({"data": [{"id": "first"}, {"id": "second"}]})),
        "/v1/chat/completions" => match request.body["messages"][0]["content"].as_str() {
            Some("refuse") => Answer::Json(400, json!({"error": {"message": "no such thing", "param": "x"}})),
            Some("break") => Answer::Events(vec![
                json!({"choices": [{"delta": {"content": "half"}}]}).to_string(),
                json!({"error": {"message": "out of blocks"}}).to_string(),
            ]),
            Some("cut") => Answer::Events(vec![json!({"choices": [{"delta": {"content": "half"}}]}).to_string()]),
            _ => Answer::Events(vec![
                json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}).to_string(),
                json!({"choices": [{"delta": {"content": "Good "}}]}).to_string(),
                json!({"choices": [{"delta": {"content": "day — é"}}]}).to_string(),
                json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}).to_string(),
                "[DONE]".to_owned(),
            ]),
        },
        _ => Answer::Json(404, json!({})),
    })
}

#[test]
fn one_question_is_answered() {
    let server = server();
    let arguments =
        ["chat", "hello", "--url", &server.url, "--system", "Be brief.", "--max-tokens", "5", "--seed", "1"];
    // A server of this machine is reached without any certificate.
    let nowhere = "/nonexistent";
    let run = finish(
        orrery(&arguments).env("OPENAI_API_KEY", "secret").env("SSL_CERT_FILE", nowhere).env("SSL_CERT_DIR", nowhere),
    );
    assert_eq!((run.code, run.out.as_str()), (Some(0), "Good day — é\n"), "{}", run.err);
    let request = &server.seen("/v1/chat/completions")[0];
    let expected = json!({
        "model": "first", "stream": true, "max_tokens": 5, "seed": 1,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
    });
    assert_eq!(request.body, expected);
    assert_eq!(request.authorization.as_deref(), Some("Bearer secret"));
}

#[test]
fn what_is_piped_in_follows_the_prompt() {
    let server = server();
    let arguments = ["chat", "Summarise.", "--url", &format!("{}/v1", server.url), "--model", "second"];
    let run = finish_with_input(&mut orrery(&arguments), "a long text\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    let request = &server.seen("/v1/chat/completions")[0];
    assert_eq!(request.body["messages"][0]["content"], "Summarise.\n\na long text");
    assert_eq!(request.body["model"], "second");
    assert_eq!(request.authorization, None);
}

#[test]
fn failures_of_the_server_are_shown() {
    let server = server();
    for (prompt, part) in [
        ("refuse", "the server answered 400: no such thing"),
        ("break", "in the middle of the reply: out of blocks"),
        ("cut", "before the reply was complete"),
    ] {
        let run = finish(&mut orrery(&["chat", prompt, "--url", &server.url]));
        assert_eq!(run.code, Some(1), "{prompt}");
        assert!(run.err.contains(part), "{prompt}: {}", run.err);
    }
    let run = finish(&mut orrery(&["chat", "x", "--url", "http://127.0.0.1:1"]));
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("http://127.0.0.1:1: Connection refused"), "{}", run.err);
}
