//! What callers above need without knowing the kernels: the machine's compute by the names that settings use, and sizes.

use crate::{Error, Model};
use orrery_kernels::{Compute, attention::BLOCK_TOKENS, isa::Isa};

/// The compute to load a model on. `isa`: the name of an instruction set, `None` takes the best that the processor has;
/// `threads`: `None` takes all the cores.
pub fn compute(isa: Option<&str>, threads: Option<usize>) -> Result<Compute, Error> {
    let isa = isa.map(str::parse::<Isa>).transpose()?;
    Ok(Compute::new(isa, threads)?)
}

impl Model {
    /// Entries of a row of logits.
    pub fn vocabulary(&self) -> usize {
        self.hyper.vocabulary
    }

    /// Longest sequence in tokens.
    pub fn context(&self) -> usize {
        self.hyper.context
    }

    /// Tokens in one KV block.
    pub fn block_tokens(&self) -> usize {
        BLOCK_TOKENS
    }
}
