//! Requests that wait, and which of them go together. No thread and no clock of its own: the worker passes the time in.

use crate::error::Result;
use crate::tensor::Tensor;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// One request.
pub(super) struct Job {
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<usize>,
    /// The outermost dimension that all inputs share; `None` where they do not, or it is 0: such a request stays alone.
    pub rows: Option<usize>,
    pub arrived: Instant,
    deadline: Option<Instant>,
    pub reply: oneshot::Sender<Result<Vec<Tensor>>>,
}

impl Job {
    pub fn new(
        inputs: Vec<Tensor>,
        outputs: Vec<usize>,
        deadline: Option<Instant>,
        reply: oneshot::Sender<Result<Vec<Tensor>>>,
    ) -> Self {
        let first = inputs.first().and_then(Tensor::rows);
        let rows = first.filter(|rows| *rows > 0 && inputs.iter().all(|tensor| tensor.rows() == Some(*rows)));
        Self { inputs, outputs, rows, arrived: Instant::now(), deadline, reply }
    }

    /// Whether the two can be computed in one step.
    fn fits(&self, other: &Self) -> bool {
        let same = |(left, right): (&Tensor, &Tensor)| {
            left.dtype() == right.dtype() && left.shape().get(1..) == right.shape().get(1..)
        };
        self.outputs == other.outputs
            && self.inputs.len() == other.inputs.len()
            && self.inputs.iter().zip(&other.inputs).all(same)
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub waiting: VecDeque<Job>,
    /// Requests that are being computed.
    pub running: usize,
    pub is_closed: bool,
}

/// What the worker is to do.
pub(super) enum Next {
    Compute(Vec<Job>),
    /// For more requests, so long at the most.
    Wait(Option<Duration>),
}

/// Requests that need no computing any more.
#[derive(Default)]
pub(super) struct Dead {
    pub expired: Vec<Job>,
    pub cancelled: u64,
}

impl Queue {
    /// Takes out requests whose callers are gone, and those that are too late.
    pub fn bury(&mut self, now: Instant) -> Dead {
        let mut dead = Dead::default();
        let mut live = VecDeque::with_capacity(self.waiting.len());
        for job in self.waiting.drain(..) {
            if job.reply.is_closed() {
                dead.cancelled += 1;
            } else if job.deadline.is_some_and(|deadline| deadline <= now) {
                dead.expired.push(job);
            } else {
                live.push_back(job);
            }
        }
        self.waiting = live;
        dead
    }

    /// The next batch: the oldest request, and later ones that fit it, up to `rows_max` rows. While there are fewer rows
    /// and the oldest has waited less than `delay`, more are waited for. 1 row at the most: no batching.
    pub fn next(&mut self, now: Instant, rows_max: usize, delay: Duration) -> Next {
        let Some(first) = self.waiting.front() else { return Next::Wait(None) };
        let mut places = vec![0];
        let mut total = first.rows.unwrap_or(rows_max);
        for (place, job) in self.waiting.iter().enumerate().skip(1) {
            let Some(rows) = job.rows.filter(|_| total < rows_max && first.fits(job)) else { continue };
            if total + rows > rows_max {
                // One that does not fit any more goes first in the next batch; none behind it passes it.
                total = rows_max;
                break;
            }
            total += rows;
            places.push(place);
        }
        let waited = now.saturating_duration_since(first.arrived);
        if total < rows_max && waited < delay && !self.is_closed {
            let until_deadline = first.deadline.map(|deadline| deadline.saturating_duration_since(now));
            let left = delay.saturating_sub(waited);
            return Next::Wait(Some(until_deadline.map_or(left, |until| until.min(left))));
        }
        let mut batch: Vec<Job> = places.iter().rev().filter_map(|place| self.waiting.remove(*place)).collect();
        batch.reverse();
        self.running = batch.len();
        Next::Compute(batch)
    }
}
