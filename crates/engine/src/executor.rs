//! The seam between batching and compute.

use orrery_model::{Batch, LogitMath, Model};

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
/// batch and nothing else; the executor stays usable. After a panic it is not called again.
pub trait Executor: Send + 'static {
    fn shape(&self) -> Shape;
    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String>;

    /// How rows of logits are worked on; every one gives the same results.
    fn logit_math(&self) -> LogitMath {
        LogitMath::portable()
    }
}

type Forward = Box<dyn FnMut(&Batch, &mut Vec<f32>) + Send>;

/// The executor of real models: a model and its KV memory.
pub struct ModelExecutor {
    shape: Shape,
    math: LogitMath,
    /// The KV memory's type belongs to the compute layer, which the engine does not name; the closure owns it.
    forward: Forward,
}

impl ModelExecutor {
    /// Takes the memory of `blocks` KV blocks.
    pub fn new(mut model: Model, blocks: usize) -> Result<Self, orrery_model::Error> {
        let shape = Shape {
            vocabulary: model.vocabulary(),
            context: model.context(),
            blocks,
            block_tokens: model.block_tokens(),
        };
        let math = model.logit_math();
        let mut kv = model.kv_cache(blocks)?;
        let forward = move |batch: &Batch, logits: &mut Vec<f32>| model.forward(batch, &mut kv, logits);
        Ok(Self { shape, math, forward: Box::new(forward) })
    }
}

impl Executor for ModelExecutor {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn step(&mut self, batch: &Batch, logits: &mut Vec<f32>) -> Result<(), String> {
        (self.forward)(batch, logits);
        Ok(())
    }

    fn logit_math(&self) -> LogitMath {
        self.math.clone()
    }
}
