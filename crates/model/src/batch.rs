//! The rows of one forward pass: which tokens, of which sequences, at which positions, in which KV blocks.

/// Consecutive rows of a batch that belong to one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// First row in the batch.
    pub row: usize,
    /// Rows (tokens) of this step.
    pub count: usize,
    /// Position of the first row in its sequence = tokens already in the KV cache.
    pub position: usize,
    /// The sequence's KV blocks in order, enough for `position + count` tokens.
    pub blocks: Vec<u32>,
}

/// One step's work. Rows of all spans follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub tokens: Vec<u32>,
    pub spans: Vec<Span>,
    /// Rows whose logits are wanted, ascending. The output has one row of `vocabulary` logits for each.
    pub logits_rows: Vec<usize>,
}
