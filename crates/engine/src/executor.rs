//! The seam between batching and compute.

use orrery_model::Batch;

/// Sizes that the scheduler needs to know of the compute behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    pub blocks: usize,
    pub block_tokens: usize,
}

/// Runs one batch. Contract: deterministic in the tokens of each sequence, whatever else is in the batch; `logits` is
/// resized to one row of `vocabulary` for each of `batch.logits_rows`, in that order. An error fails the requests of the
/// batch and nothing else; the executor stays usable.
pub trait Executor: Send + 'static {
    fn shape(&self) -> Shape;
    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String>;
}

/// The executor of real models.
pub struct ModelExecutor {
    _model: orrery_model::Model,
}
