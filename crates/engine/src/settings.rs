//! Limits of one engine.

use crate::core::draft::MATCH_MAX;
use crate::handle::LoadError;

/// Limits of one engine, with defaults for a small machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Requests waiting; one more is refused.
    pub queue_max: usize,
    /// Sequences that run at the same time. `step_tokens_max` and `step_logits_max` bound it too.
    pub sequences_max: usize,
    /// Tokens per step, decode and prefill together.
    pub step_tokens_max: usize,
    /// Rows of logits per step: one for each sequence that samples, and one for each prompt token whose log-probability
    /// is wanted. A row takes 4 bytes for each entry of the vocabulary.
    pub step_logits_max: usize,
    /// Time that a step aims at: prefill chunks shrink to it, so that streams flow and cancels take hold. 0: no aim.
    pub step_target_ms: u64,
    /// Reuse the KV blocks of equal prefixes.
    pub prefix_cache: bool,
    /// Speculation by prompt lookup: what followed the last tokens before is computed ahead. It changes no result.
    pub speculation_ngram: bool,
    /// Draft tokens of a step; what else the step computes takes their place.
    pub draft_tokens_max: usize,
    /// Tokens that have to recur before what followed them is drafted; at most [`MATCH_MAX`].
    pub draft_match_min: usize,
    /// How many tokens back the match may lie.
    pub draft_window: usize,
    /// Between flows, a generated token counts as so many prompt tokens.
    pub generated_token_cost: usize,
    /// Tokens that a flow of weight 100 gets ahead of the others when it comes back from idleness.
    pub burst_tokens: usize,
    /// Choices of one request.
    pub choices_max: usize,
    /// Alternatives reported for each token.
    pub logprobs_max: usize,
    /// Stop strings of one request.
    pub stop_strings_max: usize,
    /// Bytes of one stop string.
    pub stop_bytes_max: usize,
}

impl Settings {
    /// Refuses limits with which no request could ever run.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let least_one = [
            ("queue_max", self.queue_max),
            ("sequences_max", self.sequences_max),
            ("step_tokens_max", self.step_tokens_max),
            ("step_logits_max", self.step_logits_max),
            ("choices_max", self.choices_max),
            ("generated_token_cost", self.generated_token_cost),
        ];
        match least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(LoadError::Settings(format!("`{name}` is 0; no request could run: set 1 or more"))),
            None => self.check_drafts(),
        }
    }

    fn check_drafts(&self) -> Result<(), LoadError> {
        let drafts = [
            ("draft_tokens_max", self.draft_tokens_max, usize::MAX),
            ("draft_match_min", self.draft_match_min, MATCH_MAX),
            ("draft_window", self.draft_window, usize::MAX),
        ];
        match drafts.into_iter().find(|(_, value, most)| self.speculation_ngram && !(1..=*most).contains(value)) {
            Some((name, 0, _)) => Err(LoadError::Settings(format!(
                "`{name}` is 0, and speculation drafts nothing with that: set 1 or more, or turn speculation off"
            ))),
            Some((name, value, most)) => Err(LoadError::Settings(format!(
                "`{name}` is {value}; a match has no more than {most} tokens: set {most} or less"
            ))),
            None => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_max: 1024,
            sequences_max: 256,
            step_tokens_max: 512,
            step_logits_max: 128,
            step_target_ms: 150,
            prefix_cache: true,
            speculation_ngram: false,
            draft_tokens_max: 8,
            draft_match_min: 2,
            draft_window: 4096,
            generated_token_cost: 2,
            burst_tokens: 512,
            choices_max: 16,
            logprobs_max: 20,
            stop_strings_max: 4,
            stop_bytes_max: 1024,
        }
    }
}
