//! A trainer's way to the outside: events go out, the wish to end comes in, and limits are watched.

use crate::event::{Control, Event};
use crate::{Error, Result};
use std::time::{Duration, Instant};

/// What a run is given.
#[derive(Clone, Debug, Default)]
pub struct RunSettings {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Names of the classes, in the order of their numbers.
    pub labels: Vec<String>,
    /// When the job must have ended.
    pub deadline: Option<Instant>,
}

/// One training while it runs.
pub struct Run<'a> {
    /// What it was given.
    pub settings: RunSettings,
    on_event: &'a mut dyn FnMut(Event) -> Control,
    told: Instant,
    cancelled: bool,
}

/// A step is told when none was for so long, and when it is one of about a thousand.
const QUIET_MAX: Duration = Duration::from_millis(500);
const STEPS_TOLD: u64 = 1000;

impl<'a> Run<'a> {
    /// A run that tells its events to `on_event`.
    pub fn new(settings: RunSettings, on_event: &'a mut dyn FnMut(Event) -> Control) -> Run<'a> {
        Run { settings, on_event, told: Instant::now(), cancelled: false }
    }

    /// Tells an event. The answer is kept: see [`Run::end`].
    pub fn tell(&mut self, event: Event) {
        self.cancelled |= (self.on_event)(event) == Control::Cancel;
    }

    /// Tells a sentence.
    pub fn log(&mut self, message: impl Into<String>) {
        self.tell(Event::Log { message: message.into() });
    }

    /// Tells a step when it is its turn.
    pub fn step(&mut self, event: Event) {
        let Event::Step { step, total, .. } = event else { return self.tell(event) };
        if step == total || step % (total / STEPS_TOLD).max(1) == 0 || self.told.elapsed() >= QUIET_MAX {
            self.told = Instant::now();
            self.tell(event);
        }
    }

    /// Whether the run must end now: the caller asked for it, or the time is over.
    pub fn end(&self) -> Option<Error> {
        if self.cancelled {
            return Some(Error::Cancelled);
        }
        let over = self.settings.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        over.then(|| {
            Error::LimitReached("the job's time is over; give it more, or fewer epochs, rows or a smaller model".into())
        })
    }

    /// For solvers without checkpoints: tells that iterations go on, at most twice a second.
    ///
    /// # Errors
    /// As [`Run::end`].
    pub fn pulse(&mut self, iteration: u64) -> Result<()> {
        if self.told.elapsed() >= QUIET_MAX {
            self.told = Instant::now();
            self.log(format!("iteration {iteration}"));
        }
        self.end().map_or(Ok(()), Err)
    }
}
