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

/// Smallest log-probability that is reported (as vLLM does): clients cannot read −∞ in JSON.
const LOGPROB_MIN: f32 = -9999.0;
/// Candidates that top-p looks at before it looks at the whole vocabulary.
const NUCLEUS_FIRST: usize = 256;

/// Chooses tokens. Keeps its scratch memory (13 bytes a vocabulary entry) between calls.
#[derive(Debug, Default)]
pub struct Sampler {
    edited: Vec<f32>,
    weights: Vec<u64>,
    select: select::Select,
    kept: Vec<(u32, u64)>,
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
        let scale = weight::Scale { max, temperature: sampling.temperature };
        let weight_min = weight::fraction(sampling.min_p);
        let top_p = sampling.top_p.min(1.0);
        if (1..row.len()).contains(&sampling.top_k) {
            let keys = self.select.top(row, sampling.top_k);
            self.kept.clear();
            self.kept.extend(keys.iter().map(|key| (select::id(*key), scale.weight(select::logit(*key)))));
            self.kept.retain(|(_, weight)| *weight >= weight_min);
            let total = self.kept.iter().map(|(_, weight)| weight).sum();
            self.keep_nucleus(nucleus(total, top_p));
            return self.draw_kept(draw);
        }
        let total = scale.weights(row, weight_min, &mut self.weights);
        if top_p >= 1.0 {
            return draw_from(&self.weights, total, draw);
        }
        self.nucleus_of_all(row, nucleus(total, top_p));
        self.draw_kept(draw)
    }

    /// Leaves in `kept` the most probable tokens of `weights` whose mass reaches `needed`.
    fn nucleus_of_all(&mut self, row: &[f32], needed: u64) {
        let with_weight = |weights: &[u64], key: &u64| (select::id(*key), weights[select::id(*key) as usize]);
        self.kept.clear();
        self.kept.extend(self.select.top(row, NUCLEUS_FIRST).iter().map(|key| with_weight(&self.weights, key)));
        let mass: u64 = self.kept.iter().map(|(_, weight)| weight).sum();
        if mass >= needed {
            self.keep_nucleus(needed);
            return;
        }
        self.kept.clear();
        let weights = &self.weights;
        let mass = |key: &u64| weights[select::id(*key) as usize];
        let keys = self.select.heaviest(row, needed, mass);
        self.kept.extend(keys.iter().map(|key| with_weight(&self.weights, key)));
    }

    /// Cuts `kept`, which has the most probable first, where its mass reaches `needed`.
    fn keep_nucleus(&mut self, needed: u64) {
        let mut mass = 0;
        let end = self.kept.iter().position(|(_, weight)| {
            mass += weight;
            mass >= needed
        });
        self.kept.truncate(end.map_or(self.kept.len(), |end| end + 1));
    }

    /// Draws from `kept` as [`draw_from`] would from the whole vocabulary: in the order of ids.
    fn draw_kept(&mut self, draw: u64) -> u32 {
        self.kept.sort_unstable_by_key(|(id, _)| *id);
        let total = self.kept.iter().map(|(_, weight)| weight).sum();
        let mut left = scaled(total, draw);
        for (id, weight) in &self.kept {
            if left < *weight {
                return *id;
            }
            left -= weight;
        }
        unreachable!("invariant: the point drawn is below the total")
    }
}

/// The mass that a nucleus of probability `top_p` needs, at least 1.
fn nucleus(total: u64, top_p: f32) -> u64 {
    if top_p >= 1.0 {
        return total;
    }
    // A total is below 2^58, and f64 rounds the product the same way everywhere.
    ((f64::from(top_p) * total as f64).ceil() as u64).clamp(1, total.max(1))
}

/// A uniform point of 0..total.
fn scaled(total: u64, draw: u64) -> u64 {
    ((u128::from(draw) * u128::from(total)) >> 64) as u64
}

/// The token under the point drawn, by inverse of the cumulated weights in the order of ids.
fn draw_from(weights: &[u64], total: u64, draw: u64) -> u32 {
    const CHUNK: usize = 256;
    let mut left = scaled(total, draw);
    for (chunk_index, chunk) in weights.chunks(CHUNK).enumerate() {
        let mass: u64 = chunk.iter().sum();
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
