//! The exponential function and what is made of it.

use super::load_tail;
use crate::Compute;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// exp(x) within 2 units in the last place for −87 ≤ x ≤ 88; x is clamped to that range.
///
/// x = n·ln 2 + r with whole n and |r| ≤ ln 2 / 2 (Cody and Waite's two-part reduction), and the degree-6 minimax polynomial of
/// Cephes' `expf` for exp(r).
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::F) -> S::F {
    let x = simd.max(simd.min(x, simd.splat(88.0)), simd.splat(-87.0));
    let magic = simd.splat(12_582_912.0); // 1.5 · 2²³: adding it rounds to a whole number
    let n = simd.sub(simd.fma(x, simd.splat(std::f32::consts::LOG2_E), magic), magic);
    let r = simd.fma(n, simd.splat(-0.693_359_4), x);
    let r = simd.fma(n, simd.splat(2.121_944_4e-4), r);
    let mut p = simd.splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.fma(p, r, simd.splat(coefficient));
    }
    let p = simd.fma(p, simd.mul(r, r), simd.add(r, simd.splat(1.0)));
    simd.scale_by_power_of_two(p, n)
}

/// log(Σ exp(x)) over a row of logits; the log is taken in float64.
pub fn log_sum_exp(compute: &Compute, row: &[f32]) -> f32 {
    dispatch(compute.isa(), LogSumExp { row })
}

struct LogSumExp<'a> {
    row: &'a [f32],
}

impl Kernel for LogSumExp<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (whole, tail) = self.row.as_chunks::<LANES>();
        let mut max = simd.splat(f32::NEG_INFINITY);
        for lanes in whole {
            max = simd.max(simd.load(lanes), max);
        }
        let max = tail.iter().fold(simd.reduce_max(max), |a, &b| if a > b { a } else { b });
        if !max.is_finite() {
            return max;
        }
        let mut sum = simd.zero();
        for lanes in whole {
            sum = simd.add(sum, exp(simd, simd.sub(simd.load(lanes), simd.splat(max))));
        }
        let mut last = [0.0; LANES];
        simd.store(exp(simd, simd.sub(load_tail(simd, tail), simd.splat(max))), &mut last);
        last[tail.len()..].fill(0.0);
        let sum = simd.reduce_add(simd.add(sum, simd.load(&last)));
        (f64::from(max) + libm::log(f64::from(sum))) as f32
    }
}
