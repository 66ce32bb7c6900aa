//! Threads for what stands around a model's compute: decoding images, tokenising, reading outputs.
//!
//! Async callers hand a closure in and await its result, so that none of it runs on an async worker.

use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A fixed number of threads and a bounded queue.
pub struct Workers {
    shared: Arc<Shared>,
    queue_max: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn start(threads: usize, queue_max: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let started = (0..threads.max(1)).map(|_| {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("predict-pipeline".into())
                .spawn(move || work(&shared))
                .map_err(|error| Error::Internal(format!("no thread for pipelines could be started: {error}")))
        });
        let threads = Mutex::new(started.collect::<Result<_>>()?);
        Ok(Self { shared, queue_max: queue_max.max(1), threads })
    }

    /// Runs `work` on one of the threads.
    ///
    /// # Errors
    /// The queue is full, or the threads have been closed.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, receiver) = oneshot::channel();
        self.push(Box::new(move || {
            // A caller that is gone needs no result.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        }))?;
        receiver.await.unwrap_or_else(|_| Err(Error::Internal("the pipeline broke off".into())))
    }

    fn push(&self, work: Work) -> Result<()> {
        let mut queue = self.shared.queue();
        if queue.is_closed {
            return Err(Error::Internal("the pipelines have been shut down".into()));
        }
        if queue.waiting.len() >= self.queue_max {
            let limit = self.queue_max;
            return Err(Error::Overloaded(format!("{limit} inputs wait to be prepared; try again later")));
        }
        queue.waiting.push_back(work);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Takes no more work, drops what waits, and waits for the threads. Blocking.
    pub fn close(&self) {
        self.refuse_more();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // It has caught all panics of its work.
            let _ = thread.join();
        }
    }

    fn refuse_more(&self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }
}

/// May happen on an async worker: the threads end by themselves.
impl Drop for Workers {
    fn drop(&mut self) {
        self.refuse_more();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(shared: &Shared) {
    loop {
        let mut queue = shared.queue();
        let work = loop {
            if let Some(work) = queue.waiting.pop_front() {
                break work;
            }
            if queue.is_closed {
                return;
            }
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("a pipeline panicked; its request fails");
        }
    }
}
