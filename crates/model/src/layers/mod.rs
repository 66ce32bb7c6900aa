//! The layers that architectures are made of, each with its loading and its forward pass.
//!
//! A layer owns packed weights and reads and writes buffers of [`Scratch`]; the residual stream is float32. Must not
//! know which architecture it serves: what differs is an argument of `load`. Start at [`Decoder`].

mod attention;
mod decoder;
mod loader;
mod mlp;
mod rope;

pub use attention::{Attention, AttentionParts};
pub use decoder::{Decoder, DecoderLayer};
pub use loader::Loader;
pub use mlp::GatedMlp;

use crate::Error;
use orrery_kernels::matmul::Operand;
use orrery_kernels::{Compute, attention as kernel, elementwise};

/// What the layers of one step share.
pub struct Step<'a> {
    pub compute: &'a Compute,
    pub rope: &'a elementwise::Rope,
    /// Sines and cosines of each row's position.
    pub angles: &'a elementwise::Angles,
    pub spans: &'a [kernel::Span<'a>],
    pub rows: usize,
}

/// Buffers between the layers. They grow to the largest batch and stay: a step allocates nothing after warm-up.
#[derive(Default)]
pub struct Scratch {
    /// The input of the next product, in bf16.
    operand: Operand,
    /// rows × hidden: the output of a norm.
    normed: Vec<f32>,
    /// rows × (heads + 2 · kv_heads) · head_dim: [q | k | v].
    qkv: Vec<f32>,
    /// rows × heads · head_dim: the output of attention.
    attended: Vec<f32>,
    /// rows × 2 · intermediate: [gate | up].
    gate_up: Vec<f32>,
    /// rows × intermediate.
    activated: Vec<f32>,
    /// rows × hidden: what a layer adds to the residual stream.
    projected: Vec<f32>,
}

/// The first `len` values of a buffer, grown where it is shorter.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// Root-mean-square norm (Zhang and Sennrich, 2019).
pub struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    /// Reads `name`, a vector of `width` values.
    pub fn load(loader: &mut Loader<'_>, name: &str, width: usize) -> Result<Self, Error> {
        Ok(Self { weight: loader.vector(name, width)?, eps: loader.hyper().rms_eps })
    }

    /// Norms each row of `x` (rows × width, dense) into `out`.
    pub fn apply(&self, compute: &Compute, x: &[f32], out: &mut [f32]) {
        elementwise::rms_norm(compute, x, &self.weight, self.eps, out);
    }

    /// Norms `heads` groups from `column` on in each row of `x`, whose rows are `stride` apart, in place.
    pub fn apply_heads(&self, compute: &Compute, x: &mut [f32], stride: usize, column: usize, heads: usize) {
        let at = elementwise::Heads { stride, column, heads, head_dim: self.weight.len() };
        elementwise::rms_norm_heads(compute, x, at, &self.weight, self.eps);
    }
}
