//! The exponential function.

use crate::simd::Simd;

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
