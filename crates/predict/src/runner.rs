//! The seam between batching and compute: a fake stands here in the tests of batching.

use crate::error::Result;
use crate::signature::Signature;
use crate::tensor::Tensor;

/// What computes a model. It is owned by one thread, which calls it for one batch after another.
///
/// Contract: `inputs` stand in the signature's order and fit it. The answer holds the outputs of `outputs` (places in the
/// signature), in that order. An error is about these inputs alone: the next call starts afresh. It may be slow, and must
/// not keep what it was given.
pub trait Runner: Send {
    /// What it takes and gives. Does not change.
    fn signature(&self) -> &Signature;

    /// Computes one batch.
    ///
    /// # Errors
    /// The model cannot compute these inputs.
    fn run(&mut self, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>>;
}
