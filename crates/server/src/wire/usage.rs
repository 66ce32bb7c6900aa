//! `usage` and what every answer carries.

use orrery_platform::{FinishReason, Usage};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageBody {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
    pub prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromptDetails {
    /// Prompt tokens whose keys and values were still in the cache.
    pub cached_tokens: usize,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
        }
    }
}

/// In a stream with `include_usage` every chunk has the field, null but for the last; without, none has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum StreamUsage {
    /// Null.
    NotYet(Option<()>),
    Total(UsageBody),
}

/// What all chunks of one response share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub model: String,
}

/// Names what computes: the same fingerprint and seed give the same answer.
pub const FINGERPRINT: &str = concat!("orrery-", env!("CARGO_PKG_VERSION"));

pub fn finish_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// JSON has no infinity; a token that cannot occur gets vLLM's floor.
pub fn finite(logprob: f32) -> f32 {
    if logprob.is_nan() { LOGPROB_FLOOR } else { logprob.max(LOGPROB_FLOOR) }
}

const LOGPROB_FLOOR: f32 = -9999.0;
