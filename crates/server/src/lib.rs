//! HTTP: wire types, SSE, limits, the error table, metrics, traces, OpenAPI.
//!
//! Wire types live here alone and are never domain types. Start at [`serve`]; then `routes`, one file for each
//! endpoint, and `wire`, which reads requests and makes answers.
#![forbid(unsafe_code)]

mod auth;
pub mod backend;
mod bare;
mod body;
mod connection;
pub mod dry_run;
mod error;
mod farewell;
mod framing;
mod handshake;
mod headers;
mod metrics;
mod multipart;
mod routes;
mod slots;
mod sse;
mod state;
mod timed;
mod tls;
mod traces;
mod watched;
mod wire;

use backend::Backend;
use orrery_platform::Platform;
use state::App;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use traces::Tracer;

pub use tls::{Tls, TlsError, TlsFiles};
pub use traces::TraceSettings;

/// Limits of the HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub body_max_bytes: usize,
    pub header_max_bytes: usize,
    pub headers_max: usize,
    /// Time allowed to receive a head, and for a TLS handshake.
    pub header_timeout_ms: u64,
    /// Time allowed to receive a body.
    pub body_timeout_ms: u64,
    /// An upload may take as long as a body, and a second more for each so many bytes that have come.
    pub upload_rate_min_bytes: u64,
    /// Time that a client may read nothing while bytes wait for it.
    pub write_timeout_ms: u64,
    pub connections_max: usize,
    /// Bytes of a text whose tokens are asked for; of token ids whose text is, a quarter as many.
    pub tokenize_max_bytes: usize,
    /// How often the files of the TLS certificate are looked at.
    pub tls_reload_ms: u64,
    /// How long running requests may go on after a shutdown signal.
    pub grace_ms: u64,
    /// A comment is sent in a stream that has been silent for so long.
    pub ping_ms: u64,
    /// Requests that one model holds, waiting and running; told to clients in `x-ratelimit-limit-requests`.
    pub requests_max: usize,
    /// Tenants with metrics of their own; those of all others are one.
    pub metrics_tenants_max: usize,
    /// Where spans of requests go; `None`: there are none.
    pub traces: Option<TraceSettings>,
    pub limits: Limits,
}

/// Limits on what one request asks for. The engine holds them too; here a client is told of them before anything is done,
/// and in the OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Choices (`n`).
    pub choices_max: usize,
    /// Alternatives for each token (`top_logprobs`).
    pub logprobs_max: usize,
    pub stop_strings_max: usize,
    /// Bytes of one stop string.
    pub stop_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { choices_max: 16, logprobs_max: 20, stop_strings_max: 4, stop_bytes_max: 1024 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_max_bytes: 4 * 1024 * 1024,
            header_max_bytes: 64 * 1024,
            headers_max: 100,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            upload_rate_min_bytes: 16 * 1024,
            write_timeout_ms: 60_000,
            connections_max: 4096,
            tokenize_max_bytes: 1024 * 1024,
            tls_reload_ms: 2_000,
            grace_ms: 30_000,
            ping_ms: 5_000,
            requests_max: 1024 + 256,
            metrics_tenants_max: 200,
            traces: None,
            limits: Limits::default(),
        }
    }
}

/// Where to accept connections: a bound socket, and the certificate if it speaks TLS.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    pub fn new(socket: TcpListener, tls: Option<Tls>) -> Self {
        Self { socket, tls }
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::new(socket, None)
    }
}

/// Serves until `shutdown` resolves, then drains: not ready first, streams finish within the grace period.
pub async fn serve(
    platform: Arc<Platform>,
    listener: impl Into<Listener>,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_backend(platform, listener, settings, shutdown).await
}

/// [`serve`] over any backend; the tests bring a scripted one.
pub async fn serve_backend(
    backend: Arc<dyn Backend>,
    listener: impl Into<Listener>,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let grace = Duration::from_millis(settings.grace_ms);
    let listener = listener.into();
    let tracer = settings.traces.as_ref().map(|traces| Tracer::start(traces, listener.scheme())).transpose()?;
    let app = App::new(backend, settings, tracer.clone());
    let router = routes::router(app.clone());
    let draining = app.clone();
    let drained = async move {
        shutdown.await;
        tracing::info!("draining");
        draining.start_draining();
        if !draining.backend.drain(grace).await {
            tracing::warn!("the grace period ended before every request did");
        }
    };
    connection::accept(listener, router, app, drained).await;
    if let Some(tracer) = tracer {
        tracer.close().await;
    }
    Ok(())
}
