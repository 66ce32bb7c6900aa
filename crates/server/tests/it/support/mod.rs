//! A server on a free port, the scripted backend behind it, and a small HTTP client that shows every byte.

pub mod backend;
pub mod client;
pub mod collector;
pub mod tls;

pub use backend::Scripted;
pub use client::{Connection, Response};

use orrery_platform::FileSettings;
use orrery_platform::accounts::Keys;
use orrery_server::{Listener, Settings, Tls};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// More than any test needs; a hang becomes a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    pub backend: Arc<Scripted>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self::over(settings, None).await
    }

    pub async fn over(settings: Settings, tls: Option<Tls>) -> Self {
        Self::behind(Scripted::new().await, settings, tls).await
    }

    /// A server that asks for no keys.
    pub async fn without_keys() -> Self {
        Self::behind(Scripted::asking(Keys::NotAsked).await, Settings::default(), None).await
    }

    /// A server whose accounts are in a data folder.
    pub async fn in_folder(data: &Path, files: FileSettings) -> Self {
        Self::behind(Scripted::in_folder(data, files).await, Settings::default(), None).await
    }

    async fn behind(backend: Scripted, settings: Settings, tls: Option<Tls>) -> Self {
        let backend = Arc::new(backend);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            // A dropped sender is no signal.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let listener = Listener::new(listener, tls);
        let task = tokio::spawn(orrery_server::serve_backend(backend.clone(), listener, settings, shutdown));
        Self { address, backend, stop: Some(stop), task }
    }

    pub fn signal(&mut self) {
        self.stop.take().expect("the first signal").send(()).expect("a running server");
    }

    /// Waits until the server has ended.
    pub async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task).await.expect("in time").expect("no panic").expect("no error");
    }

    /// A connection whose requests bring the first key, unless they bring one of their own.
    pub async fn connect(&self) -> Connection {
        self.stranger().await.with_key(&self.backend.key)
    }

    /// A connection whose requests bring no key.
    pub async fn stranger(&self) -> Connection {
        Connection::open(self.address).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.connect().await.request("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.post_bytes(path, body.to_string().as_bytes()).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.connect().await.request("DELETE", path, &[], b"").await
    }

    /// Uploads a file for the purpose `batch`.
    pub async fn upload(&self, filename: &str, content: &[u8]) -> Response {
        let (content_type, body) = form(&[("purpose", None, b"batch"), ("file", Some(filename), content)]);
        self.connect().await.request("POST", "/v1/files", &[("content-type", &content_type)], &body).await
    }

    pub async fn post_bytes(&self, path: &str, body: &[u8]) -> Response {
        self.connect().await.request("POST", path, &[("content-type", "application/json")], body).await
    }
}

/// A chat whose script is `content`.
pub fn chat(content: &str) -> Value {
    serde_json::json!({"model": "tiny", "messages": [{"role": "user", "content": content}]})
}

/// `base` with more fields.
pub fn with(mut base: Value, more: Value) -> Value {
    let (Some(base_map), Value::Object(more)) = (base.as_object_mut(), more) else { panic!("objects") };
    base_map.extend(more);
    base
}

/// A body without what differs from run to run.
pub fn stable(mut body: Value) -> Value {
    for field in ["id", "created"] {
        if let Some(value) = body.get_mut(field) {
            *value = Value::String(format!("[{field}]"));
        }
    }
    body
}

/// Asserts OpenAI's error shape; returns the error.
#[track_caller]
pub fn check_error(response: &Response, status: u16, code: Option<&str>, param: Option<&str>) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    let error = response.json()["error"].clone();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    assert!(error["type"].is_string(), "{error}");
    assert_eq!(error["code"].as_str(), code, "{error}");
    assert_eq!(error["param"].as_str(), param, "{error}");
    assert_eq!(error.as_object().map(serde_json::Map::len), Some(4), "{error}");
    error
}

/// A form of parts: name, filename, content; with its content type.
pub fn form(parts: &[(&str, Option<&str>, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, filename, content) in parts {
        let filename = filename.map_or_else(String::new, |filename| format!("; filename=\"{filename}\""));
        let head = format!("--bOuNd\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--bOuNd--\r\n");
    ("multipart/form-data; boundary=bOuNd".into(), body)
}
