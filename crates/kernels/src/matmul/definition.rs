//! The definition of a product, in plain scalar code: what every instruction set must equal bit for bit.
//!
//! Within a block of weights that share a scale, the sum S = Σ q·x runs in two chains of fused multiply-adds over the even
//! and the odd inputs, each from +0, which are then added (the order of AMX's TDPBF16PS). Codes q and activations x are
//! exact in bf16. The result takes the blocks in order: y = fma(S, d, y), then y = fma(Σx, m, y) where the
//! format has minima; weights without scales add S itself. Denormals are flushed to zero throughout.

use super::Operand;
use crate::Compute;
use crate::isa::Isa;
use crate::quant::Packed;
use crate::simd::{BLOCK, Kernel, Scalar, Simd, dispatch};

/// Row `row` of `x` times output `output` of `weights`; `x` was set by `scalar`, a compute of [`Isa::Scalar`].
pub fn product(scalar: &Compute, x: &Operand, row: usize, weights: &Packed, output: usize) -> f32 {
    assert!(scalar.isa() == Isa::Scalar && x.is_for(scalar), "the definition is of the scalar instruction set");
    dispatch(Isa::Scalar, Product { x, row, weights, output })
}

struct Product<'a> {
    x: &'a Operand,
    row: usize,
    weights: &'a Packed,
    output: usize,
}

impl Kernel for Product<'_> {
    type Output = f32;

    fn run<S: Simd>(self, _: S) -> f32 {
        let x = &self.values()[..];
        let length = match self.weights.scales().inputs {
            0 => BLOCK,
            shared => shared,
        };
        let mut y = 0.0f32;
        for first in (0..x.len()).step_by(length) {
            let (mut even, mut odd) = (0.0f32, 0.0f32);
            for k in (first..first + length).step_by(2) {
                even = x[k].mul_add(self.code(k), even);
                odd = x[k + 1].mul_add(self.code(k + 1), odd);
            }
            let sum = even + odd;
            match self.weights.scale_and_min(self.output, first) {
                None => y += sum,
                Some((scale, min)) => {
                    y = sum.mul_add(scale, y);
                    if self.weights.scales().has_min {
                        y = chained_sum(&x[first..first + length]).mul_add(min, y);
                    }
                }
            }
        }
        y
    }
}

impl Product<'_> {
    /// The row's activations in order, padded with zeros to whole blocks.
    fn values(&self) -> Vec<f32> {
        let blocks = self.x.row::<Scalar>(self.row);
        let at = |k: usize| blocks[k / BLOCK][k % 2][k % BLOCK / 4][k % 4 / 2];
        (0..blocks.len() * BLOCK).map(at).collect()
    }

    fn code(&self, k: usize) -> f32 {
        if k < self.weights.inputs() { self.weights.code(self.output, k) } else { 0.0 }
    }
}

/// Σx in the order of the products: an even and an odd chain, then their sum.
fn chained_sum(x: &[f32]) -> f32 {
    let (mut even, mut odd) = (0.0f32, 0.0f32);
    for pair in x.as_chunks::<2>().0 {
        even += pair[0];
        odd += pair[1];
    }
    even + odd
}
