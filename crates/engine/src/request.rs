//! What goes into the engine and what comes out.

use crate::core::flow::Flow;
use std::time::Duration;

/// One generation request over token ids.
#[derive(Debug, Clone)]
pub struct Request {
    pub prompt: Vec<u32>,
    pub max_tokens: usize,
    /// Choices sampled from the same prompt; choice i uses seed + i.
    pub n: usize,
    pub sampling: Sampling,
    /// Strings that end a choice; they are not part of its text.
    pub stop: Vec<String>,
    /// Tokens that end a choice; they are not part of its text. The model's own are added unless `ignore_eos`.
    pub stop_tokens: Vec<u32>,
    pub ignore_eos: bool,
    /// Report the chosen token's log-probability and this many alternatives.
    pub logprobs: Option<usize>,
    /// Report log-probabilities of the prompt's tokens with this many alternatives (`echo` with `logprobs`).
    pub prompt_logprobs: Option<usize>,
    /// Part of the prefix cache's key: requests share cached blocks only with the same salt.
    pub cache_salt: Vec<u8>,
    /// Whose work this is: flows share the engine by their weights.
    pub flow: Flow,
    /// Within its flow: higher is served first; equal priorities are served in order of arrival.
    pub priority: i32,
}

/// How the next token is chosen. `Default` is plain sampling at temperature 1 over the whole vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    pub logit_bias: Vec<(u32, f32)>,
    /// `None`: a fresh random seed.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// Natural log-probability of one token, before temperature and penalties (OpenAI's and vLLM's raw logprobs).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    pub token: u32,
    pub logprob: f32,
}

/// Log-probabilities at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    pub chosen: Logprob,
    /// The most probable tokens, best first; ties go to the lower id.
    pub top: Vec<Logprob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub cached_tokens: usize,
}

/// Where a request's time went, by the engine thread's clock. The three follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From `submit` to the first step that computes any of it.
    pub queue: Duration,
    /// From there to its first token; to its end where it has none.
    pub prefill: Duration,
    /// From the first token to the last, of all its choices.
    pub decode: Duration,
}

/// A request's events: `Prompt` at most once and first, then `Token`s and one `Finished` for each choice, then exactly one
/// terminal event, `Done` or `Failed`.
#[derive(Debug, Clone)]
pub enum Event {
    /// Log-probabilities of the prompt's tokens; the first has none.
    Prompt {
        logprobs: Vec<Option<TokenLogprobs>>,
    },
    /// `text` may be empty while a character or a possible stop string is incomplete.
    Token {
        choice: usize,
        token: u32,
        text: String,
        logprobs: Option<TokenLogprobs>,
    },
    /// `text` is what had been kept back.
    Finished {
        choice: usize,
        text: String,
        reason: FinishReason,
    },
    Done {
        usage: Usage,
        timings: Timings,
    },
    Failed(Error),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request can never be served: names the value and the limit. `param` is the field's name in OpenAI's API.
    #[error("{message}")]
    Invalid { param: &'static str, message: String },
    /// The prompt, or the prompt with the tokens asked for, does not fit into the context.
    #[error("{message}")]
    TooLong { param: &'static str, message: String },
    #[error("the queue of {limit} requests is full; try again in {retry_after_s} s")]
    Overloaded { limit: usize, retry_after_s: u64 },
    #[error("the engine is shutting down")]
    ShuttingDown,
    #[error("the engine failed: {0}")]
    Internal(String),
}
