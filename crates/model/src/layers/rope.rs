//! Rotary frequencies under each kind of context stretching, as transformers' `modeling_rope_utils.py` defines them.

use crate::Error;
use crate::weights::{Hyper, RopeScaling};
use orrery_kernels::elementwise::Rope;
use std::f64::consts::TAU;

/// The model's rotation.
pub(super) fn rope(hyper: &Hyper) -> Result<Rope, Error> {
    let (frequencies, magnitude) = scaled(hyper)?;
    Ok(Rope::new(frequencies, magnitude))
}

/// Inverse frequencies (radians a token), one for each pair of dimensions, and the factor of sin and cos.
fn scaled(hyper: &Hyper) -> Result<(Vec<f64>, f32), Error> {
    let dims = hyper.rope_dim;
    let plain = (0..dims / 2).map(|pair| hyper.rope_theta.powf(-2.0 * pair as f64 / dims as f64));
    Ok(match &hyper.rope_scaling {
        RopeScaling::None => (plain.collect(), 1.0),
        RopeScaling::Linear { factor } => (plain.map(|frequency| frequency / factor).collect(), 1.0),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let stretch =
                |frequency| llama3(frequency, *factor, *low_freq_factor, *high_freq_factor, *original_context);
            (plain.map(stretch).collect(), 1.0)
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor } => {
            let ramp = YarnRamp::new(hyper, *original_context, *beta_fast, *beta_slow);
            let frequencies = plain.enumerate().map(|(pair, frequency)| {
                let kept = 1.0 - ramp.at(pair);
                frequency / factor * (1.0 - kept) + frequency * kept
            });
            let magnitude = attention_factor.unwrap_or_else(|| yarn_magnitude(*factor));
            (frequencies.collect(), magnitude as f32)
        }
        RopeScaling::Factors(factors) if factors.len() != dims / 2 => {
            return Err(Error::Tensor {
                name: "rope_freqs.weight".to_owned(),
                reason: format!(
                    "{} factors found, {} wanted (half of {dims} rotated dimensions)",
                    factors.len(),
                    dims / 2
                ),
            });
        }
        RopeScaling::Factors(factors) => {
            (plain.zip(factors).map(|(frequency, &factor)| frequency / f64::from(factor)).collect(), 1.0)
        }
    })
}

/// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
fn llama3(frequency: f64, factor: f64, low: f64, high: f64, original_context: f64) -> f64 {
    let wavelength = TAU / frequency;
    if wavelength < original_context / high {
        frequency
    } else if wavelength > original_context / low {
        frequency / factor
    } else {
        let smooth = (original_context / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// YaRN (Peng et al., 2023): from which pair on frequencies are interpolated, and from which wholly.
struct YarnRamp {
    low: f64,
    high: f64,
}

impl YarnRamp {
    fn new(hyper: &Hyper, original_context: f64, beta_fast: f64, beta_slow: f64) -> Self {
        let dims = hyper.rope_dim as f64;
        let pair_of =
            |rotations: f64| dims * (original_context / (rotations * TAU)).ln() / (2.0 * hyper.rope_theta.ln());
        let low = pair_of(beta_fast).floor().max(0.0);
        let high = pair_of(beta_slow).ceil().min(dims - 1.0);
        Self { low, high: if high == low { low + 0.001 } else { high } }
    }

    fn at(&self, pair: usize) -> f64 {
        ((pair as f64 - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn yarn_magnitude(factor: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hyper(rope_scaling: RopeScaling) -> Hyper {
        Hyper {
            architecture: "llama".to_owned(),
            layers: 1,
            hidden: 32,
            heads: 1,
            kv_heads: 1,
            head_dim: 8,
            intermediate: 32,
            vocabulary: 32,
            context: 512,
            rms_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling,
            rope_dim: 8,
            rope_interleaved: false,
        }
    }

    #[track_caller]
    fn check(scaling: RopeScaling, frequencies: [f64; 4], magnitude: f32) {
        let (found, found_magnitude) = scaled(&hyper(scaling)).unwrap();
        for (found, wanted) in found.iter().zip(frequencies) {
            assert!((found / wanted - 1.0).abs() < 1e-6, "{found} is not {wanted}");
        }
        assert!((found_magnitude - magnitude).abs() < 1e-6, "{found_magnitude} is not {magnitude}");
    }

    // Expected values: transformers 5.23, ROPE_INIT_FUNCTIONS with head_dim 8 and theta 10,000.
    #[test]
    fn frequencies_equal_transformers() {
        check(RopeScaling::None, [1.0, 0.1, 0.01, 0.001], 1.0);
        check(RopeScaling::Linear { factor: 4.0 }, [0.25, 0.025, 0.0025, 0.00025], 1.0);
        let llama3 =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 128.0 };
        check(llama3, [1.0, 0.0427511781, 0.00125, 0.000125], 1.0);
        let yarn = |original_context| RopeScaling::Yarn {
            factor: 4.0,
            original_context,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor: None,
        };
        check(yarn(128.0), [1.0, 0.0625, 0.0025, 0.00025], 1.138_629_4);
        check(yarn(2048.0), [1.0, 0.1, 0.00625, 0.00025], 1.138_629_4);
    }

    #[test]
    fn factors_divide_and_are_counted() {
        check(RopeScaling::Factors(vec![1.0, 2.0, 4.0, 8.0]), [1.0, 0.05, 0.0025, 0.000125], 1.0);
        let error = scaled(&hyper(RopeScaling::Factors(vec![1.0; 3]))).unwrap_err().to_string();
        assert!(error.contains("3 factors found, 4 wanted"), "{error}");
    }

    #[test]
    fn a_given_attention_factor_is_taken() {
        let yarn = |attention_factor| RopeScaling::Yarn {
            factor: 4.0,
            original_context: 128.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor,
        };
        assert_eq!(scaled(&hyper(yarn(Some(1.5)))).unwrap().1, 1.5);
    }
}
