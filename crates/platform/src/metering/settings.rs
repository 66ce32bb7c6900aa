//! The bounds of metering.

use crate::Error;
use orrery_store::APPEND_ROWS_MAX;
use std::path::{Path, PathBuf};

/// Where the journal lies, and what bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterSettings {
    /// The journal's own folder.
    pub folder: PathBuf,
    /// Counts of tokens are written so often: what the death of the process takes from requests that run.
    pub write_ms: u64,
    /// What is written goes to the disk so often: what a power loss takes.
    pub sync_ms: u64,
    /// Size of one file. It is laid out at once, so that a full disk does not cut off requests that run.
    pub segment_bytes: u64,
    /// At this size no more requests are taken: the ledger has been away for too long.
    pub journal_max_bytes: u64,
    /// Rows wait so long for others, to share a transaction.
    pub batch_ms: u64,
    /// Rows of one transaction.
    pub batch_rows: usize,
    /// A transaction that takes longer is tried again.
    pub append_timeout_ms: u64,
    /// Wait after a first failure of the ledger, doubled with each up to the longest.
    pub retry_ms: u64,
    /// The longest wait between two attempts.
    pub retry_max_ms: u64,
}

impl MeterSettings {
    /// The defaults, in a data folder.
    pub fn new(data: &Path) -> Self {
        Self {
            folder: data.join("journal"),
            write_ms: 5,
            sync_ms: 200,
            segment_bytes: 4 << 20,
            journal_max_bytes: 256 << 20,
            batch_ms: 50,
            batch_rows: 256,
            append_timeout_ms: 10_000,
            retry_ms: 50,
            retry_max_ms: 5_000,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let bounds: [(&str, u64, u64, u64); 8] = [
            ("write_ms", self.write_ms, 1, 60_000),
            ("sync_ms", self.sync_ms, 1, 60_000),
            ("segment_bytes", self.segment_bytes, 1 << 16, 1 << 30),
            // One segment is written while another one waits for the ledger.
            ("journal_max_bytes", self.journal_max_bytes, self.segment_bytes.saturating_mul(2), 1 << 40),
            ("batch_rows", self.batch_rows as u64, 1, APPEND_ROWS_MAX as u64),
            ("append_timeout_ms", self.append_timeout_ms, 1, 600_000),
            ("retry_ms", self.retry_ms, 1, 600_000),
            ("retry_max_ms", self.retry_max_ms, self.retry_ms, 600_000),
        ];
        match bounds.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            None => Ok(()),
            Some((name, value, least, most)) => {
                Err(Error::bad_input(format!("`{name}` {value} is not in the range {least} to {most}")))
            }
        }
    }
}
