//! Compute on slices: quantised formats, matrix products, attention, norms, the thread pool and the
//! run-time choice of instruction set. The only home of `unsafe`.
//!
//! Must not know: files, models, tokens, requests. Start reading at [`quant`] and [`matmul`].

pub mod attention;
pub mod elementwise;
pub mod isa;
pub mod matmul;
mod memory;
pub mod pool;
pub mod quant;
pub mod roofline;
mod simd;
mod system;

use std::sync::Arc;

/// What the kernels can refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("instruction set `{wanted}` is not available on this processor; it has: {available}")]
    IsaUnavailable { wanted: &'static str, available: String },
    #[error("unknown instruction set `{0}`; known: scalar, avx2, avx512, avx512bf16, amx")]
    IsaUnknown(String),
    #[error("{threads} threads were asked for; this machine allows 1 to {max}")]
    Threads { threads: usize, max: usize },
    #[error("a compute thread could not be started: {0}")]
    Spawn(String),
    #[error("head dimension {head_dim} is not a multiple of 16 up to {max}")]
    HeadDim { head_dim: usize, max: usize },
    #[error("{what}: {got} given, {want} needed")]
    Length { what: &'static str, got: usize, want: usize },
    #[error("{inputs} inputs per row is not a multiple of the {block} weights of a {format} block")]
    Ragged { inputs: usize, block: usize, format: &'static str },
}

/// The machine's compute: one instruction set and one pool of threads, chosen once at start-up.
///
/// Cheap to clone. Parallel regions must be entered from one thread at a time.
#[derive(Clone)]
pub struct Compute {
    isa: isa::Isa,
    pool: Arc<pool::Pool>,
}

impl Compute {
    /// `isa`: `None` takes the best that the processor has. `threads`: `None` takes all the cores.
    pub fn new(isa: Option<isa::Isa>, threads: Option<usize>) -> Result<Self, Error> {
        let isa = isa::Isa::resolve(isa)?;
        Ok(Self { isa, pool: Arc::new(pool::Pool::new(threads)?) })
    }

    pub fn isa(&self) -> isa::Isa {
        self.isa
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    pub fn pool(&self) -> &pool::Pool {
        &self.pool
    }
}
