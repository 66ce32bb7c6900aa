//! Runs what is queued: takes jobs by leases, starts a worker for each, notes what it tells, and publishes what it made.
//!
//! Several servers may share a store. A job whose server died is taken up again from its last checkpoint when its lease has run
//! out, and what a server says that lost its lease is refused by the store.

mod attempt;

use super::{Training, folder};
use crate::accounts::now_ms;
use attempt::Attempt;
use orrery_store::{Lease, LeaseRequest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How often the queue is looked at when nothing is heard of it: another server may have filled it.
const LOOK: Duration = Duration::from_millis(500);

/// The task that runs jobs. It ends them when this is dropped; [`Supervisor::stop`] does it in order.
#[derive(Debug)]
pub struct Supervisor {
    ending: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts to run the jobs of `training`, with folders for them in `data_dir`.
    pub fn start(training: Training, data_dir: &Path) -> Self {
        let (ending, ends) = watch::channel(false);
        let task = tokio::spawn(run(training, data_dir.to_owned(), ends));
        Self { ending, task }
    }

    /// Takes no more jobs, lets workers write a checkpoint, and puts their jobs back into the queue.
    pub async fn stop(self) {
        self.ending.send_replace(true);
        let _ = self.task.await;
    }
}

async fn run(training: Training, data_dir: PathBuf, mut ends: watch::Receiver<bool>) {
    if let Err(error) = folder::sweep(&data_dir, training.store.as_ref()).await {
        tracing::warn!(%error, "the folders of jobs that have ended cannot be looked for");
    }
    let data_dir = Arc::new(data_dir);
    let mut attempts = JoinSet::new();
    loop {
        while attempts.len() < training.settings.workers && !*ends.borrow() {
            let Some(lease) = next(&training).await else { break };
            let attempt = Attempt::new(training.clone(), lease, data_dir.as_path(), ends.clone());
            attempts.spawn(attempt.run());
        }
        if *ends.borrow() && attempts.is_empty() {
            return;
        }
        tokio::select! {
            // A panic in an attempt is a lost worker: its lease runs out.
            Some(_) = attempts.join_next() => {}
            () = training.news.notified() => {}
            // The sender is gone without a word: the server was dropped.
            changed = ends.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn next(training: &Training) -> Option<Lease> {
    let now_ms = now_ms();
    let settings = &training.settings;
    let lease_ms = i64::try_from(settings.lease.as_millis()).unwrap_or(i64::MAX);
    let request = LeaseRequest {
        holder: "server",
        now_ms,
        until_ms: now_ms.saturating_add(lease_ms),
        tenant_jobs_max: settings.tenant_workers,
        attempts_max: settings.attempts_max,
    };
    match training.store.lease_job(&request).await {
        Ok(lease) => lease,
        Err(error) => {
            tracing::warn!(%error, "cannot look for queued jobs now");
            None
        }
    }
}
