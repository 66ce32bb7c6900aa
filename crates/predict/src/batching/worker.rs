//! The thread of one model: takes a batch, computes it, answers its requests.

use super::Shared;
use super::queue::{Job, Next};
use super::statistics::Times;
use crate::error::{Error, Result};
use crate::runner::Runner;
use crate::tensor::Tensor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Computes until the queue is closed and empty.
pub(super) fn run(mut runner: Box<dyn Runner>, shared: &Shared) {
    while let Some(batch) = next_batch(shared) {
        let answers = compute(runner.as_mut(), shared, batch);
        // Before the answers: who has one finds the model idle.
        shared.queue().running = 0;
        for (job, result) in answers {
            answer(job, result);
        }
    }
}

fn next_batch(shared: &Shared) -> Option<Vec<Job>> {
    let mut queue = shared.queue();
    loop {
        let now = Instant::now();
        let mut dead = queue.bury(now);
        if queue.is_closed {
            dead.expired.clear();
            for job in queue.waiting.drain(..) {
                shared.counters().failed(job.arrived.elapsed());
                answer(job, Err(Error::Unloaded(shared.name.clone())));
            }
            return None;
        }
        if dead.cancelled > 0 || !dead.expired.is_empty() {
            shared.counters().cancelled += dead.cancelled;
            for job in dead.expired {
                shared.counters().failed(job.arrived.elapsed());
                answer(job, Err(Error::Deadline));
            }
        }
        let rows_max = if shared.batches.load(Ordering::Relaxed) { shared.batch_max } else { 1 };
        queue = match queue.next(now, rows_max, shared.batch_delay) {
            Next::Compute(batch) => return Some(batch),
            Next::Wait(None) => shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Next::Wait(Some(limit)) => {
                shared.changed.wait_timeout(queue, limit).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

type Answers = Vec<(Job, Result<Vec<Tensor>>)>;

fn compute(runner: &mut dyn Runner, shared: &Shared, batch: Vec<Job>) -> Answers {
    if batch.len() > 1 {
        match together(runner, shared, &batch) {
            Ok((parts, times)) => {
                let counted =
                    batch.into_iter().inspect(|job| shared.counters().succeeded(&times, job.arrived, job.rows));
                return counted.zip(parts.into_iter().map(Ok)).collect();
            }
            // One of them is at fault, and only by itself will it be known which.
            Err(error) => {
                tracing::debug!(model = shared.name, %error, "a batch failed; its requests are computed one by one")
            }
        }
    }
    let one = |job: Job| {
        if job.reply.is_closed() {
            shared.counters().cancelled += 1;
            return None;
        }
        let result = alone(runner, shared, &job);
        Some((job, result))
    };
    batch.into_iter().filter_map(one).collect()
}

fn alone(runner: &mut dyn Runner, shared: &Shared, job: &Job) -> Result<Vec<Tensor>> {
    let mut times = Times::start();
    times.input_ready();
    let result = guarded(runner, &job.inputs, &job.outputs);
    times.computed();
    match &result {
        Ok(_) => {
            shared.counters().executed(&times, job.rows.unwrap_or(1));
            shared.counters().succeeded(&times, job.arrived, job.rows);
        }
        Err(_) => shared.counters().failed(job.arrived.elapsed()),
    }
    result
}

/// Computes all requests in one step; gives each one's outputs, in order.
fn together(runner: &mut dyn Runner, shared: &Shared, batch: &[Job]) -> Result<(Vec<Vec<Tensor>>, Times)> {
    let apart = || Error::Internal("the requests of a batch do not fit together".into());
    let first = batch.first().ok_or_else(apart)?;
    let mut times = Times::start();
    let inputs = (0..first.inputs.len())
        .map(|place| {
            let parts: Option<Vec<&Tensor>> = batch.iter().map(|job| job.inputs.get(place)).collect();
            parts.and_then(|parts| Tensor::concatenated(&parts)).ok_or_else(apart)
        })
        .collect::<Result<Vec<_>>>()?;
    let rows: Vec<usize> = batch.iter().filter_map(|job| job.rows).collect();
    times.input_ready();
    let outputs = guarded(runner, &inputs, &first.outputs)?;
    times.computed();
    let mut parts: Vec<Vec<Tensor>> = batch.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in &outputs {
        let Some(pieces) = output.split(&rows) else {
            shared.batches.store(false, Ordering::Relaxed);
            tracing::warn!(
                model = shared.name,
                output = output.name(),
                "the rows of an output are not those of the inputs; from now on requests are computed one by one"
            );
            return Err(apart());
        };
        for (part, piece) in parts.iter_mut().zip(pieces) {
            part.push(piece);
        }
    }
    times.split();
    shared.counters().executed(&times, rows.iter().sum());
    Ok((parts, times))
}

/// A runner that panics fails the request and not the thread.
fn guarded(runner: &mut dyn Runner, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>> {
    let run = AssertUnwindSafe(|| runner.run(inputs, outputs));
    catch_unwind(run).unwrap_or_else(|_| Err(Error::Internal("the computation of the model broke off".into())))
}

/// The caller may be gone; then nobody is to be told.
fn answer(job: Job, result: Result<Vec<Tensor>>) {
    let _ = job.reply.send(result);
}
