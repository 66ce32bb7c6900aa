//! One pull of a model at a time, between tasks and between processes.
//!
//! The kernel frees the lock when its holder ends, however it ends; the file itself stays.

use crate::Error;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(50);

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or `None` when another one has it.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>, Error> {
        let disk = |error| Error::disk(&format!("locking {}", path.display()), error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(disk)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(disk(error)),
        }
    }

    /// Waits for the lock. Polls, so that a caller who gives up leaves no thread behind; `waiting` is called each time.
    pub(crate) async fn take(path: &Path, waiting: impl Fn()) -> Result<Self, Error> {
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            waiting();
            tokio::time::sleep(POLL).await;
        }
    }
}
