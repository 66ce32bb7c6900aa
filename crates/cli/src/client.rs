//! A small client of any OpenAI-compatible server.

use crate::failure::Usage;
use crate::sse::Decoder;
use anyhow::{Context as _, anyhow};
use serde_json::Value;
use std::time::Duration;

/// Cheap to clone. Every request has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without `/v1` and without a slash at the end.
    root: String,
    key: Option<String>,
}

/// The server refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {}: {}", self.status, self.message)
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// A client of `url`, with or without `/v1` at its end. `key` is sent to this server only. A server on this machine
    /// is reached without a proxy.
    ///
    /// # Errors
    /// Not an http address.
    pub fn new(url: &str, key: Option<String>) -> anyhow::Result<Self> {
        let bad = || Usage(format!("`{url}` is not an http:// or https:// address"));
        let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad().into());
        }
        let host = parsed.host_str().unwrap_or_default();
        let here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let builder = || {
            let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).tcp_nodelay(true);
            // Some servers (llama-server) close a connection after an answer without a word of it: a request that is sent on it
            // in that moment fails by chance, and a load generator would count that against the server.
            let builder = builder.pool_max_idle_per_host(0);
            if here { builder.no_proxy() } else { builder }
        };
        // Fails only when there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Where the machine has no certificates this fails, and http:// needs none.
        let http = match builder().build() {
            Err(_) if parsed.scheme() == "http" => builder().tls_certs_only([]).build(),
            built => built,
        };
        let http = http.context(
            "cannot set up an HTTPS client: are there no CA certificates? Install them (Debian: apt-get install \
             ca-certificates) or name a bundle in SSL_CERT_FILE",
        )?;
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root).to_owned();
        Ok(Self { http, root, key })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.root
    }

    /// GETs `path` and gives the status and the body's JSON (null if it is none).
    ///
    /// # Errors
    /// The server cannot be reached within `timeout`.
    pub async fn get(&self, path: &str, timeout: Duration) -> anyhow::Result<(u16, Value)> {
        let request = self.keyed(self.http.get(format!("{}{path}", self.root))).timeout(timeout);
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Ids of the server's models.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not speak OpenAI's API.
    pub async fn models(&self, timeout: Duration) -> anyhow::Result<Vec<String>> {
        let (status, body) = self.get("/v1/models", timeout).await?;
        if status != 200 {
            return Err(Refused { status, message: message(&body.to_string()) }.into());
        }
        let list = body["data"]
            .as_array()
            .with_context(|| format!("{} does not list models as OpenAI's API does", self.root))?;
        Ok(list.iter().filter_map(|model| model["id"].as_str()).map(str::to_owned).collect())
    }

    /// POSTs JSON and gives the answer's JSON.
    ///
    /// # Errors
    /// The server cannot be reached or refuses ([`Refused`]).
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let response = self.send(path, body).await?;
        response.json().await.map_err(|e| self.unreachable(&e))
    }

    /// Uploads a file for a purpose and gives its id.
    ///
    /// # Errors
    /// The server cannot be reached or refuses ([`Refused`]).
    pub async fn upload(&self, name: &str, purpose: &str, content: Vec<u8>) -> anyhow::Result<String> {
        // Long and odd enough to stand in no file by chance.
        let boundary = "orrery-4c1b9f0d7a2e48d3b6f5-boundary";
        let name: String = name.chars().filter(|char| !matches!(char, '"' | '\r' | '\n' | '\\')).collect();
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self.keyed(self.http.post(format!("{}/v1/files", self.root)));
        let kind = format!("multipart/form-data; boundary={boundary}");
        let response = request.header("content-type", kind).body(body).send().await;
        let response = response.map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        if status != 200 {
            return Err(Refused { status, message: message(&text) }.into());
        }
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(body["id"].as_str().context("the server gave the file no id")?.to_owned())
    }

    /// POSTs JSON and gives the answer's events as they come.
    ///
    /// # Errors
    /// The server cannot be reached or refuses ([`Refused`]).
    pub async fn stream(&self, path: &str, body: &Value) -> anyhow::Result<Events> {
        let response = self.send(path, body).await?;
        Ok(Events { response, decoder: Decoder::default(), done: false })
    }

    async fn send(&self, path: &str, body: &Value) -> anyhow::Result<reqwest::Response> {
        let request = self.keyed(self.http.post(format!("{}{path}", self.root)).json(body));
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(Refused { status: status.as_u16(), message: message(&text) }.into())
    }

    fn keyed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        anyhow!("{}: {}", self.root, innermost(error))
    }
}

/// The events of one streamed answer.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    decoder: Decoder,
    done: bool,
}

impl Events {
    /// The next event's data; `None` after `[DONE]`.
    ///
    /// # Errors
    /// The connection broke, or the stream ended without `[DONE]`.
    pub async fn next(&mut self) -> anyhow::Result<Option<String>> {
        while !self.done {
            if let Some(data) = self.decoder.take().map_err(|message| anyhow!(message))? {
                self.done = data == "[DONE]";
                if !self.done {
                    return Ok(Some(data));
                }
                continue;
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.decoder.push(&bytes),
                Ok(None) => return Err(anyhow!("the server ended the stream before the reply was complete")),
                Err(e) => return Err(anyhow!("the connection broke: {}", innermost(&e))),
            }
        }
        Ok(None)
    }
}

/// reqwest's outer messages say little; the innermost cause says what happened ("Connection refused").
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}

/// The message of an error body: OpenAI's form, or the beginning of whatever came.
pub fn message(body: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let error = &value["error"];
    let text = error["message"].as_str().or(error.as_str()).or(value["message"].as_str()).unwrap_or(body).trim();
    if text.is_empty() { "no message".to_owned() } else { text.chars().take(SHOWN_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let root = |url| Client::new(url, None).map(|client| client.url().to_owned());
        for url in ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"] {
            assert_eq!(root(url).expect(url), "http://h:1");
        }
        assert_eq!(root("https://h/api/v1").expect("path"), "https://h/api");
        for url in ["h:1", "ftp://h", "", "http//x"] {
            assert!(root(url).expect_err(url).is::<Usage>(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_server_that_closes_after_each_answer_fails_no_request() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
                    // Closed when the next request is there, so that the client cannot have seen it before.
                    let _ = stream.read(&mut request).await;
                });
            }
        });
        let client = Client::new(&url, None).expect("an address");
        for _ in 0..3 {
            client.post("/x", &Value::Null).await.expect("an answer");
        }
    }

    #[test]
    fn messages_of_error_bodies() {
        assert_eq!(message(r#"{"error":{"message":"no such model"}}"#), "no such model");
        assert_eq!(message(r#"{"error":"plain"}"#), "plain");
        assert_eq!(message("<html>busy</html>"), "<html>busy</html>");
        assert_eq!(message(""), "no message");
        assert_eq!(message(&"x".repeat(1000)).len(), 300);
    }
}
