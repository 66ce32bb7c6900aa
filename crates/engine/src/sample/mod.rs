//! Sampling: penalties, temperature, truncation, seeded choice, log-probabilities.
//!
//! The order of operations is vLLM's: logit bias, penalties, greedy choice or temperature, min-p, top-k, top-p. Ties go to
//! the lower id; NaN is never chosen. Probabilities are held as integers ([`weight`]), whose sums do not depend on the
//! order of addition, so the same logits and the same draw give the same token on every machine, with no sort of the
//! vocabulary. Start at [`Sampler`].

mod history;
mod random;
mod select;
mod weight;

pub use history::History;
pub use random::draw;

use crate::request::{Logprob, Sampling, TokenLogprobs};
use weight::Scale;

/// Smallest log-probability that is reported (as vLLM does): clients cannot read −∞ in JSON.
const LOGPROB_MIN: f32 = -9999.0;

/// Chooses tokens. Keeps its scratch memory (about 20 bytes a vocabulary entry) between calls.
#[derive(Debug, Default)]
pub struct Sampler {
    edited: Vec<f32>,
    weights: Vec<f64>,
    select: select::Select,
    kept: Vec<(u32, f64)>,
}

impl Sampler {
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
        let normaliser = weight::log_sum_exp(row);
        let logprob = |token: u32| {
            let logit = row.get(token as usize).copied().unwrap_or(f32::NAN);
            // NaN becomes the minimum too.
            Logprob { token, logprob: ((f64::from(logit) - normaliser) as f32).max(LOGPROB_MIN) }
        };
        let top = self.select.top(row, top).iter().map(|key| logprob(select::id(*key))).collect();
        TokenLogprobs { chosen: logprob(token), top }
    }

    fn choose(&mut self, row: &[f32], sampling: &Sampling, draw: u64) -> u32 {
        let max = select::max(row);
        if sampling.temperature <= 0.0 || sampling.top_k == 1 || !max.is_finite() {
            return select::first(row, max);
        }
        let scale = Scale { max, temperature: sampling.temperature };
        let weight_min = weight::fraction(sampling.min_p);
        if (1..row.len()).contains(&sampling.top_k) {
            return self.choose_of_top(row, scale, weight_min, sampling, draw);
        }
        let mut total = scale.weights(row, weight_min, &mut self.weights);
        if sampling.top_p < 1.0 {
            let cut = self.select.cut(row, &self.weights, total, nucleus(total, sampling.top_p));
            for (id, (logit, weight)) in row.iter().zip(&mut self.weights).enumerate() {
                *weight = if select::key(*logit, id) >= cut { *weight } else { 0.0 };
            }
            total = weight::sum(&self.weights);
        }
        draw_from(&self.weights, total, draw)
    }

    fn choose_of_top(&mut self, row: &[f32], scale: Scale, weight_min: f64, sampling: &Sampling, draw: u64) -> u32 {
        let keys = self.select.top(row, sampling.top_k);
        self.kept.clear();
        self.kept.extend(keys.iter().map(|key| (select::id(*key), scale.weight(select::logit(*key)))));
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
        let index = draw_from(&self.weights, weight::sum(&self.weights), draw);
        self.kept[index as usize].0
    }
}

/// The mass that a nucleus of probability `top_p` needs: an integer from 1.
fn nucleus(total: f64, top_p: f32) -> f64 {
    if top_p >= 1.0 { total } else { (f64::from(top_p) * total).ceil().clamp(1.0, total.max(1.0)) }
}

/// The index under the point drawn, by inverse of the cumulated weights.
fn draw_from(weights: &[f64], total: f64, draw: u64) -> u32 {
    const CHUNK: usize = 256;
    // A uniform integer of 0..total; totals and what is left of them are integers below 2^53.
    let mut left = ((u128::from(draw) * u128::from(total as u64)) >> 64) as f64;
    for (chunk_index, chunk) in weights.chunks(CHUNK).enumerate() {
        let mass = weight::sum(chunk);
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
