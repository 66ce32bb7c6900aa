//! What every handler shares.

use crate::Settings;
use crate::backend::Backend;
use crate::metrics::Metrics;
use crate::traces::Tracer;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::openapi::OpenApi;

/// Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub backend: Arc<dyn Backend>,
    pub settings: Arc<Settings>,
    pub metrics: Arc<Metrics>,
    /// `None`: no request is traced.
    pub tracer: Option<Arc<Tracer>>,
    /// Set once, when the routes are built.
    pub openapi: Arc<OnceLock<OpenApi>>,
    draining: Arc<AtomicBool>,
    ids: Arc<Ids>,
}

impl App {
    pub fn new(backend: Arc<dyn Backend>, settings: Settings, tracer: Option<Arc<Tracer>>) -> Self {
        let spans = tracer.as_ref().map(|tracer| tracer.stats().clone());
        let metrics = Arc::new(Metrics::new(backend.clone(), settings.metrics_tenants_max, spans));
        Self {
            backend,
            settings: Arc::new(settings),
            metrics,
            tracer,
            openapi: Arc::default(),
            draining: Arc::default(),
            ids: Arc::new(Ids::new()),
        }
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.backend.start_draining();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// An id that no other request of this or another run has.
    pub fn new_id(&self, prefix: &str) -> String {
        self.ids.next(prefix)
    }
}

/// A client's name in an error message: short and without control characters.
pub fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 128;
    let mut short: String = text.chars().filter(|letter| !letter.is_control()).take(CHARACTERS_MAX).collect();
    if text.chars().count() > CHARACTERS_MAX {
        short.push('…');
    }
    short
}

pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Ids of 128 bits: a random start for each process, and a count.
struct Ids {
    process: u64,
    count: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self { process: RandomState::new().hash_one(nanos), count: AtomicU64::new(0) }
    }

    fn next(&self, prefix: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{:016x}{count:016x}", self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_between_requests_and_runs() {
        let (one, two) = (Ids::new(), Ids::new());
        let ids = [one.next("r-"), one.next("r-"), two.next("r-")];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert!(ids.iter().all(|id| id.len() == 34));
    }

    #[test]
    fn names_in_messages_are_short_and_plain() {
        assert_eq!(printable("a\n\u{1b}[31mb"), "a[31mb");
        assert_eq!(printable(&"x".repeat(10_000)).chars().count(), 129);
    }
}
