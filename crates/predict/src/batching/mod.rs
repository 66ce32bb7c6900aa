//! Dynamic batching: requests wait in a bounded queue, and one thread computes those that fit together in one step.
//!
//! Laws, which `tests/it/batching.rs` holds with a fake runner: each request is answered exactly once; a request that fails
//! in a batch does not fail the others; what was dropped by its caller is not computed. Start at [`Batcher`].

mod queue;
mod statistics;
mod worker;

pub use statistics::{BatchStatistics, Spent, Statistics};

use crate::error::{Error, Result};
use crate::runner::Runner;
use crate::settings::Settings;
use crate::tensor::Tensor;
use queue::{Job, Queue};
use statistics::Counters;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What the callers' side and the thread share.
struct Shared {
    name: String,
    queue: Mutex<Queue>,
    changed: Condvar,
    counters: Mutex<Counters>,
    batch_max: usize,
    batch_delay: Duration,
    queue_max: usize,
    /// Cleared for good when a model's outputs turn out not to follow its inputs' rows.
    batches: AtomicBool,
}

/// A model's queue and the thread that computes it.
pub(crate) struct Batcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Batcher {
    /// Starts the thread. `batches`: whether rows of several requests may be computed together.
    pub fn start(name: &str, runner: Box<dyn Runner>, batches: bool, settings: &Settings) -> Result<Self> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            counters: Mutex::default(),
            batch_max: settings.batch_max,
            batch_delay: settings.batch_delay(),
            queue_max: settings.queue_max,
            batches: AtomicBool::new(batches),
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("predict".into())
            .spawn(move || worker::run(runner, &theirs))
            .map_err(|error| Error::Internal(format!("no thread for the model could be started: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Puts a request into the queue. `inputs` fit the runner's signature; `outputs` are places in it.
    pub fn submit(&self, inputs: Vec<Tensor>, outputs: Vec<usize>, deadline: Option<Instant>) -> Result<Pending> {
        let (reply, receiver) = oneshot::channel();
        let job = Job::new(inputs, outputs, deadline, reply);
        let mut queue = self.shared.queue();
        if queue.is_closed {
            return Err(Error::Unloaded(self.shared.name.clone()));
        }
        if queue.waiting.len() >= self.shared.queue_max {
            self.shared.counters().rejected += 1;
            let limit = self.shared.queue_max;
            let name = &self.shared.name;
            return Err(Error::Overloaded(format!("{limit} requests wait for the model `{name}`; try again later")));
        }
        queue.waiting.push_back(job);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(Pending { receiver, name: self.shared.name.clone() })
    }

    /// Whether nothing waits and nothing is computed.
    pub fn is_idle(&self) -> bool {
        let queue = self.shared.queue();
        queue.waiting.is_empty() && queue.running == 0
    }

    /// Whether rows of several requests are computed together.
    pub fn batches(&self) -> bool {
        self.shared.batches.load(Ordering::Relaxed)
    }

    pub fn statistics(&self) -> Statistics {
        let waiting = {
            let queue = self.shared.queue();
            queue.waiting.len() + queue.running
        };
        self.shared.counters().snapshot(waiting)
    }

    /// Takes no more requests, answers those that wait with an error, and waits for the thread's end. Blocking.
    pub fn close(&self) {
        self.refuse_more();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(model = self.shared.name, "the model's thread had panicked");
        }
    }

    fn refuse_more(&self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_all();
    }
}

/// The last handle may be dropped on an async worker, where nothing may wait: the thread ends by itself after its batch.
impl Drop for Batcher {
    fn drop(&mut self) {
        self.refuse_more();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way. Dropping it cancels the request, unless it is being computed already.
#[derive(Debug)]
pub struct Pending {
    receiver: oneshot::Receiver<Result<Vec<Tensor>>>,
    name: String,
}

impl Pending {
    /// Waits for the result. Blocking: not for async workers, where it panics.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<Vec<Tensor>> {
        self.receiver.blocking_recv().unwrap_or(Err(Error::Unloaded(self.name)))
    }
}

/// The outputs that were asked for, in that order.
impl Future for Pending {
    type Output = Result<Vec<Tensor>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = Pin::new(&mut self.receiver).poll(context);
        received.map(|result| result.unwrap_or_else(|_| Err(Error::Unloaded(self.name.clone()))))
    }
}
