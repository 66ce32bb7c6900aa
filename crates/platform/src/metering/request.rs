//! A request while it is metered.

use super::journal::Journal;
use super::now_ms;
use super::record::{Closing, Counts, Id, usage_row};
use crate::{Error, Timings};
use orrery_store::{KeyId, Outcome, Price, TenantId, UsageRow};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Who pays, for what, and at which prices: all that is known of a request when it is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Who pays.
    pub tenant: TenantId,
    /// The key that was used.
    pub key: KeyId,
    /// The model and what its tokens cost now; later changes of the price do not reach this request.
    pub price: Price,
    /// Digest of the model's file; may be empty.
    pub version: String,
    /// The route, such as `chat.completions`.
    pub endpoint: String,
}

/// A request that runs. Dropping it without [`finish`](Self::finish) is how a client goes away: its row has the outcome
/// `cancelled` and what was produced.
#[derive(Debug)]
pub struct Metered {
    journal: Arc<Journal>,
    live: Arc<Live>,
    ended: bool,
}

/// What the request's own thread and the journal's share.
#[derive(Debug)]
pub(super) struct Live {
    pub id: Id,
    pub bill: Bill,
    pub started_at_ms: i64,
    text: String,
    started: Instant,
    /// Microseconds from the start to the first token.
    first_us: AtomicU64,
    input: AtomicU64,
    cached: AtomicU64,
    output: AtomicU64,
}

impl Metered {
    pub(super) fn begin(journal: &Arc<Journal>, bill: Bill) -> Result<Self, Error> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
        let live = Arc::new(Live::new(Id(bytes), bill));
        // Now, while the client can still be told; a row that the ledger refuses later would be lost.
        usage_row(live.id, &live.bill, live.started_at_ms, &live.closing(Outcome::Interrupted, None))
            .check()
            .map_err(|error| Error::bad_input(error.to_string()))?;
        journal.begin(&live)?;
        Ok(Self { journal: journal.clone(), live, ended: false })
    }

    /// The id of the request and of its row. Nothing that a client sends is a part of it.
    pub fn id(&self) -> &str {
        &self.live.text
    }

    /// Tokens of the prompt, and how many of them were found in the prefix cache. The last call counts.
    pub fn prompt(&self, input_tokens: u64, cached_tokens: u64) {
        self.live.input.store(input_tokens, Relaxed);
        self.live.cached.store(cached_tokens, Relaxed);
    }

    /// `count` more tokens have been produced. Call it before they are sent.
    pub fn tokens(&self, count: u64) {
        if self.live.output.fetch_add(count, Relaxed) == 0 {
            self.live.first_us.store(micros(self.live.started.elapsed()), Relaxed);
        }
    }

    /// The request has ended. `Ok`: its end is with the operating system, and this process may die; only now its last
    /// event may go to the client. Gives the row, with the cost.
    ///
    /// # Errors
    /// `NoSpace`, `Unavailable`: the journal cannot be written. The end is kept in memory and goes to the ledger and, when
    /// that is possible again, to the journal; but the death of the process before that makes it `interrupted`.
    pub fn finish(mut self, outcome: Outcome, timings: Timings) -> Result<UsageRow, Error> {
        self.ended = true;
        self.journal.end(&self.live, self.live.closing(outcome, Some(timings)))
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let closing = self.live.closing(Outcome::Cancelled, None);
        if let Err(error) = self.journal.end(&self.live, closing) {
            tracing::warn!(request = self.id(), %error, "the end of a cancelled request is in memory alone");
        }
    }
}

impl Live {
    fn new(id: Id, bill: Bill) -> Self {
        Self {
            id,
            bill,
            started_at_ms: now_ms(),
            text: id.to_string(),
            started: Instant::now(),
            first_us: AtomicU64::new(0),
            input: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            output: AtomicU64::new(0),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let input = self.input.load(Relaxed);
        // Another thread may be between the two stores of `prompt`.
        let cached = self.cached.load(Relaxed).min(input);
        Counts { input, cached, output: self.output.load(Relaxed) }
    }

    /// Without the engine's timings the time up to the first token counts as prefill, though it holds the queue's.
    fn closing(&self, outcome: Outcome, timings: Option<Timings>) -> Closing {
        let counts = self.counts();
        let total_us = micros(self.started.elapsed());
        let first_us = if counts.output == 0 { total_us } else { self.first_us.load(Relaxed).min(total_us) };
        let (queue_us, prefill_us, decode_us) = match timings {
            Some(timings) => (micros(timings.queue), micros(timings.prefill), micros(timings.decode)),
            None => (0, first_us, total_us - first_us),
        };
        Closing { counts, queue_us, prefill_us, decode_us, outcome, ended_at_ms: now_ms() }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
