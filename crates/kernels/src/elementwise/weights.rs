//! Probabilities as integers: weight = exp((logit − max) / temperature) · 2^34, rounded to an integer and held in f64.
//!
//! Sums of such integers stay below 2^53 and so are exact: no result depends on the order of addition, on vector width or
//! on the machine. What is below 2^-35 of the best token's probability has weight 0 and is never drawn. `exp` is a
//! polynomial in plain multiplications and additions, never contracted: the loops here are plain Rust that is compiled for each
//! instruction set, and the bits are the same everywhere.

use crate::Compute;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// The weight of the most probable token: 2^34. A vocabulary of up to 2^19 tokens keeps sums within 2^53.
pub const WEIGHT_ONE: f64 = (1u64 << ONE_BITS) as f64;
const ONE_BITS: i32 = 34;

/// The transformation from logits to weights.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The largest logit; finite.
    pub max: f32,
    /// Above 0.
    pub temperature: f32,
}

impl Scale {
    /// The weight of one logit; NaN and −∞ have 0.
    #[inline(always)]
    pub fn weight(self, logit: f32) -> f64 {
        /// Adding it to a number below 2^51 rounds that to an integer.
        const ROUND: f64 = (1u64 << 52) as f64;
        // A temperature below the normal numbers would be zero where denormals are; to the result they are the same.
        let temperature = self.temperature.max(f32::MIN_POSITIVE);
        (f64::from(exp_scaled((logit - self.max) / temperature)) + ROUND) - ROUND
    }
}

/// The weights of a row, those below `weight_min` set to 0, and their sum. `out` has as many places as the row.
pub fn weights(compute: &Compute, row: &[f32], scale: Scale, weight_min: f64, out: &mut [f64]) -> f64 {
    assert_eq!(row.len(), out.len(), "a weight for each logit");
    dispatch(compute.isa(), Weights { row, scale, weight_min, out })
}

struct Weights<'a> {
    row: &'a [f32],
    scale: Scale,
    weight_min: f64,
    out: &'a mut [f64],
}

impl Kernel for Weights<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        for (weight, logit) in self.out.iter_mut().zip(self.row) {
            let all = self.scale.weight(*logit);
            *weight = if all >= self.weight_min { all } else { 0.0 };
        }
        sum(self.out)
    }
}

/// The exact sum of weights.
#[inline(always)]
pub fn sum(weights: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = weights.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, weight) in lanes.iter_mut().zip(chunk) {
            *lane += weight;
        }
    }
    lanes.iter().chain(rest).sum()
}

/// The largest entry, NaN aside; −∞ when there is none.
pub fn max(compute: &Compute, row: &[f32]) -> f32 {
    dispatch(compute.isa(), Max { row })
}

struct Max<'a> {
    row: &'a [f32],
}

impl Kernel for Max<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (chunks, rest) = self.row.as_chunks::<LANES>();
        let mut lanes = simd.splat(f32::NEG_INFINITY);
        for chunk in chunks {
            lanes = simd.max(simd.load(chunk), lanes);
        }
        rest.iter().fold(simd.reduce_max(lanes), |a, b| if *b > a { *b } else { a })
    }
}

/// ln Σ exp(x) of a row; infinite when the largest entry is.
pub fn log_sum_exp(compute: &Compute, row: &[f32]) -> f64 {
    let max = max(compute, row);
    if !max.is_finite() {
        return f64::from(max);
    }
    let total = dispatch(compute.isa(), Total { row, scale: Scale { max, temperature: 1.0 } });
    f64::from(max) + libm::log(total / WEIGHT_ONE)
}

struct Total<'a> {
    row: &'a [f32],
    scale: Scale,
}

impl Kernel for Total<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let mut weights = [0.0; 256];
        let mut total = 0.0;
        for chunk in self.row.chunks(weights.len()) {
            let weights = &mut weights[..chunk.len()];
            for (weight, logit) in weights.iter_mut().zip(chunk) {
                *weight = self.scale.weight(*logit);
            }
            total += sum(weights);
        }
        total
    }
}

