//! An end for runs that do not end: a loop in a hostile model may go on for ever.
//!
//! One thread for each session looks at the run that goes on. Nobody wakes it when a run begins: it finds one when it wakes
//! by itself, at the latest after the limit, so that a run is ended after once to twice the limit and costs nothing else.

use crate::error::{Error, Result};
use ort::session::RunOptions;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The limit of one session's runs.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    limit: Duration,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    run: Option<(Instant, Arc<RunOptions>)>,
    is_closed: bool,
}

impl Watch {
    /// # Errors
    /// The machine gives no thread.
    pub fn start(limit: Duration) -> Result<Self> {
        let shared = Arc::new(Shared { limit, state: Mutex::default(), closed: Condvar::new() });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("predict-watch".into())
            .spawn(move || theirs.look())
            .map_err(|error| Error::Internal(format!("no thread for the limit of time could be started: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Runs `work` under the limit; the options are to be passed to the library.
    ///
    /// # Errors
    /// Of the work; where it was ended, [`Error::Run`] that says so.
    pub fn over<T>(&self, work: impl FnOnce(&RunOptions) -> ort::Result<T>) -> Result<T> {
        let options = Arc::new(RunOptions::new().map_err(|error| Error::Internal(error.to_string()))?);
        self.shared.state().run = Some((Instant::now() + self.shared.limit, options.clone()));
        let result = work(&options);
        let was_ended = self.shared.state().run.take().is_none();
        result.map_err(|error| {
            let limit = self.shared.limit.as_millis();
            let ended = format!("it took longer than {limit} ms (`run_ms_max`)");
            Error::Run(if was_ended { ended } else { error.to_string() })
        })
    }
}

/// The thread wakes at once.
impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.closed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let mut state = self.state();
        while !state.is_closed {
            let now = Instant::now();
            let wait = match &state.run {
                Some((end, options)) if *end <= now => {
                    if let Err(error) = options.terminate() {
                        tracing::error!(%error, "a run that is over its limit cannot be ended");
                    }
                    state.run = None;
                    self.limit
                }
                Some((end, _)) => end.saturating_duration_since(now),
                None => self.limit,
            };
            state = self.closed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
