//! Softmax of one split, and the merging of splits.

use super::{HEAD_DIM_MAX, SPLIT_TOKENS};
use crate::elementwise::exp;
use crate::simd::{LANES, Simd};

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

/// Turns the first `length` scores into probabilities exp(score − max), rounded to bf16, and the rest of `padded` into zero.
/// Gives the maximum and the sum of the rounded probabilities.
#[inline(always)]
pub(super) fn softmax_split<S: Simd>(
    simd: S,
    scores: &mut [f32; SPLIT_TOKENS],
    length: usize,
    padded: usize,
) -> (f32, f32) {
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
    for lanes in scores.as_chunks::<LANES>().0[..padded / LANES].iter() {
        sum = simd.add(sum, simd.load(lanes));
    }
    (max, simd.reduce_add(sum))
}
