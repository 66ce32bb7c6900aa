//! The engine's own speed: requests that go straight to a model's engine, and the times at which their tokens come.
//!
//! No chat template, no tokenizer, no HTTP: the difference to a load generator's figures is the price of serving. Start at
//! [`Platform::time`].

use crate::chat::engine_error;
use crate::models::load_settings;
use crate::{Admission, Error, Platform, Settings};
use futures_util::future::try_join_all;
use orrery_engine::{Event, Flow, Generation, Request, Sampling};
use std::time::Instant;

/// Prompts that are given to the engine at the same time; each reply has exactly `output_tokens` tokens.
#[derive(Debug, Clone)]
pub struct Workload {
    pub prompts: Vec<Vec<u32>>,
    pub output_tokens: usize,
}

/// When one reply's tokens came, in seconds from the moment at which the whole workload was given to the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    pub first_s: f64,
    pub last_s: f64,
    pub output_tokens: usize,
}

/// What prompts may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Tokens of a prompt and its reply together.
    pub context: usize,
}

/// What a machine can do at best with one instruction set: bytes and operations in 10⁹ a second, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub isa: &'static str,
    pub threads: usize,
    pub figures: Vec<(&'static str, f64)>,
}

/// Measures the machine with the instruction set and threads of `settings`. Takes about a second of all processors.
///
/// # Errors
/// The machine does not have them.
pub async fn roofline(settings: &Settings) -> Result<Limits, Error> {
    let load = load_settings(settings);
    let measured = tokio::task::spawn_blocking(move || load.roofline()).await;
    let measured = measured
        .map_err(|error| Error::Internal { message: "the measurement broke off".into(), source: Some(error.into()) })?;
    let found = measured.map_err(|error| Error::bad_input(error.to_string()))?;
    Ok(Limits { isa: found.isa, threads: found.threads, figures: found.figures })
}

impl Platform {
    /// The bounds of a model's prompts.
    ///
    /// # Errors
    /// The model is not served here, or not ready.
    pub fn bounds(&self, model: &str) -> Result<Bounds, Error> {
        let handle = self.handle(model)?;
        let shape = handle.shape();
        Ok(Bounds { vocabulary: shape.vocabulary, context: shape.context })
    }

    /// Generates greedily for all prompts at once and gives each reply's times, in order.
    ///
    /// # Errors
    /// The model is not ready, a prompt is not possible, or the engine fails.
    pub async fn time(&self, _admission: &Admission, model: &str, workload: Workload) -> Result<Vec<Timing>, Error> {
        let handle = self.handle(model)?;
        let output_tokens = workload.output_tokens;
        let requests: Vec<Request> = workload.prompts.into_iter().map(|prompt| greedy(prompt, output_tokens)).collect();
        let start = Instant::now();
        let submit = |request| handle.submit(request).map_err(engine_error);
        let generations = requests.into_iter().map(submit).collect::<Result<Vec<_>, _>>()?;
        try_join_all(generations.into_iter().map(|generation| follow(generation, start))).await
    }
}

async fn follow(mut generation: Generation, start: Instant) -> Result<Timing, Error> {
    let mut timing = Timing { first_s: 0.0, last_s: 0.0, output_tokens: 0 };
    while let Some(event) = generation.next().await {
        match event {
            Event::Token { .. } => {
                timing.last_s = start.elapsed().as_secs_f64();
                if timing.output_tokens == 0 {
                    timing.first_s = timing.last_s;
                }
                timing.output_tokens += 1;
            }
            Event::Failed(error) => return Err(engine_error(error)),
            _ => {}
        }
    }
    Ok(timing)
}

fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Request {
    Request {
        prompt,
        max_tokens,
        n: 1,
        sampling: Sampling { temperature: 0.0, seed: Some(0), ..Sampling::default() },
        stop: Vec::new(),
        stop_tokens: Vec::new(),
        ignore_eos: true,
        logprobs: None,
        prompt_logprobs: None,
        cache_salt: Vec::new(),
        flow: Flow::default(),
        priority: 0,
    }
}
