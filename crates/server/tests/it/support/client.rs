//! HTTP/1.1 by hand: what is sent is exactly what the test says, and nothing of the answer is hidden.

use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub struct Connection {
    stream: Box<dyn Stream>,
    key: Option<String>,
    received: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Payloads of the stream's events, `[DONE]` included, comments left out.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        let payload = |frame: &str| frame.strip_prefix("data: ").map(str::to_owned);
        text.split("\n\n").filter_map(payload).collect()
    }

    /// The chunks of a stream that must end with `[DONE]`.
    pub fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{}", self.text());
        events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("a listening server"))
    }

    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), key: None, received: Vec::new() }
    }

    /// Requests bring this key from now on, unless they bring one of their own.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The key that its requests bring.
    pub fn key(&self) -> String {
        self.key.clone().expect("a key")
    }

    /// Sends a request and reads the whole answer.
    pub async fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(method, path, headers, body).await;
        self.response().await
    }

    pub async fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"").await
    }

    /// Sends JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.request("POST", path, &headers, body.to_string().as_bytes()).await
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        if let Some(key) = &self.key
            && !headers.iter().any(|(name, _)| *name == "authorization")
        {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.raw(head.as_bytes()).await;
        self.raw(body).await;
    }

    /// Sends the beginning of a request: lines that end with `\r\n`. The key follows them.
    pub async fn begin(&mut self, lines: &str) {
        let key = self.key.clone().expect("a key");
        self.raw(format!("{lines}authorization: Bearer {key}\r\n").as_bytes()).await;
    }

    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("an open connection");
        // TLS keeps bytes back until then.
        self.stream.flush().await.expect("an open connection");
    }

    /// False where the server has closed.
    pub async fn try_raw(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("a reading server");
        written.is_ok()
    }

    /// The next answer, read to its end; the connection can be used again.
    pub async fn response(&mut self) -> Response {
        timeout(PATIENCE, self.read_response()).await.expect("an answer in time")
    }

    async fn read_response(&mut self) -> Response {
        let (status, headers) = self.read_head().await;
        let value = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
        let body = if value("transfer-encoding").as_deref() == Some("chunked") {
            self.read_chunked().await
        } else {
            let length = value("content-length").map_or(0, |length| length.parse().expect("a length"));
            self.take(length).await
        };
        Response { status, headers, body }
    }

    /// The head of a streamed answer; `until` reads on.
    pub async fn read_head(&mut self) -> (u16, Vec<(String, String)>) {
        let head = self.until("\r\n\r\n").await;
        let mut lines = head.trim_end().split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line").parse().expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        (status, lines.map(header).collect())
    }

    async fn read_chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = self.until("\r\n").await;
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk's size");
            let mut chunk = self.take(size + 2).await;
            chunk.truncate(size);
            body.append(&mut chunk);
            if size == 0 {
                return body;
            }
        }
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(place) = self.received.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.received.split_off(place + end.len());
                let taken = std::mem::replace(&mut self.received, rest);
                return String::from_utf8(taken).expect("UTF-8");
            }
            assert!(
                self.more().await,
                "the connection ended before {end:?}: {:?}",
                String::from_utf8_lossy(&self.received)
            );
        }
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.more().await, "the connection ended in a body");
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        let count = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("bytes in time").unwrap_or(0);
        self.received.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Everything that comes until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.received)
    }

    /// Whether the server has not closed it, as far as is known by now.
    pub async fn is_open(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match timeout(std::time::Duration::from_millis(1), self.stream.read(&mut buffer)).await {
                Err(_) => return true,
                Ok(Ok(0) | Err(_)) => return false,
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Waits until the server has closed the connection; what came before is thrown away.
    pub async fn closed(&mut self) {
        while self.more().await {}
    }
}
