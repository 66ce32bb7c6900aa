//! What a model did, and where the time went: the quantities of the Open Inference Protocol's statistics extension
//! (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md).

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often something was done, and how long it took in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

impl Spent {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.ns = self.ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Steps of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchStatistics {
    /// Putting requests together.
    pub compute_input: Spent,
    /// Computing.
    pub compute_infer: Spent,
    /// Taking results apart.
    pub compute_output: Spent,
}

/// A model's statistics since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Milliseconds since 1970 of the last step's end; 0 before the first.
    pub last_inference_ms: u64,
    /// Rows that were computed for requests that succeeded.
    pub inference_count: u64,
    /// Steps.
    pub execution_count: u64,
    /// Requests that got a result; from arrival to answer.
    pub success: Spent,
    /// Requests that got an error, the deadline's included; from arrival to answer.
    pub fail: Spent,
    /// Of requests that succeeded: waiting.
    pub queue: Spent,
    /// Of requests that succeeded: putting their batch together.
    pub compute_input: Spent,
    /// Of requests that succeeded: computing their batch.
    pub compute_infer: Spent,
    /// Of requests that succeeded: taking their batch apart.
    pub compute_output: Spent,
    /// Requests whose caller went away before they were computed.
    pub cancelled: u64,
    /// Requests that a full queue refused. They count nowhere else.
    pub rejected: u64,
    /// Requests that wait or are being computed now.
    pub pending: usize,
    /// Rows of a step → such steps.
    pub batches: BTreeMap<usize, BatchStatistics>,
}

/// Statistics as they grow. `batches` is bounded by the largest batch and, past it, by single requests' rows.
#[derive(Default)]
pub(super) struct Counters {
    statistics: Statistics,
    pub cancelled: u64,
    pub rejected: u64,
}

/// Sizes that are told apart; steps of more rows count as this one.
const BATCH_SIZES_MAX: usize = 4096;

impl Counters {
    pub fn snapshot(&self, pending: usize) -> Statistics {
        Statistics { cancelled: self.cancelled, rejected: self.rejected, pending, ..self.statistics.clone() }
    }

    pub fn failed(&mut self, time: Duration) {
        self.statistics.fail.add(time);
    }

    /// One request of a step.
    pub fn succeeded(&mut self, times: &Times, arrived: Instant, rows: Option<usize>) {
        let all = &mut self.statistics;
        all.inference_count += rows.unwrap_or(1) as u64;
        all.success.add(arrived.elapsed());
        all.queue.add(times.begun.saturating_duration_since(arrived));
        all.compute_input.add(times.input);
        all.compute_infer.add(times.infer);
        all.compute_output.add(times.output);
    }

    /// One step.
    pub fn executed(&mut self, times: &Times, rows: usize) {
        let all = &mut self.statistics;
        all.execution_count += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        all.last_inference_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let batch = all.batches.entry(rows.min(BATCH_SIZES_MAX)).or_default();
        batch.compute_input.add(times.input);
        batch.compute_infer.add(times.infer);
        batch.compute_output.add(times.output);
    }
}

/// A stop watch for one step.
pub(super) struct Times {
    begun: Instant,
    last: Instant,
    input: Duration,
    infer: Duration,
    output: Duration,
}

impl Times {
    pub fn start() -> Self {
        let now = Instant::now();
        Self { begun: now, last: now, input: Duration::ZERO, infer: Duration::ZERO, output: Duration::ZERO }
    }

    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.last, Instant::now());
        self.last.saturating_duration_since(before)
    }

    pub fn input_ready(&mut self) {
        self.input = self.lap();
    }

    pub fn computed(&mut self) {
        self.infer = self.lap();
    }

    pub fn split(&mut self) {
        self.output = self.lap();
    }
}
