//! Requests of a soak, over plain sockets: no request shares a connection with another.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// More than any request takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one of the clients does, over and over.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A streamed chat, read to its end.
    Stream,
    /// A whole answer with several choices.
    Whole,
    /// A long stream whose reader goes away.
    Disconnect,
    /// What is refused: a bad body, a bad field, an unknown model and address, a bad key.
    Mistake,
    /// A key that is made, used, changed and revoked.
    Keys,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Stream, Self::Whole, Self::Disconnect, Self::Mistake, Self::Keys];
}

pub struct Client {
    address: String,
    key: String,
    model: String,
    number: AtomicU64,
    failures: AtomicU64,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("the server speaks no plain HTTP")?.to_owned();
        let mut client = Self {
            address,
            key: key.to_owned(),
            model: String::new(),
            number: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        let (_, models) = client.ask("GET", "/v1/models", &client.key, "")?;
        client.model = models["data"][0]["id"].as_str().context("no model is served")?.to_owned();
        Ok(client)
    }

    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn metrics(&self) -> Result<String> {
        let answer = self.exchange("GET", "/metrics", &self.key, "")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "/metrics: {answer}");
        Ok(answer)
    }

    pub fn send(&self, kind: Kind) -> Result<()> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        match kind {
            Kind::Stream => {
                let answer = self.exchange("POST", CHAT, &self.key, &self.chat(number, 32, true))?;
                ensure!(answer.contains("[DONE]"), "{answer}");
            }
            Kind::Whole => {
                let mut body = self.body(number, 16, false);
                body["n"] = json!(3);
                let (status, answer) = self.ask("POST", CHAT, &self.key, &body.to_string())?;
                ensure!(status == 200, "{status}: {answer}");
            }
            Kind::Disconnect => {
                let mut stream = self.open("POST", CHAT, &self.key, &self.chat(number, 400, true))?;
                let mut some = [0; 256];
                ensure!(stream.read(&mut some)? > 0, "no first bytes");
            }
            Kind::Mistake => self.mistake(number)?,
            Kind::Keys => self.keys(number)?,
        }
        Ok(())
    }

    fn mistake(&self, number: u64) -> Result<()> {
        let chat = |edit: fn(&mut Value)| {
            let mut body = self.body(number, 4, false);
            edit(&mut body);
            body.to_string()
        };
        let (path, key, body, wanted) = match number % 5 {
            0 => (CHAT, self.key.as_str(), "{\"model\": ".to_owned(), 400),
            1 => (CHAT, self.key.as_str(), chat(|body| body["temperature"] = json!(-1)), 400),
            2 => (CHAT, self.key.as_str(), chat(|body| body["model"] = json!("none")), 404),
            3 => ("/v1/none", self.key.as_str(), chat(|_| {}), 404),
            _ => (CHAT, "orr_none", chat(|_| {}), 401),
        };
        let (status, answer) = self.ask("POST", path, key, &body)?;
        ensure!(status == wanted, "{status} in place of {wanted}: {answer}");
        Ok(())
    }

    fn keys(&self, number: u64) -> Result<()> {
        let (status, made) =
            self.ask("POST", "/v1/keys", &self.key, &json!({"name": format!("soak {number}")}).to_string())?;
        ensure!(status == 200, "{status}: {made}");
        let (id, text) = made["id"].as_str().zip(made["key"].as_str()).context("a key without an id")?;
        let path = format!("/v1/keys/{id}");
        ensure!(self.ask("POST", CHAT, text, &self.chat(number, 2, false))?.0 == 200, "a new key is not taken");
        ensure!(self.ask("POST", &path, &self.key, "{\"name\": \"changed\"}")?.0 == 200, "a key cannot be changed");
        ensure!(self.ask("DELETE", &path, &self.key, "")?.0 == 200, "a key cannot be revoked");
        ensure!(self.ask("POST", CHAT, text, &self.chat(number, 2, false))?.0 == 401, "a revoked key is taken");
        Ok(())
    }

    fn chat(&self, number: u64, tokens: u64, stream: bool) -> String {
        self.body(number, tokens, stream).to_string()
    }

    fn body(&self, number: u64, tokens: u64, stream: bool) -> Value {
        // Now and then a prompt that was there before.
        let content = format!("Say something about number {}.", number % 1000);
        json!({
            "model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens,
            "ignore_eos": true, "stream": stream, "seed": number,
        })
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> Result<(u16, Value)> {
        let answer = self.exchange(method, path, key, body)?;
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    fn exchange(&self, method: &str, path: &str, key: &str, body: &str) -> Result<String> {
        let mut answer = Vec::new();
        self.open(method, path, key, body)?.read_to_end(&mut answer).context("no whole answer")?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn open(&self, method: &str, path: &str, key: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).context("cannot connect")?;
        stream.set_read_timeout(Some(PATIENCE)).context("cannot set a timeout")?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).context("cannot send")?;
        Ok(stream)
    }
}

const CHAT: &str = "/v1/chat/completions";
