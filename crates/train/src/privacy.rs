//! What learning by noisy steps gives away: the accountant of differential privacy.
//!
//! Rényi differential privacy of the Gaussian mechanism on a Poisson sample: Mironov, Talwar and Zhang, "Rényi Differential
//! Privacy of the Sampled Gaussian Mechanism" (2019), with the conversion to (ε, δ) of Balle and others, "Hypothesis Testing
//! Interpretations and Rényi Differential Privacy" (2020). The orders are those that Opacus takes by default.

use crate::spec::bad;
use crate::{Error, Result};

/// A mechanism that is used several times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mechanism {
    /// The chance of each example to be in a step.
    pub sample_rate: f64,
    /// The noise's deviation over the longest gradient.
    pub noise_multiplier: f64,
    /// How many steps.
    pub steps: u64,
}

/// More noise than this drowns everything that could be learnt.
const NOISE_MAX: f64 = 1e6;

/// The ε that `mechanism` spends at `delta`: the least one over the orders. Infinite without noise.
///
/// # Errors
/// [`Error::BadSpec`] for numbers that are none, or not in their ranges: sample rate 0 to 1, noise from 0, δ between 0 and 1.
pub fn epsilon(mechanism: Mechanism, delta: f64) -> Result<f64> {
    check("sample_rate", mechanism.sample_rate, (0.0..=1.0).contains(&mechanism.sample_rate), "from 0 to 1")?;
    check("noise_multiplier", mechanism.noise_multiplier, mechanism.noise_multiplier >= 0.0, "0 or more")?;
    check("delta", delta, delta > 0.0 && delta < 1.0, "between 0 and 1")?;
    if mechanism.sample_rate == 0.0 || mechanism.steps == 0 {
        return Ok(0.0);
    }
    let spent = orders().map(|order| {
        let renyi = renyi(mechanism, order) * mechanism.steps as f64;
        renyi - (delta.ln() + order.ln()) / (order - 1.0) + ((order - 1.0) / order).ln()
    });
    Ok(spent.filter(|epsilon| !epsilon.is_nan()).fold(f64::INFINITY, f64::min).max(0.0))
}

/// The least noise with which `steps` steps spend at most `target` at `delta`, to four digits.
///
/// # Errors
/// [`Error::BadSpec`] when `target` is no number over 0, or so small that no noise is enough; otherwise as [`epsilon`].
pub fn noise_for(target: f64, delta: f64, sample_rate: f64, steps: u64) -> Result<f64> {
    check("epsilon", target, target > 0.0, "over 0")?;
    let spent = |noise_multiplier| epsilon(Mechanism { sample_rate, noise_multiplier, steps }, delta);
    let (mut least, mut most) = (0.0, 1.0);
    while spent(most)? > target {
        (least, most) = (most, most * 2.0);
        if most > NOISE_MAX {
            let message = format!("`privacy.epsilon` {target} cannot be kept; give more, or fewer epochs or more rows");
            return Err(bad("privacy.epsilon", message));
        }
    }
    while most - least > 1e-4 * most {
        let middle = 0.5 * (least + most);
        *(if spent(middle)? > target { &mut least } else { &mut most }) = middle;
    }
    Ok(most)
}

fn check(name: &str, value: f64, holds: bool, words: &str) -> Result<()> {
    match holds && value.is_finite() {
        true => Ok(()),
        false => {
            let path = format!("privacy.{name}");
            let message = format!("`{path}` is {value}; give a number {words}");
            Err(Error::BadSpec { field: path, message })
        }
    }
}

fn orders() -> impl Iterator<Item = f64> {
    (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0).chain((12..64).map(f64::from))
}

/// Rényi divergence of one step.
fn renyi(mechanism: Mechanism, order: f64) -> f64 {
    let (rate, noise) = (mechanism.sample_rate, mechanism.noise_multiplier);
    if noise == 0.0 {
        return f64::INFINITY;
    }
    if rate == 1.0 {
        return order / (2.0 * noise * noise);
    }
    let moment = if order.fract() == 0.0 { whole(rate, noise, order) } else { fractional(rate, noise, order) };
    moment / (order - 1.0)
}

/// The logarithm of the moment for a whole order: a binomial sum.
fn whole(rate: f64, noise: f64, order: f64) -> f64 {
    let (mut sum, mut log_choose) = (f64::NEG_INFINITY, 0.0);
    for index in 0..=order as u32 {
        let index = f64::from(index);
        let term = log_choose + index * rate.ln() + (order - index) * (-rate).ln_1p();
        sum = log_add(sum, term + (index * index - index) / (2.0 * noise * noise));
        log_choose += ((order - index) / (index + 1.0)).ln();
    }
    sum
}

/// The same for any order: two series, one for each side of the place where both densities are equal.
fn fractional(rate: f64, noise: f64, order: f64) -> f64 {
    const TERMS_MAX: u32 = 100_000;
    let middle = noise * noise * (1.0 / rate - 1.0).ln() + 0.5;
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    let (mut below, mut above, mut choose) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0_f64);
    for index in 0..TERMS_MAX {
        let index = f64::from(index);
        let other = order - index;
        let term = |power: f64, rest: f64, bound: f64| {
            choose.abs().ln()
                + power * log_rate
                + rest * log_rest
                + (power * power - power) / (2.0 * noise * noise)
                + 0.5_f64.ln()
                + log_erfc(bound / (std::f64::consts::SQRT_2 * noise))
        };
        let (first, second) = (term(index, other, index - middle), term(other, index, middle - other));
        let join = if choose > 0.0 { log_add } else { log_subtract };
        (below, above) = (join(below, first), join(above, second));
        if first.max(second) < -30.0 {
            break;
        }
        choose *= (order - index) / (index + 1.0);
    }
    log_add(below, above)
}

fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY { large } else { large + (small - large).exp().ln_1p() }
}

/// log(eᵃ − eᵇ), minus infinity where roundings make b the larger one.
fn log_subtract(a: f64, b: f64) -> f64 {
    if b == f64::NEG_INFINITY {
        a
    } else if a <= b {
        f64::NEG_INFINITY
    } else {
        a + (-(b - a).exp()).ln_1p()
    }
}

/// log of the complementary error function; far out by its asymptotic series.
fn log_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return libm::erfc(x).ln();
    }
    let square = x * x;
    let series = -0.5 / square + 0.75 / (square * square) - 1.875 / (square * square * square);
    -square - (x * std::f64::consts::PI.sqrt()).ln() + series.ln_1p()
}
