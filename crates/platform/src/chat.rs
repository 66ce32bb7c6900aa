//! Chat and text completion on a running model: requests in, events with their texts out.

use crate::Error;

/// What chat and completion have in common. `server` checks the ranges of OpenAI's API, the engine the model's limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// `None`: up to the end of the context.
    pub max_tokens: Option<usize>,
    pub n: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub repetition_penalty: f32,
    pub logit_bias: Vec<(u32, f32)>,
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    pub ignore_eos: bool,
    /// Report each token's log-probability with this many alternatives.
    pub logprobs: Option<usize>,
    pub cache_salt: Option<String>,
    pub priority: i32,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    pub role: String,
    pub content: String,
}

#[derive(Debug, Clone)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<ChatMessage>,
    pub generate: Generate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

#[derive(Debug, Clone)]
pub struct CompletionRequest {
    pub model: String,
    pub prompt: Prompt,
    /// Report the prompt's log-probabilities with this many alternatives.
    pub prompt_logprobs: Option<usize>,
    pub generate: Generate,
}

/// One token with its log-probability, its text and its bytes (a token may be a part of a character).
#[derive(Debug, Clone, PartialEq)]
pub struct Logprob {
    pub token: u32,
    pub text: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    pub chosen: Logprob,
    /// Best first.
    pub top: Vec<Logprob>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub cached_tokens: usize,
}

/// `Prompt` at most once and first, then `Token`s and one `Finished` for each choice, then exactly one of `Done` and
/// `Failed`.
#[derive(Debug)]
pub enum Event {
    /// One entry for each prompt token; the first has no log-probability.
    Prompt { tokens: Vec<PromptToken> },
    Token { choice: usize, token: u32, text: String, logprobs: Option<TokenLogprobs> },
    /// `text` is what had been kept back.
    Finished { choice: usize, text: String, reason: FinishReason },
    Done { usage: Usage },
    Failed(Error),
}

#[derive(Debug, Clone, PartialEq)]
pub struct PromptToken {
    pub token: u32,
    pub text: String,
    pub logprobs: Option<TokenLogprobs>,
}

/// A running generation. Dropping it cancels the request.
pub struct Reply {
    /// The prompt's text as the model sees it (for `echo`).
    pub prompt_text: String,
    pub prompt_tokens: Vec<u32>,
}

impl Reply {
    /// The next event; `None` after the terminal one.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}
