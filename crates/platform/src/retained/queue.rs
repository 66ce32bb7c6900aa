//! The way of what is retained to the disk: a queue with a bound in bytes, and one task that empties it.

use super::Record;
use crate::files::Files;
use crate::{Error, Platform};
use bytes::Bytes;
use futures_util::stream;
use orrery_store::{FileKind, StoredFile, TenantId};
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Tries to write one, and the pause between them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Waiting>,
    /// Until the task takes it.
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Waiting>>>,
    /// Bytes that wait, the one that is being written included.
    bytes: watch::Sender<usize>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    tenant: TenantId,
    keep_ms: i64,
    record: Record,
}

impl Queue {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(Some(receiver)), bytes: watch::Sender::new(0), lost: AtomicU64::new(0) }
    }

    fn lose(&self, tenant: &TenantId, error: &dyn std::fmt::Display) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%tenant, %error, "a request and its answer are not retained");
    }
}

impl Files {
    /// Queues what is to be retained; past the queue's bound it is lost, which is counted.
    pub(crate) fn retain(&self, tenant: TenantId, keep_ms: i64, record: Record) {
        let (queue, bytes, most) = (self.queue(), record.bytes(), self.settings().retained_queue_bytes);
        let fits = queue.bytes.send_if_modified(|waiting| {
            let fits = waiting.saturating_add(bytes) <= most;
            if fits {
                *waiting += bytes;
            }
            fits
        });
        if !fits {
            return queue.lose(&tenant, &"too many wait to be written");
        }
        // The receiver lives as long as the queue, or its task, which ends with the process.
        if queue.sender.send(Waiting { tenant, keep_ms, record }).is_err() {
            queue.bytes.send_modify(|waiting| *waiting -= bytes);
        }
    }

    /// Requests and answers that should have been retained and could not be.
    pub fn retained_lost(&self) -> u64 {
        self.queue().lost.load(Ordering::Relaxed)
    }

    /// Waits until what is queued is written.
    pub async fn retained_written(&self) {
        // The sender lives as long as this does.
        let _ = self.queue().bytes.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    /// Writes what comes, until the task is aborted. Once.
    pub(crate) fn write_retained(&self) -> JoinHandle<()> {
        let files = self.clone();
        let receiver = self.queue().receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        tokio::spawn(async move {
            let Some(mut receiver) = receiver else { return };
            while let Some(waiting) = receiver.recv().await {
                let bytes = waiting.record.bytes();
                if let Err(error) = files.write_patiently(&waiting).await {
                    files.queue().lose(&waiting.tenant, &error);
                }
                files.queue().bytes.send_modify(|waiting| *waiting -= bytes);
            }
        })
    }

    async fn write_patiently(&self, waiting: &Waiting) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.write_one(waiting).await {
                // The tenant does not want it any more, or is erased.
                Err(Error::Conflict(_) | Error::NotFound(_)) => return Ok(()),
                Err(Error::Unavailable(_)) if tries < TRIES => tokio::time::sleep(PAUSE).await,
                done => return done,
            }
            tries += 1;
        }
    }

    async fn write_one(&self, waiting: &Waiting) -> Result<(), Error> {
        let Waiting { tenant, keep_ms, record } = waiting;
        let failed = |error: serde_json::Error| Error::internal(format!("what is retained, as JSON: {error}"));
        let content = Bytes::from(serde_json::to_vec(record).map_err(failed)?);
        let sha256 = Sha256::digest(&content).into();
        let stored = self.vault().put(tenant, stream::iter([Ok(content)])).await?;
        let file = StoredFile {
            id: record.id.parse()?,
            tenant: tenant.clone(),
            kind: FileKind::Retained,
            name: record.model.clone(),
            purpose: record.endpoint.clone(),
            bytes: stored.bytes,
            sha256,
            blob: stored.id,
            created_at_ms: record.created_at_ms,
            expires_at_ms: Some(record.created_at_ms.saturating_add(*keep_ms)),
        };
        let made = self.store().create_file(&file, self.settings().retained_quota_bytes).await;
        if made.is_err()
            && let Err(error) = self.vault().blobs().delete(tenant, stored.id).await
        {
            tracing::warn!(%error, "a blob is left for the next sweep");
        }
        Ok(made?)
    }
}

impl Platform {
    /// Whether what is retained was written in time, at the end of the process.
    pub(crate) async fn retain_the_last(&self, patience: Duration) {
        let written = self.accounts().files().retained_written();
        if tokio::time::timeout(patience, written).await.is_err() {
            tracing::warn!("some requests and answers are not retained: the process ends");
        }
    }
}
