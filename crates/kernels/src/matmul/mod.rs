//! Products of activations with packed weights, y = x · Wᵀ, by the canonical sum.
//!
//! [`definition`] is the text of every result, [`portable`] the plain path of any processor. [`few`] multiplies one to a few rows straight from the packed weights (as
//! fast as memory delivers them); [`many`] unpacks a weight tile once for all rows. Both give the definition's bits, so
//! the number of rows never changes a result.

pub mod definition;
mod few;
mod layouts;
mod many;
mod portable;

use crate::Compute;
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::quant::Packed;
use crate::quant::pack::BLOCK;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Rows up to which [`few`] is faster than [`many`].
const FEW_ROWS: usize = 3;

/// Activations [rows × inputs] rounded to bf16, with the sums that formats with minima need. Reusable: `set` keeps
/// the allocation.
#[derive(Default)]
pub struct Operand {
    rows: usize,
    inputs: usize,
    /// Inputs rounded up to whole blocks; the padding is zero.
    stride: usize,
    /// bf16 values kept as float32, [rows × stride].
    values: Vec<f32>,
    /// Sum of each half block, and of each block: [rows × stride/32 × (low half, high half, whole)].
    sums: Vec<f32>,
}

/// Numbers per block in `Operand::sums`.
const SUMS: usize = 3;

impl Operand {
    /// Rounds `values` (rows × inputs, row-major) to bf16.
    pub fn set(&mut self, compute: &Compute, rows: usize, inputs: usize, values: &[f32]) {
        assert_eq!(values.len(), rows * inputs, "activations are rows × inputs");
        self.rows = rows;
        self.inputs = inputs;
        self.stride = inputs.next_multiple_of(BLOCK);
        self.values.resize(rows * self.stride, 0.0);
        self.sums.resize(rows * self.stride / BLOCK * SUMS, 0.0);
        let (stride, isa) = (self.stride, compute.isa());
        let out = Disjoint::new(&mut self.values);
        let sums = Disjoint::new(&mut self.sums);
        let chunk = rows.div_ceil(4 * compute.threads()).max(8);
        compute.pool().each(rows.div_ceil(chunk), &|index| {
            let first = index * chunk;
            let count = chunk.min(rows - first);
            // SAFETY: each item has its own rows.
            let (out, sums) = unsafe {
                (
                    out.part(first * stride, count * stride),
                    sums.part(first * stride / BLOCK * SUMS, count * stride / BLOCK * SUMS),
                )
            };
            dispatch(isa, Round { values: &values[first * inputs..][..count * inputs], inputs, stride, out, sums });
        });
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The rounded values of a row, padded to whole blocks.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride..][..self.stride]
    }

    /// The sums of a row, [blocks × (low half, high half, whole)].
    pub(crate) fn row_sums(&self, row: usize) -> &[f32] {
        let len = self.stride / BLOCK * SUMS;
        &self.sums[row * len..][..len]
    }
}

struct Round<'a> {
    values: &'a [f32],
    inputs: usize,
    stride: usize,
    out: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.values.chunks_exact(self.inputs).zip(self.out.chunks_exact_mut(self.stride));
        for (from, to) in rows {
            to[..self.inputs].copy_from_slice(from);
            to[self.inputs..].fill(0.0);
            for lanes in to.as_chunks_mut::<LANES>().0 {
                let rounded = simd.round_bf16(simd.load(lanes));
                simd.store(rounded, lanes);
            }
        }
        let blocks = self.out.as_chunks::<BLOCK>().0.iter().zip(self.sums.as_chunks_mut::<SUMS>().0);
        for (block, sums) in blocks {
            *sums = definition::block_sums(block);
        }
    }
}

/// Multiplies in one parallel region: row r of `out` is [x_r·W₀ᵀ, x_r·W₁ᵀ, …], so its length is rows × Σ outputs.
///
/// # Panics
/// When a matrix has other inputs than `x`, or `out` another length: both are mistakes of the caller.
pub fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32]) {
    let stride: usize = weights.iter().map(|w| w.outputs()).sum();
    assert_eq!(out.len(), x.rows * stride, "out is rows × outputs");
    for w in weights {
        assert_eq!(w.inputs(), x.inputs, "weights and activations have the same inputs");
    }
    if x.rows == 0 {
        return;
    }
    if compute.isa() == Isa::Scalar {
        portable::matmul(compute, x, weights, out, stride);
    } else if x.rows <= FEW_ROWS {
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

/// The parts of a fused product, and how many work items of `tiles` tiles each one has.
struct Plan<'a> {
    parts: Vec<(Part<'a>, usize)>,
    tiles: usize,
    items: usize,
}

impl<'a> Plan<'a> {
    fn new(weights: &[&'a Packed], tiles: usize) -> Self {
        let (mut column, mut items) = (0, 0);
        let parts = weights
            .iter()
            .map(|&weights| {
                let part = Part { weights, column };
                column += weights.outputs();
                items += weights.tiles().div_ceil(tiles);
                (part, weights.tiles().div_ceil(tiles))
            })
            .collect();
        Self { parts, tiles, items }
    }

    /// The part and the range of tiles of one work item.
    fn item(&self, mut index: usize) -> (Part<'a>, std::ops::Range<usize>) {
        for (part, items) in &self.parts {
            if index < *items {
                let first = index * self.tiles;
                return (*part, first..(first + self.tiles).min(part.weights.tiles()));
            }
            index -= items;
        }
        unreachable!("invariant: item indices are below `items`")
    }
}
