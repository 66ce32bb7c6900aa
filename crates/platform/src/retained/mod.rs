//! What is retained: requests and answers of tenants that want them kept for some days, encrypted in the vault.
//!
//! Off unless a tenant's `retention_days` is set. No request waits for it: what ended goes into a bounded queue, and a task
//! of its own writes it. Must not know: wire types. Start at [`Files::recorder`](crate::Files), then `queue.rs`.

mod queue;
mod reading;
mod recorder;

pub(crate) use queue::Queue;
pub use reading::{RetainedInfo, RetainedPage};
pub(crate) use recorder::{Asked, Recorder};

use serde::{Deserialize, Serialize};

/// One request and its answer, as they are stored. A version that reads less must still read this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// That of the answer.
    pub id: String,
    /// Of the key that asked.
    pub key: String,
    pub model: String,
    /// Such as `chat.completions`; a text completion is a chat of one message.
    pub endpoint: String,
    pub created_at_ms: i64,
    pub messages: Vec<RecordedMessage>,
    pub temperature: f32,
    pub top_p: f32,
    pub seed: Option<u64>,
    pub choices: Vec<RecordedChoice>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cached_tokens: u64,
    /// As in the ledger.
    pub outcome: String,
}

/// What the model was given: personal data is masked where the tenant wants that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedMessage {
    pub role: String,
    pub content: String,
}

/// What was given out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChoice {
    pub text: String,
    /// `None`: it was cut off.
    pub finish_reason: Option<String>,
}

impl Record {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        const AROUND: usize = 512;
        let messages: usize = self.messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let choices: usize = self.choices.iter().map(|choice| choice.text.len()).sum();
        AROUND + messages + choices
    }
}
