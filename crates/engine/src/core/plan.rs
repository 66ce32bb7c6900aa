//! One step's work, as the scheduler hands it to the executor and the sampler.

use super::sequence::SequenceId;
use orrery_model::Batch;

/// What one row of logits is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Log-probabilities of the prompt's token at `position + 1`.
    Prompt { id: SequenceId, position: usize },
    /// The next token of the sequence. `draft`: the token that was computed after it in this step. The sequence's next row
    /// may be read only when the sample is that token, and ends nothing.
    Sample { id: SequenceId, draft: Option<u32> },
}

/// A request that runs for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub request: u64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: usize,
}

/// One step. `rows` says what each of `batch.logits_rows` is for; `sequences` names each of `batch.spans`.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub batch: Batch,
    pub sequences: Vec<SequenceId>,
    pub rows: Vec<Row>,
    pub started: Vec<Started>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
}