/// exp(x) · 2^34 for x ≤ 0, to about one unit in the last place; next to 0 where x < −64, and for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ½ ln 2; exp(r) by the polynomial of Cephes' `expf` (Moshier, 1989).
#[inline(always)]
fn exp_scaled(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// 1.5 · 2^23: adding it rounds to an integer, which stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // NaN is not above −64.
    let x = if x > -64.0 { x } else { -64.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_6e-1;
    p = p * r + 5.0e-1;
    let y = p * (r * r) + r + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) + 127 + ONE_BITS;
    y * f32::from_bits((exponent as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::{Scale, WEIGHT_ONE, exp_scaled, log_sum_exp, max, weights};
    use crate::Compute;
    use crate::isa::Isa;

    fn scalar() -> Compute {
        Compute::new(Some(Isa::Scalar), Some(1)).expect("always")
    }

    #[test]
    fn exp_is_close_to_the_exact_one() {
        let one = WEIGHT_ONE;
        assert_eq!(exp_scaled(0.0), one as f32);
        let mut worst = 0f64;
        for i in 0..64_000 {
            let x = -(i as f32) * 1e-3;
            let exact = f64::from(x).exp() * one;
            worst = worst.max((f64::from(exp_scaled(x)) / exact - 1.0).abs());
        }
        assert!(worst < 2.5e-7, "relative error {worst}");
    }

    #[test]
    fn the_odd_inputs_have_weight_0() {
        let scale = Scale { max: 1.0, temperature: 0.5 };
        for logit in [f32::NAN, f32::NEG_INFINITY, -1e30] {
            assert_eq!(scale.weight(logit), 0.0);
        }
        assert_eq!(scale.weight(1.0), WEIGHT_ONE);
        // A temperature so small that its inverse is infinite.
        let tiny = Scale { max: 1.0, temperature: 1e-45 };
        assert_eq!((tiny.weight(1.0), tiny.weight(0.999)), (WEIGHT_ONE, 0.0));
        let mut out = [0.0; 3];
        assert_eq!(weights(&scalar(), &[0.999, 1.0, f32::NAN], tiny, 1.0, &mut out), WEIGHT_ONE);
        assert_eq!(out, [0.0, WEIGHT_ONE, 0.0]);
    }

    #[test]
    fn log_sum_exp_is_close_to_f64() {
        let row: Vec<f32> = (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0).collect();
        let exact = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        assert!((log_sum_exp(&scalar(), &row) - exact).abs() < 1e-6);
        assert_eq!(log_sum_exp(&scalar(), &[f32::NAN, 3.0]), 3.0);
        assert_eq!(log_sum_exp(&scalar(), &[f32::NAN]), f64::NEG_INFINITY);
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let mut row: Vec<f32> =
            (0..5_003u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e5 - 30.0).collect();
        (row[7], row[5_001], row[5_002]) = (f32::NAN, f32::NEG_INFINITY, 3.5);
        let scale = Scale { max: max(&scalar(), &row), temperature: 0.7 };
        let mut want = vec![0.0; row.len()];
        let total = weights(&scalar(), &row, scale, 3.0, &mut want);
        assert_eq!(total, want.iter().sum::<f64>());
        let raw: Vec<f64> = row.iter().map(|logit| scale.weight(*logit)).collect();
        assert!(raw.iter().filter(|weight| (0.5..3.0).contains(*weight)).count() > 50, "some lie below the minimum");
        assert!(raw.iter().zip(&want).all(|(raw, want)| *want == if *raw < 3.0 { 0.0 } else { *raw }));
        assert!(want.iter().filter(|weight| **weight > 0.0).count() > 1_000);
        for isa in Isa::available() {
            let compute = Compute::new(Some(isa), Some(1)).expect("available");
            let mut got = vec![0.0; row.len()];
            assert_eq!(weights(&compute, &row, scale, 3.0, &mut got), total, "{}", isa.name());
            assert_eq!(got, want, "{}", isa.name());
            assert_eq!(max(&compute, &row), scale.max);
            assert_eq!(log_sum_exp(&compute, &row).to_bits(), log_sum_exp(&scalar(), &row).to_bits());
        }
    }
}
