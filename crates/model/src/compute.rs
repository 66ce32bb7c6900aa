//! What callers above need without knowing the kernels: the machine's compute by the names that settings use, sizes, and work on
//! rows of logits.

use crate::{Error, Model};
use orrery_kernels::elementwise::weights;
use orrery_kernels::{Compute, attention::BLOCK_TOKENS, isa::Isa};

/// The compute to load a model on. `isa`: the name of an instruction set, `None` takes the best that the processor has;
/// `threads`: `None` takes all the cores.
pub fn compute(isa: Option<&str>, threads: Option<usize>) -> Result<Compute, Error> {
    let isa = isa.map(str::parse::<Isa>).transpose()?;
    Ok(Compute::new(isa, threads)?)
}

impl Model {
    /// Entries of a row of logits.
    pub fn vocabulary(&self) -> usize {
        self.hyper.vocabulary
    }

    /// Longest sequence in tokens.
    pub fn context(&self) -> usize {
        self.hyper.context
    }

    /// Tokens in one KV block.
    pub fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }
}

/// What the machine can do at best (see [`orrery_kernels::roofline`]): names and figures, the bytes and operations in 10⁹ a second.
pub fn roofline(compute: &Compute) -> Vec<(&'static str, f64)> {
    let rates = orrery_kernels::roofline::measure(compute);
    let mut figures = vec![
        ("lanes_gflops", rates.lanes_gflops),
        ("cached_gbytes", rates.cached_gbytes),
        ("memory_gbytes", rates.memory_gbytes),
    ];
    figures.extend(rates.tiles_gflops.map(|rate| ("tiles_gflops", rate)));
    figures
}

/// Vector work on rows of logits, with the same results on every machine (see [`orrery_kernels::elementwise::weights`]).
#[derive(Clone)]
pub struct LogitMath(Compute);

impl LogitMath {
    /// For compute without a model.
    pub fn portable() -> Self {
        Self(Compute::new(Some(Isa::Scalar), Some(1)).expect("invariant: scalar code on one thread runs everywhere"))
    }

    /// The largest entry, NaN aside; −∞ when there is none.
    pub fn max(&self, row: &[f32]) -> f32 {
        weights::max(&self.0, row)
    }

    /// ln Σ exp(x); infinite when the largest entry is.
    pub fn log_sum_exp(&self, row: &[f32]) -> f64 {
        weights::log_sum_exp(&self.0, row)
    }

    /// exp((logit − max) / temperature) · 2^34 in whole numbers, those below `weight_min` set to 0, and their exact sum. `max` is the
    /// row's and finite, `temperature` above 0.
    pub fn weights(&self, row: &[f32], max: f32, temperature: f32, weight_min: f64, out: &mut Vec<f64>) -> f64 {
        out.resize(row.len(), 0.0);
        weights::weights(&self.0, row, weights::Scale { max, temperature }, weight_min, out)
    }

    /// The weight of one logit.
    pub fn weight(&self, logit: f32, max: f32, temperature: f32) -> f64 {
        weights::Scale { max, temperature }.weight(logit)
    }

    /// The exact sum of weights.
    pub fn sum(&self, weights: &[f64]) -> f64 {
        weights::sum(weights)
    }
}

impl Model {
    pub fn logit_math(&self) -> LogitMath {
        LogitMath(self.compute().clone())
    }
}
