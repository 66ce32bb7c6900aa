//! Logits of tiny random models against transformers in float32 (`fixtures/make_logits.py`).
//!
//! The bound: rounding activations to bf16 errs by up to 2⁻⁹ of each value, about 0.0011 of it in the root mean square. An output
//! is a sum of many such products, so each product of the model adds about 0.0011 of its spread to its output, and the
//! logits spread by 3. With one product at the end, two layers of four before it and bf16 in keys, values and
//! probabilities that makes about 3 · 0.0011 · √8 ≈ 0.01; weights that are not stored in bf16 or as integers are
//! rounded too, at most doubling the squares. Mistakes are far outside: see `BOUND`.

use crate::support::{Fixture, fixture, fixtures, load, log_probabilities, try_load, whole};
use orrery_model::LoadSettings;

/// Of the mean |Δ logprob| over all tokens of the vocabulary and all positions.
const BOUND: f64 = 0.02;

/// Mean |Δ logprob| from the reference.
fn distance(fixture: &Fixture, logits: &[f32]) -> f64 {
    assert_eq!(logits.len(), fixture.logits.len());
    let rows = logits.chunks_exact(fixture.vocabulary).zip(fixture.logits.chunks_exact(fixture.vocabulary));
    let sum = rows
        .map(|(found, wanted)| {
            log_probabilities(found).zip(log_probabilities(wanted)).map(|(a, b)| (a - b).abs()).sum::<f64>()
        })
        .sum::<f64>();
    sum / logits.len() as f64
}

#[test]
fn logits_agree_with_the_reference() {
    let mut failed = Vec::new();
    for fixture in fixtures() {
        let found = distance(&fixture, &whole(&mut load(&fixture.path), &fixture.tokens));
        println!("{:28} {found:.4}", fixture.name);
        if found.is_nan() || found > BOUND {
            failed.push(format!("{} {found:.4}", fixture.name));
        }
    }
    assert!(failed.is_empty(), "mean |Δ logprob| over {BOUND}: {failed:?}");
}

#[test]
fn floats_quantised_on_loading_stay_near() {
    for name in ["llama-f32", "qwen2-bf16", "qwen3-f16"] {
        let fixture = fixture(name);
        let plain = load(&fixture.path);
        let mut small = try_load(&fixture.path, LoadSettings { quantize_q8_0: true }, None, 1).unwrap();
        assert!(small.weight_bytes() * 10 < plain.weight_bytes() * 6, "{name}: {} bytes", small.weight_bytes());
        let found = distance(&fixture, &whole(&mut small, &fixture.tokens));
        println!("{name:28} {found:.4}");
        assert!(found < 0.05, "{name}: {found}");
        assert!(found > 0.004, "{name}: {found} is too near for rounded weights");
    }
}
