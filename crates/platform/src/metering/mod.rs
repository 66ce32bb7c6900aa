//! Metering: the way of usage from a running request to the ledger.
//!
//! ```text
//! begin, finish ──write──► journal (files) ──────────────► replay, at the next start ─┐
//! tokens ──► a counter in memory ──write, every 5 ms──► journal                       ├─► ledger
//! finish, drop ──► queue in memory ──► writer (a task) ───────────────────────────────┘
//! ```
//!
//! Each request has a row in the ledger, exactly once, whatever dies and when: its id is ours, its end is with the
//! operating system before [`Metered::finish`] returns, and the ledger passes over a row that it has. A token is an
//! addition in memory. What has begun and never ended, because the process died, becomes a row with the outcome
//! `interrupted` and the tokens that were counted up to [`MeterSettings::write_ms`] before. A power loss takes what is
//! younger than [`MeterSettings::sync_ms`] (and the time of one sync).
//!
//! Must not know: how rows are stored, HTTP. Start at [`Meter`]; the journal's rules stand in `journal.rs`.

mod folder;
mod journal;
mod record;
mod replay;
mod request;
mod segments;
mod settings;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

pub use journal::MeterStats;
pub use request::{Bill, Metered};
pub use settings::MeterSettings;

use crate::Error;
use crate::store::Lock;
use folder::{Files, Folder};
use journal::Journal;
use orrery_store::Ledger;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use upkeep::Upkeep;

/// Meters requests. One in a process, and one for a folder: a lock refuses a second.
///
/// Dropping it leaves what is not in the ledger to the journal; [`close`](Self::close) waits for the ledger first.
#[derive(Debug)]
pub struct Meter {
    journal: Arc<Journal>,
    /// `None`: it is closed.
    writer: Mutex<Option<JoinHandle<()>>>,
    upkeep: Upkeep,
}

impl Meter {
    /// Takes what an earlier process has left in the folder, and starts. Rows go to `ledger` from a task of the runtime
    /// that this is called in.
    ///
    /// # Errors
    /// `BadInput`: a setting. `Conflict`: another process uses the folder. `NoSpace`: there is no space for the first
    /// segment. `Internal`: the folder cannot be read or written.
    pub async fn start(settings: MeterSettings, ledger: Arc<dyn Ledger>) -> Result<Self, Error> {
        settings.check()?;
        let opened = tokio::task::spawn_blocking(move || {
            let what = format!("opening the journal of usage in {}", settings.folder.display());
            let files = Files::open(&settings.folder).map_err(|error| Error::disk(&what, error))?;
            let lock = lock(&settings)?;
            open(settings, Box::new(files), Some(lock))
        });
        let journal = opened.await.unwrap_or_else(|_| Err(Error::internal("a worker thread has died")))?;
        Self::run(journal, ledger)
    }

    fn run(journal: Journal, ledger: Arc<dyn Ledger>) -> Result<Self, Error> {
        let journal = Arc::new(journal);
        let upkeep = Upkeep::start(&journal)
            .map_err(|error| Error::internal(format!("starting the threads of the journal: {error}")))?;
        let writer = Mutex::new(Some(tokio::spawn(writer::run(journal.clone(), ledger))));
        Ok(Self { journal, writer, upkeep })
    }

    /// Notes that a request begins. It is written to the journal before this returns, by one call of `write`.
    ///
    /// # Errors
    /// `BadInput`: the ledger would not take a row with this bill. `NoSpace`: the disk is full. `Unavailable`: the
    /// journal has reached its largest size since the ledger takes no rows, or cannot be written, or is closed.
    pub fn begin(&self, bill: Bill) -> Result<Metered, Error> {
        Metered::begin(&self.journal, bill)
    }

    /// Requests that are not in the ledger yet: running, and ended.
    pub fn pending(&self) -> u64 {
        let stats = self.journal.stats();
        stats.running + stats.waiting
    }

    /// For the metrics.
    pub fn stats(&self) -> MeterStats {
        self.journal.stats()
    }

    /// Returns when all requests that have ended so far are in the ledger. It waits as long as the ledger is away.
    pub async fn flush(&self) {
        self.journal.flush().await;
    }

    /// Takes no more requests, waits at most `patience` for the ledger, and stops. What is not in the ledger by then
    /// stays in the journal, for the next start. Returns how many requests that are.
    pub async fn close(&self, patience: Duration) -> u64 {
        self.journal.refuse_requests();
        let _ = tokio::time::timeout(patience, self.journal.flush()).await;
        if let Some(writer) = self.stop_writer() {
            let _ = writer.await;
        }
        let upkeep = self.upkeep.clone();
        let _ = tokio::task::spawn_blocking(move || upkeep.stop()).await;
        self.pending()
    }

    fn stop_writer(&self) -> Option<JoinHandle<()>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.inspect(JoinHandle::abort)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.journal.refuse_requests();
        self.stop_writer();
        self.upkeep.stop();
    }
}

/// Reads what is in the folder, and begins a segment.
fn open(settings: MeterSettings, folder: Box<dyn Folder>, lock: Option<Lock>) -> Result<Journal, Error> {
    let what = format!("opening the journal of usage in {}", settings.folder.display());
    let disk = |error| Error::disk(&what, error);
    let left = replay::read(folder.as_ref()).map_err(disk)?;
    Journal::open(settings, folder, left, lock).map_err(disk)
}

fn lock(settings: &MeterSettings) -> Result<Lock, Error> {
    let folder = settings.folder.display();
    let taken = Lock::try_take(&settings.folder.join("lock"))?;
    taken.ok_or_else(|| {
        Error::Conflict(format!(
            "another process uses the journal of usage in {folder}; stop it, or choose another folder with --data-dir"
        ))
    })
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
