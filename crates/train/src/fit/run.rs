//! A trainer's way to the outside: events go out, the wish to end comes in, and limits are watched.

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::event::{Control, Event};
use crate::spec::PrivacySpec;
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
    /// Where checkpoints go; `None`: there are none.
    pub checkpoints: Option<Checkpoints>,
    /// When one is written.
    pub checkpoint_every: Every,
    /// Differential privacy, where it is asked for.
    pub privacy: Option<PrivacySpec>,
    /// What bytes of pictures become, by channel; none given: −1 to 1.
    pub pictures: Vec<[f32; 256]>,
}

/// How often checkpoints are written: after so many steps or so long, whichever is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// Steps.
    pub steps: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Every {
    fn default() -> Every {
        Every { steps: u64::MAX, time: Duration::from_secs(30) }
    }
}

/// One training while it runs.
pub struct Run<'a> {
    /// What it was given.
    pub settings: RunSettings,
    on_event: &'a mut (dyn FnMut(Event) -> Control + Send),
    told: Instant,
    saved: Instant,
    cancelled: bool,
}

/// A step is told when none was for so long, and when it is one of about a thousand.
const QUIET_MAX: Duration = Duration::from_millis(500);
const STEPS_TOLD: u64 = 1000;

impl<'a> Run<'a> {
    /// A run that tells its events to `on_event`.
    pub fn new(settings: RunSettings, on_event: &'a mut (dyn FnMut(Event) -> Control + Send)) -> Run<'a> {
        Run { settings, on_event, told: Instant::now(), saved: Instant::now(), cancelled: false }
    }

    /// Tells an event. The answer is kept: see [`Run::end`].
    pub fn tell(&mut self, event: Event) {
        self.cancelled |= (self.on_event)(event) == Control::Cancel;
    }

    /// Lets a part of the job learn with settings of its own. Of its events only sentences and steps are told; the wish to end holds.
    pub fn apart<T>(&mut self, settings: RunSettings, learn: impl FnOnce(&mut Run) -> T) -> T {
        let (mut heard, on_event) = (false, &mut *self.on_event);
        let mut quiet = |event: Event| {
            let control = match event {
                // A step is the sign of life: the caller hears nothing new, and can say that it wants the end.
                Event::Log { .. } | Event::Step { .. } => on_event(event),
                _ => Control::Continue,
            };
            heard |= control == Control::Cancel;
            control
        };
        let result = learn(&mut Run::new(settings, &mut quiet));
        self.cancelled |= heard;
        result
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

    /// The state to go on from; `None` where a job begins.
    ///
    /// # Errors
    /// As [`Checkpoints::load`].
    pub fn load(&self) -> Result<Option<Checkpoint>> {
        self.settings.checkpoints.as_ref().map_or(Ok(None), Checkpoints::load)
    }

    /// Whether a checkpoint should be written, `steps` steps after the last one.
    pub fn checkpoint_due(&self, steps: u64) -> bool {
        let every = self.settings.checkpoint_every;
        self.settings.checkpoints.is_some() && (steps >= every.steps || self.saved.elapsed() >= every.time)
    }

    /// Writes a checkpoint, where there are to be any.
    ///
    /// # Errors
    /// As [`Checkpoints::save`].
    pub fn save(&mut self, step: u64, checkpoint: &Checkpoint) -> Result<()> {
        self.saved = Instant::now();
        let Some(checkpoints) = &self.settings.checkpoints else { return Ok(()) };
        checkpoints.save(step, checkpoint)?;
        self.tell(Event::Checkpoint { step });
        Ok(())
    }
}
