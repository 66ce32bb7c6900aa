//! HTTP: wire types, SSE, limits, the error table, metrics, OpenAPI.
//!
//! Wire types live here alone and are never domain types. Start at [`serve`]; then `routes`, one file for each
//! endpoint, and `wire`, which reads requests and makes answers.
#![forbid(unsafe_code)]

mod auth;
pub mod backend;
mod bare;
mod body;
mod connection;
mod error;
mod headers;
mod metrics;
mod routes;
mod sse;
mod state;
mod timed;
mod wire;

use backend::Backend;
use orrery_platform::Platform;
use state::App;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Limits of the HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub body_max_bytes: usize,
    pub header_max_bytes: usize,
    pub headers_max: usize,
    pub header_timeout_ms: u64,
    /// Time allowed to receive a body.
    pub body_timeout_ms: u64,
    /// Time that a client may read nothing while bytes wait for it.
    pub write_timeout_ms: u64,
    pub connections_max: usize,
    /// How long running requests may go on after a shutdown signal.
    pub grace_ms: u64,
    /// A comment is sent in a stream that has been silent for so long.
    pub ping_ms: u64,
    /// Requests that one model holds, waiting and running; told to clients in `x-ratelimit-limit-requests`.
    pub requests_max: usize,
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
            write_timeout_ms: 60_000,
            connections_max: 4096,
            grace_ms: 30_000,
            ping_ms: 5_000,
            requests_max: 1024 + 256,
            limits: Limits::default(),
        }
    }
}

/// Serves until `shutdown` resolves, then drains: not ready first, streams finish within the grace period.
pub async fn serve(
    platform: Arc<Platform>,
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_backend(platform, listener, settings, shutdown).await
}

/// [`serve`] over any backend; the tests bring a scripted one.
pub async fn serve_backend(
    backend: Arc<dyn Backend>,
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let grace = Duration::from_millis(settings.grace_ms);
    let app = App::new(backend, settings);
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
    Ok(())
}
