//! Penalties and logit bias: what changes logits before a choice.

use crate::request::Sampling;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The tokens that penalties look at.
#[derive(Debug, Clone, Default)]
pub struct History {
    prompt: Arc<BTreeSet<u32>>,
    generated: BTreeMap<u32, u32>,
}

impl History {
    /// `prompt`: the distinct tokens of the prompt; the choices of a request share them.
    pub fn new(prompt: Arc<BTreeSet<u32>>) -> Self {
        Self { prompt, generated: BTreeMap::new() }
    }

    /// Whether these settings look at earlier tokens.
    pub fn is_needed(sampling: &Sampling) -> bool {
        sampling.presence_penalty != 0.0 || sampling.frequency_penalty != 0.0 || sampling.repetition_penalty != 1.0
    }

    /// Counts a generated token.
    pub fn push(&mut self, token: u32) {
        *self.generated.entry(token).or_default() += 1;
    }

    /// Presence and frequency penalties count generated tokens (OpenAI); the repetition penalty looks at prompt and generated
    /// tokens, dividing positive logits and multiplying negative ones (Keskar et al., CTRL, 2019; as Hugging Face and
    /// vLLM do). Tokens outside `row` are passed over.
    pub(super) fn edit(&self, row: &mut [f32], sampling: &Sampling) {
        for (token, bias) in &sampling.logit_bias {
            if let Some(logit) = row.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        if sampling.repetition_penalty != 1.0 {
            let new = self.generated.keys().filter(|token| !self.prompt.contains(token));
            for token in self.prompt.iter().chain(new) {
                if let Some(logit) = row.get_mut(*token as usize) {
                    let penalty = sampling.repetition_penalty;
                    *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                }
            }
        }
        for (token, count) in &self.generated {
            if let Some(logit) = row.get_mut(*token as usize) {
                *logit -= sampling.frequency_penalty * *count as f32;
                *logit -= sampling.presence_penalty;
            }
        }
    }
}

/// Whether these settings change any logit.
pub(super) fn edits(sampling: &Sampling) -> bool {
    !sampling.logit_bias.is_empty() || History::is_needed(sampling)
}
