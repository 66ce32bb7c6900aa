//! Traces: spans of requests, sent to a collector by OTLP over HTTP. Off unless an endpoint is set.
//!
//! A request that passes the door with a key is a span of kind server, a generation in it is one by the conventions for
//! generative AI, and where its time went are three more. They hold ids, counts and times: nothing of a prompt, an answer or a
//! key. [`Tracer`] decides which requests are traced, `request` and `inference` make the spans, `export` sends them.

mod context;
mod export;
mod inference;
mod otlp;
mod request;

use context::{Context, Ids};
use export::Exporter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use export::Stats;
pub use inference::{Inference, Operation};
pub use request::of;

/// Where spans go, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The whole address, `/v1/traces` included.
    pub endpoint: String,
    /// Sent with every batch; they may be secrets.
    pub headers: Vec<(String, String)>,
    pub service_name: String,
    /// Of a million requests that bring no decision of their own with them.
    pub sampled_per_million: u32,
    /// Time for one batch to be taken.
    pub timeout_ms: u64,
    /// Spans that wait; one more is lost, and counted.
    pub queue_max: usize,
    /// Spans of one batch, and how long the first waits for others.
    pub batch_max: usize,
    pub batch_ms: u64,
    /// Time for the last ones when the server ends.
    pub flush_ms: u64,
}

impl TraceSettings {
    /// All traces of `orrery` to this address, with the defaults of the configuration.
    pub fn to(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            headers: Vec::new(),
            service_name: "orrery".to_owned(),
            sampled_per_million: 1_000_000,
            timeout_ms: 10_000,
            queue_max: 2048,
            batch_max: 512,
            batch_ms: 1_000,
            flush_ms: 2_000,
        }
    }
}

/// Decides which requests are traced, and takes their spans. It never waits.
pub struct Tracer {
    spans: mpsc::Sender<otlp::Span>,
    stats: Arc<Stats>,
    ids: Ids,
    /// A trace whose id's number is below is sampled.
    sampled_below: u64,
    /// `http` or `https`, as requests come.
    scheme: &'static str,
    stop: watch::Sender<bool>,
    exporter: Mutex<Option<JoinHandle<()>>>,
    flush: Duration,
}

impl Tracer {
    /// Starts the task that exports.
    ///
    /// # Errors
    /// A header that HTTP does not know, or an HTTP client that cannot be had.
    pub fn start(settings: &TraceSettings, scheme: &'static str) -> std::io::Result<Arc<Self>> {
        let (spans, queue) = mpsc::channel(settings.queue_max.max(1));
        let (stop, stopped) = watch::channel(false);
        let stats = Arc::new(Stats::default());
        let exporter = Exporter::new(settings, queue, stopped, stats.clone())?;
        Ok(Arc::new(Self {
            spans,
            stats,
            ids: Ids::new(),
            sampled_below: share_of_ids(settings.sampled_per_million),
            scheme,
            stop,
            exporter: Mutex::new(Some(tokio::spawn(exporter.run()))),
            flush: Duration::from_millis(settings.flush_ms),
        }))
    }

    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The trace that a request belongs to; `None` when it is not to be recorded. Who called decides, where they tell.
    fn decide(&self, headers: &axum::http::HeaderMap) -> Option<Context> {
        if let Some(context) = Context::of(headers) {
            return context.sampled.then_some(context);
        }
        let id = self.ids.trace();
        // The last 63 bits, as the samplers of other services take them.
        let number = u64::from_be_bytes(id[8..].try_into().expect("invariant: an id has sixteen bytes")) >> 1;
        (number < self.sampled_below).then(|| Context::new(id))
    }

    fn send(&self, span: otlp::Span) {
        if self.spans.try_send(span).is_err() {
            self.stats.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what waits, for a bounded time. Spans that come later are lost.
    pub async fn close(&self) {
        let _ = self.stop.send(true);
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut exporter) = exporter else { return };
        if tokio::time::timeout(self.flush, &mut exporter).await.is_err() {
            exporter.abort();
            tracing::warn!("the last spans could not be sent in time and are lost");
        }
    }
}

fn share_of_ids(per_million: u32) -> u64 {
    let share = u128::from(per_million.min(1_000_000)) * (1 << 63) / 1_000_000;
    u64::try_from(share).expect("invariant: at most 2^63")
}

/// Counts without a lock.
fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_ids() {
        assert_eq!(share_of_ids(0), 0);
        assert_eq!(share_of_ids(500_000), 1 << 62);
        // Every number of 63 bits is below it.
        assert_eq!(share_of_ids(1_000_000), 1 << 63);
    }
}
