//! Products of activations with packed weights, y = x · Wᵀ, by the canonical sum.
//!
//! [`definition`] is the text of every result, [`portable`] the plain path of any processor. [`few`] multiplies straight from the
//! packed weights, one row as fast as memory delivers them; [`many`] unpacks a weight tile once for all rows; `amx` multiplies
//! tiles. All give the definition's bits, so the number of rows never changes a result.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod definition;
mod few;
mod layouts;
mod many;
mod operand;
mod portable;

pub use operand::Operand;

use crate::Compute;
use crate::isa::Isa;
use crate::quant::Packed;

/// Multiplies in one parallel region: row r of `out` is [x_r·W₀ᵀ, x_r·W₁ᵀ, …], so its length is rows × Σ outputs.
///
/// # Panics
/// When a matrix has other inputs than `x`, or `out` another length: both are mistakes of the caller.
pub fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32]) {
    let stride: usize = weights.iter().map(|w| w.outputs()).sum();
    assert_eq!(out.len(), x.rows() * stride, "out is rows × outputs");
    assert!(x.is_for(compute), "the operand was set for this instruction set");
    for w in weights {
        assert_eq!(w.inputs(), x.inputs(), "weights and activations have the same inputs");
    }
    if x.rows() == 0 {
        return;
    }
    if compute.isa() == Isa::Scalar {
        portable::matmul(compute, x, weights, out, stride);
    } else if x.in_pairs() {
        #[cfg(target_arch = "x86_64")]
        amx::matmul(compute, x, weights, out, stride);
    } else if x.rows() <= few::rows_max(compute.isa()) {
        few::matmul(compute, x, weights, out, stride);
    } else {
        many::matmul(compute, x, weights, out, stride);
    }
}

/// One matrix's place in the rows of the output.
#[derive(Clone, Copy)]
struct Part<'a> {
    weights: &'a Packed,
    /// First column of the matrix in an output row.
    column: usize,
}

/// A fused product, divided into work items of `tiles` tiles of one matrix each.
struct Plan<'a> {
    weights: &'a [&'a Packed],
    tiles: usize,
    items: usize,
}

impl<'a> Plan<'a> {
    fn new(weights: &'a [&'a Packed], tiles: usize) -> Self {
        Self { weights, tiles, items: weights.iter().map(|weights| weights.tiles().div_ceil(tiles)).sum() }
    }

    /// The part and the range of tiles of one work item.
    fn item(&self, mut index: usize) -> (Part<'a>, std::ops::Range<usize>) {
        let mut column = 0;
        for &weights in self.weights {
            let items = weights.tiles().div_ceil(self.tiles);
            if index < items {
                let first = index * self.tiles;
                return (Part { weights, column }, first..(first + self.tiles).min(weights.tiles()));
            }
            index -= items;
            column += weights.outputs();
        }
        unreachable!("invariant: item indices are below `items`")
    }
}
