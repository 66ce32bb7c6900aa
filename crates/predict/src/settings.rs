//! Limits and choices of this crate, with defaults for a small machine. Plain values: only `cli` reads a configuration.

use crate::Error;
use std::time::Duration;

/// How one model is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Threads that compute one step of one model. 0: as many as the machine has cores.
    pub threads: usize,
    /// Threads wait in a busy loop for work: a little faster under load, and a burnt core when idle.
    pub spin: bool,
    /// Keep freed memory of a session for its next run. Faster; what the largest run took stays taken.
    pub arena: bool,
    /// Rows that are computed in one step. A request with more is computed alone.
    pub batch_max: usize,
    /// How long the first request of a batch waits for others. 0: it takes those that wait already.
    pub batch_delay_us: u64,
    /// Requests that wait for a model; one more is refused.
    pub queue_max: usize,
    /// Bytes of one request's tensors.
    pub request_bytes_max: usize,
    /// Bytes of one file of an artefact.
    pub file_bytes_max: u64,
    /// A step that computes for longer is ended and fails, after twice this time at the latest.
    pub run_ms_max: u64,
    /// Compute one made-up request at load, so that the first real one does not pay for memory and caches.
    pub warm_up: bool,
    /// Limits of the images that pipelines decode.
    pub images: ImageLimits,
    /// Texts, rows, images or series in one request to a pipeline.
    pub items_max: usize,
    /// Bytes of one text that a pipeline tokenises.
    pub text_bytes_max: usize,
}

/// Limits of a compressed image, checked before its pixels are unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of the compressed image.
    pub bytes_max: usize,
    /// Width times height.
    pub pixels_max: u64,
    /// Width, and height.
    pub side_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 0,
            spin: false,
            arena: true,
            batch_max: 32,
            batch_delay_us: 0,
            queue_max: 1024,
            request_bytes_max: 64 << 20,
            file_bytes_max: 4 << 30,
            run_ms_max: 60_000,
            warm_up: true,
            images: ImageLimits { bytes_max: 20 << 20, pixels_max: 50_000_000, side_max: 16_384 },
            items_max: 2048,
            text_bytes_max: 1 << 20,
        }
    }
}

impl Settings {
    /// Refuses limits with which no request could ever run.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let least_one = [
            ("batch_max", self.batch_max),
            ("queue_max", self.queue_max),
            ("request_bytes_max", self.request_bytes_max),
            ("items_max", self.items_max),
            ("text_bytes_max", self.text_bytes_max),
            ("images.bytes_max", self.images.bytes_max),
        ];
        match least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(Error::Settings(format!("`{name}` is 0; no request could run: set 1 or more"))),
            None if self.run_ms_max == 0 => {
                Err(Error::Settings("`run_ms_max` is 0; no request could run: set 1 or more".into()))
            }
            None if self.threads > THREADS_MAX => Err(Error::Settings(format!(
                "`threads` is {}; at most {THREADS_MAX} are started for one model",
                self.threads
            ))),
            None => Ok(()),
        }
    }

    pub(crate) const fn run_limit(&self) -> Duration {
        Duration::from_millis(self.run_ms_max)
    }

    pub(crate) fn batch_delay(&self) -> Duration {
        Duration::from_micros(self.batch_delay_us)
    }
}

const THREADS_MAX: usize = 1024;

/// What the shelf may hold, and its own threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfSettings {
    /// Bytes that loaded models may take together, by their estimate ([`crate::Model::memory_bytes`]).
    pub memory_bytes_max: u64,
    /// Threads that prepare inputs and finish outputs (decoding images, tokenising), aside from those that compute.
    pub pipeline_threads: usize,
    /// Pieces of such work that wait; one more is refused.
    pub pipeline_queue_max: usize,
}

impl Default for ShelfSettings {
    fn default() -> Self {
        Self { memory_bytes_max: 4 << 30, pipeline_threads: 2, pipeline_queue_max: 1024 }
    }
}
