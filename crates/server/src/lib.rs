//! HTTP: wire types, SSE, limits, the error table, metrics, OpenAPI.
//!
//! Wire types live here alone and are never domain types. Start at [`serve`].

use orrery_platform::Platform;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Limits of the HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub body_max_bytes: usize,
    pub header_max_bytes: usize,
    pub header_timeout_ms: u64,
    /// Time allowed to receive a body.
    pub body_timeout_ms: u64,
    pub connections_max: usize,
    /// How long running requests may go on after a shutdown signal.
    pub grace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_max_bytes: 4 * 1024 * 1024,
            header_max_bytes: 64 * 1024,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            connections_max: 4096,
            grace_ms: 30_000,
        }
    }
}

/// Serves until `shutdown` resolves, then drains: not ready first, streams finish within the grace period.
pub async fn serve(
    _platform: Arc<Platform>,
    _listener: tokio::net::TcpListener,
    _settings: Settings,
    _shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let _ = Duration::ZERO;
    todo!()
}
