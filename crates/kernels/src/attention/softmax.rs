//! Softmax of one split, and the merging of splits.

use super::{HEAD_DIM_MAX, SPLIT_TOKENS};
use crate::elementwise::exp;
use crate::simd::{BLOCK, LANES, Simd};

/// Output of the splits seen so far, not yet divided by `sum`.
pub(super) struct Partial {
    pub max: f32,
    pub sum: f32,
    pub out: Lines,
}

#[repr(align(64))]
pub(super) struct Lines(pub [f32; HEAD_DIM_MAX]);

impl Partial {
    pub(super) const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0, out: Lines([0.0; HEAD_DIM_MAX]) };

    /// Adds the next split: both sides are scaled to the larger maximum.
    #[inline(always)]
    pub(super) fn merge<S: Simd>(&mut self, simd: S, next: &Partial, head_dim: usize) {
        let (old, new) = if self.sum == 0.0 {
            (0.0, 1.0)
        } else {
            let max = if self.max > next.max { self.max } else { next.max };
            (exp_one(simd, self.max - max), exp_one(simd, next.max - max))
        };
        self.max = if self.max > next.max { self.max } else { next.max };
        self.sum = self.sum.mul_add(old, next.sum * new);
        let (old, new) = (simd.splat(old), simd.splat(new));
        let lines = self.out.0.as_chunks_mut::<LANES>().0.iter_mut().zip(next.out.0.as_chunks::<LANES>().0);
        for (to, from) in lines.take(head_dim / LANES) {
            simd.store(simd.fma(simd.load(to), old, simd.mul(simd.load(from), new)), to);
        }
    }

    /// Numbers of a stored part.
    pub(super) const fn stored_len(head_dim: usize) -> usize {
        head_dim + 2
    }

    /// Writes maximum, sum and outputs.
    pub(super) fn store(&self, to: &mut [f32]) {
        let (numbers, out) = to.split_at_mut(2);
        numbers.copy_from_slice(&[self.max, self.sum]);
        out.copy_from_slice(&self.out.0[..out.len()]);
    }

    pub(super) fn load(from: &[f32]) -> Self {
        let (numbers, out) = from.split_at(2);
        let mut part = Self { max: numbers[0], sum: numbers[1], ..Self::EMPTY };
        part.out.0[..out.len()].copy_from_slice(out);
        part
    }

    #[inline(always)]
    pub(super) fn finish<S: Simd>(&self, simd: S, out: &mut [f32]) {
        let sum = simd.splat(self.sum);
        for (to, from) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(self.out.0.as_chunks::<LANES>().0) {
            simd.store(simd.div(simd.load(from), sum), to);
        }
    }
}

#[inline(always)]
fn exp_one<S: Simd>(simd: S, x: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    simd.store(exp(simd, simd.splat(x)), &mut lanes);
    lanes[0]
}

/// Turns the first `length` scores, times `scale`, into probabilities exp(score − max), rounded to bf16, and the rest of `blocks`
/// blocks into zero; `put` gets the two halves of each block. Gives the maximum and the sum of the rounded probabilities.
#[inline(always)]
pub(super) fn softmax_rows<S: Simd>(
    simd: S,
    scores: &mut [f32; SPLIT_TOKENS],
    scale: f32,
    length: usize,
    blocks: usize,
    mut put: impl FnMut(usize, [S::F; 2]),
) -> (f32, f32) {
    let padded = blocks * BLOCK;
    let scale = simd.splat(scale);
    let chunks = &mut scores.as_chunks_mut::<LANES>().0[..padded / LANES];
    for lanes in chunks.iter_mut() {
        simd.store(simd.mul(simd.load(lanes), scale), lanes);
    }
    scores[length..padded].fill(f32::NEG_INFINITY);
    let chunks = &mut scores.as_chunks_mut::<LANES>().0[..padded / LANES];
    let mut max = simd.splat(f32::NEG_INFINITY);
    for lanes in chunks.iter() {
        max = simd.max(simd.load(lanes), max);
    }
    let max = simd.reduce_max(max);
    for lanes in chunks.iter_mut() {
        let p = exp(simd, simd.sub(simd.load(lanes), simd.splat(max)));
        simd.store(simd.round_bf16(p), lanes);
    }
    scores[length..padded].fill(0.0);
    let mut sum = simd.zero();
    for (block, lanes) in scores.as_chunks::<LANES>().0.as_chunks::<2>().0.iter().enumerate().take(blocks) {
        let values = [simd.load(&lanes[0]), simd.load(&lanes[1])];
        sum = simd.add(simd.add(sum, values[0]), values[1]);
        put(block, values);
    }
    (max, simd.reduce_add(sum))
}
