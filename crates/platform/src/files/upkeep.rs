//! What is done to files without anybody asking: those that have expired go, and what crashes left.

use super::Files;
use crate::Error;
use crate::accounts::now_ms;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often expired files are looked for, and after how many of these looks for left-overs.
const LOOK: Duration = Duration::from_secs(60);
const LOOKS_PER_TIDY: u32 = 30;
/// Left-overs are at least so old: no upload is silent, and no entry waits, for so long.
const LEFT_OVER: Duration = Duration::from_secs(60 * 60);
/// Expired files that are taken up at a time.
const EXPIRED_MAX: usize = 1000;

impl Files {
    /// Sweeps now and from time to time, until the task is aborted.
    pub(crate) fn keep_tidy(&self) -> JoinHandle<()> {
        let files = self.clone();
        tokio::spawn(async move {
            for look in 0_u32.. {
                let tidied = if look.is_multiple_of(LOOKS_PER_TIDY) { files.tidy(LEFT_OVER).await } else { Ok(0) };
                let swept = files.sweep(now_ms()).await;
                for error in [tidied.err(), swept.err()].into_iter().flatten() {
                    tracing::warn!(%error, "files that are no longer wanted cannot be deleted now");
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// Deletes files that have expired at `now_ms`, and returns how many.
    ///
    /// # Errors
    /// The database cannot be read or written; what is left is for the next call.
    pub async fn sweep(&self, now_ms: i64) -> Result<usize, Error> {
        let mut swept = 0;
        loop {
            let expired = self.0.store.expired_files(now_ms, EXPIRED_MAX).await?;
            for file in &expired {
                match self.remove(file).await {
                    Ok(()) => swept += 1,
                    // Its owner was first.
                    Err(Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if expired.len() < EXPIRED_MAX {
                return Ok(swept);
            }
        }
    }

    /// Deletes what killed processes left: unfinished blobs, and whole ones without an entry, if they are older than `age`.
    ///
    /// # Errors
    /// The folder or the database cannot be read; what is left is for the next call.
    pub async fn tidy(&self, age: Duration) -> Result<usize, Error> {
        let mut removed = self.0.vault.blobs().sweep(age).await?;
        for tenant in self.0.store.tenants().await? {
            let named = self.0.store.file_blobs(&tenant.id).await?;
            removed += self.0.vault.remove_strays(&tenant.id, &named, age).await?;
        }
        Ok(removed)
    }
}
