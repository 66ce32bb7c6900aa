//! Sampling: penalties, temperature, truncation, seeded choice, log-probabilities.
//!
//! The order of operations is vLLM's: logit bias, penalties, greedy choice or temperature, min-p, top-k, top-p. Ties go to
//! the lower id; NaN is never chosen. Probabilities are held as integers ([`LogitMath::weights`]), whose sums do not depend on the
//! order of addition, so the same logits and the same draw give the same token on every machine, with no sort of the
//! vocabulary. Start at [`Sampler`].

mod history;
mod random;
mod select;

pub use history::History;
pub use random::draw;

use crate::request::{Logprob, Sampling, TokenLogprobs};
use orrery_model::LogitMath;

/// Smallest log-probability that is reported (as vLLM does): clients cannot read −∞ in JSON.
const LOGPROB_MIN: f32 = -9999.0;

/// The weight of the most probable token: 2^34.
const WEIGHT_ONE: f64 = (1u64 << 34) as f64;

/// Chooses tokens. Keeps its scratch memory (about 20 bytes a vocabulary entry) between calls.
pub struct Sampler {
    math: LogitMath,
    edited: Vec<f32>,
    weights: Vec<f64>,
    select: select::Select,
    kept: Vec<(u32, f64)>,
}

impl Sampler {
    pub fn new(math: LogitMath) -> Self {
        Self { math, edited: Vec::new(), weights: Vec::new(), select: select::Select::default(), kept: Vec::new() }
    }

    /// The next token. `row`: one logit for each token of the vocabulary, not empty. `draw`: 64 uniform random bits.
    pub fn sample(&mut self, row: &[f32], sampling: &Sampling, history: &History, draw: u64) -> u32 {
        if !history::edits(sampling) {
            return self.choose(row, sampling, draw);
        }
        let mut edited = std::mem::take(&mut self.edited);
        edited.clear();
        edited.extend_from_slice(row);
        history.edit(&mut edited, sampling);
        let token = self.choose(&edited, sampling, draw);
        self.edited = edited;
        token
    }

    /// Raw log-softmax of `row` for the token and for the `top` most probable ones.
    pub fn logprobs(&mut self, row: &[f32], token: u32, top: usize) -> TokenLogprobs {
        let normaliser = self.math.log_sum_exp(row);
        let logprob = |token: u32| {
            let logit = row.get(token as usize).copied().unwrap_or(f32::NAN);
            // NaN becomes the minimum too.
            Logprob { token, logprob: ((f64::from(logit) - normaliser) as f32).max(LOGPROB_MIN) }
        };
        let top = self.select.top(row, top).iter().map(|key| logprob(select::id(*key))).collect();
        TokenLogprobs { chosen: logprob(token), top }
    }

    fn choose(&mut self, row: &[f32], sampling: &Sampling, draw: u64) -> u32 {
        let max = self.math.max(row);
        if sampling.temperature <= 0.0 || sampling.top_k == 1 || !max.is_finite() {
            return select::first(row, max);
        }
        let weight_min = fraction(sampling.min_p);
        if (1..row.len()).contains(&sampling.top_k) {
            return self.choose_of_top(row, max, weight_min, sampling, draw);
        }
        let mut total = self.math.weights(row, max, sampling.temperature, weight_min, &mut self.weights);
        if sampling.top_p < 1.0 {
            let cut = self.select.cut(row, &self.weights, total, nucleus(total, sampling.top_p));
            for (id, (logit, weight)) in row.iter().zip(&mut self.weights).enumerate() {
                *weight = if select::key(*logit, id) >= cut { *weight } else { 0.0 };
            }
            total = self.math.sum(&self.weights);
        }
        draw_from(&self.math, &self.weights, total, draw)
    }

    fn choose_of_top(&mut self, row: &[f32], max: f32, weight_min: f64, sampling: &Sampling, draw: u64) -> u32 {
        let keys = self.select.top(row, sampling.top_k);
        let weight = |key: &u64| self.math.weight(select::logit(*key), max, sampling.temperature);
        self.kept.clear();
        self.kept.extend(keys.iter().map(|key| (select::id(*key), weight(key))));
        self.kept.retain(|(_, weight)| *weight >= weight_min);
        let total = self.kept.iter().map(|(_, weight)| weight).sum();
        let needed = nucleus(total, sampling.top_p);
        let mut mass = 0.0;
        let last = self.kept.iter().position(|(_, weight)| {
            mass += weight;
            mass >= needed
        });
        self.kept.truncate(last.map_or(self.kept.len(), |last| last + 1));
        // In the order of ids, as among the whole vocabulary.
        self.kept.sort_unstable_by_key(|(id, _)| *id);
        self.weights.clear();
        self.weights.extend(self.kept.iter().map(|(_, weight)| weight));
        let index = draw_from(&self.math, &self.weights, self.math.sum(&self.weights), draw);
        self.kept[index as usize].0
    }
}

/// The weight of that fraction of the most probable token, at least 1.
fn fraction(fraction: f32) -> f64 {
    (f64::from(fraction) * WEIGHT_ONE).ceil().clamp(1.0, WEIGHT_ONE)
}

/// The mass that a nucleus of probability `top_p` needs: an integer from 1.
fn nucleus(total: f64, top_p: f32) -> f64 {
    if top_p >= 1.0 { total } else { (f64::from(top_p) * total).ceil().clamp(1.0, total.max(1.0)) }
}

/// The index under the point drawn, by inverse of the cumulated weights.
fn draw_from(math: &LogitMath, weights: &[f64], total: f64, draw: u64) -> u32 {
    const CHUNK: usize = 256;
    // A uniform integer of 0..total; totals and what is left of them are integers below 2^53.
    let mut left = ((u128::from(draw) * u128::from(total as u64)) >> 64) as f64;
    for (chunk_index, chunk) in weights.chunks(CHUNK).enumerate() {
        let mass = math.sum(chunk);
        if left >= mass {
            left -= mass;
            continue;
        }
        for (offset, weight) in chunk.iter().enumerate() {
            if left < *weight {
                return (chunk_index * CHUNK + offset) as u32;
            }
            left -= weight;
        }
    }
    unreachable!("invariant: the point drawn is below the total")
}

#[cfg(test)]
mod tests {
    use super::{WEIGHT_ONE, fraction};

    #[test]
    fn fractions_are_at_least_one() {
        assert_eq!((fraction(0.0), fraction(0.5), fraction(1.0)), (1.0, WEIGHT_ONE / 2.0, WEIGHT_ONE));
    }
}
