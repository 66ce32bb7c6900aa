//! The writer: brings rows of ended requests to the ledger, as long as it takes.

use super::journal::{Ended, Journal};
use orrery_store::{Error, Ledger, UsageRow};
use std::sync::Arc;
use std::time::Duration;

/// Runs until it is aborted. What it has in hand then is in the journal still.
pub(super) async fn run(journal: Arc<Journal>, ledger: Arc<dyn Ledger>) {
    let mut writer = Writer { failures: 0, journal, ledger };
    loop {
        writer.journal.gather().await;
        let (generations, rows) = split(writer.journal.take());
        writer.write(&generations, &rows).await;
    }
}

fn split(ended: Vec<Ended>) -> (Vec<u64>, Vec<UsageRow>) {
    ended.into_iter().map(|ended| (ended.generation, ended.row)).unzip()
}

struct Writer {
    /// One after another.
    failures: u32,
    journal: Arc<Journal>,
    ledger: Arc<dyn Ledger>,
}

impl Writer {
    /// Returns when all rows are in the ledger, or put aside.
    async fn write(&mut self, generations: &[u64], rows: &[UsageRow]) {
        if self.append(generations, rows).await {
            return;
        }
        // One of them is bad: the others must not wait for it.
        for (generation, row) in generations.chunks(1).zip(rows.chunks(1)) {
            if !self.append(generation, row).await {
                self.put_aside(generation, row).await;
            }
        }
    }

    /// Tries until the ledger has taken the rows, or says that it never will (`false`).
    async fn append(&mut self, generations: &[u64], rows: &[UsageRow]) -> bool {
        let most = Duration::from_millis(self.journal.settings.append_timeout_ms);
        loop {
            // A try that is given up may still succeed: the ledger knows the ids.
            match tokio::time::timeout(most, self.ledger.append_usage(rows)).await {
                Ok(Ok(new)) => {
                    self.succeeded();
                    self.journal.settle(generations, |stats| {
                        stats.rows_written += new as u64;
                        stats.rows_repeated += rows.len().saturating_sub(new) as u64;
                    });
                    return true;
                }
                Ok(Err(Error::BadInput(_))) => return false,
                Ok(Err(error)) => self.failed(&error.to_string()).await,
                Err(_) => self.failed(&format!("no answer within {} ms", most.as_millis())).await,
            }
        }
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the ledger takes usage again");
        }
    }

    /// Waits, longer each time.
    async fn failed(&mut self, cause: &str) {
        let settings = &self.journal.settings;
        let wait_ms = settings.retry_ms.saturating_mul(1 << self.failures.min(20)).min(settings.retry_max_ms);
        self.failures = self.failures.saturating_add(1);
        let waiting = {
            let mut state = self.journal.state();
            state.stats.retries += 1;
            drop(state);
            self.journal.stats().waiting
        };
        // The first time, and then more and more seldom.
        if self.failures.is_power_of_two() {
            tracing::error!(cause, waiting, wait_ms, "the ledger takes no usage; the journal keeps it");
        }
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }

    /// Rows are checked before their requests begin, so this is a fault in the program; but no row is lost by it.
    async fn put_aside(&mut self, generation: &[u64], row: &[UsageRow]) {
        tracing::error!(request = ?row.first().map(|row| &row.id), "the ledger refuses a row; it goes to refused.jsonl");
        while let Err(error) = self.keep(row).await {
            self.failed(&error).await;
        }
        self.journal.settle(generation, |stats| stats.rows_refused += 1);
    }

    async fn keep(&self, row: &[UsageRow]) -> Result<(), String> {
        let line = serde_json::to_string(row).map_err(|error| error.to_string())?;
        let journal = self.journal.clone();
        let kept = tokio::task::spawn_blocking(move || journal.folder.refuse(&line)).await;
        kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
