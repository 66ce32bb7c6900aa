//! Logits of tiny random models against transformers in float32 (`fixtures/make_logits.py`).
//!
//! The bound: `noise` of a fixture is the mean |Δ logprob| that torch gets when it rounds to bf16 where we do (inputs of
//! matrices, keys, values, probabilities; float weights). The same roundings in another order of sums differ by a few
//! percent of it from model to model, 14 % at most as measured; `SLACK` allows 30 %. The mistakes of
//! `mistakes_are_far_outside` are at three times the bound or more.

use crate::support::{Fixture, fixture, fixtures, load, log_probabilities, try_load, whole};
use orrery_model::LoadSettings;
use std::path::Path;

/// Our mean |Δ logprob| over that of torch's emulation.
const SLACK: f64 = 1.3;

/// Mean |Δ logprob| from the reference, over all positions and all tokens of the vocabulary.
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
        let line = format!("{:28} {found:.4}, noise {:.4}", fixture.name, fixture.noise);
        println!("{line}");
        if found.is_nan() || found > SLACK * fixture.noise {
            failed.push(line);
        }
    }
    assert!(failed.is_empty(), "mean |Δ logprob| over {SLACK} of the noise of bf16: {failed:#?}");
}

#[test]
fn floats_quantised_on_loading_stay_near() {
    for name in ["llama-f32", "qwen2-bf16", "qwen3-f16"] {
        let fixture = fixture(name);
        let mut plain = load(&fixture.path);
        let mut small = try_load(&fixture.path, LoadSettings { quantize_q8_0: true }, None, 1).unwrap();
        assert!(small.weight_bytes() * 10 < plain.weight_bytes() * 6, "{name}: {} bytes", small.weight_bytes());
        // A weight of Q8_0 errs by about 0.5 % of the spread of its block, one of bf16 by 0.1 %.
        let times = distance(&fixture, &whole(&mut small, &fixture.tokens))
            / distance(&fixture, &whole(&mut plain, &fixture.tokens));
        println!("{name:28} {times:.2} times the distance");
        assert!((1.2..5.0).contains(&times), "{name}: {times} times the distance");
    }
}

/// Loads a changed copy of the Hugging Face folder `name` (edit of the configuration, names of tensors exchanged) and
/// expects the test above to notice.
#[track_caller]
fn check_mistake(name: &str, setting: Option<(&str, &str)>, exchanged: Option<(&str, &str)>) {
    let mut fixture = fixture(name);
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        std::fs::copy(fixture.path.join(file), folder.path().join(file)).unwrap();
    }
    if let Some((from, to)) = setting {
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text} does not contain {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
    if let Some((one, other)) = exchanged {
        exchange(&folder.path().join("model.safetensors"), one, other);
    }
    fixture.path = folder.path().to_owned();
    let found = distance(&fixture, &whole(&mut load(&fixture.path), &fixture.tokens));
    let bound = SLACK * fixture.noise;
    println!("{name:28} {found:.4}, bound {bound:.4}: {setting:?} {exchanged:?}");
    assert!(found > 3.0 * bound, "{name}: {setting:?} {exchanged:?} gives only {found} beside the bound {bound}");
}

/// Exchanges two parts of tensor names in a safetensors header.
fn exchange(path: &Path, one: &str, other: &str) {
    let bytes = std::fs::read(path).unwrap();
    let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains(one) && header.contains(other), "{header}");
    let mut header = header.replace(one, "\u{1}").replace(other, one).replace('\u{1}', other);
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()).unwrap();
}

#[test]
fn mistakes_are_far_outside() {
    let eps = Some(("\"rms_norm_eps\": 0.02", "\"rms_norm_eps\": 1e-05"));
    check_mistake("llama-f32", eps, None);
    check_mistake("llama-f32", None, Some(("gate_proj", "up_proj")));
    check_mistake("llama-f32", None, Some(("k_proj", "v_proj")));
    check_mistake("llama-f32", None, Some(("input_layernorm", "post_attention_layernorm")));
    check_mistake("llama-f32", None, Some(("layers.0", "layers.1")));
    check_mistake("mistral-bf16", Some(("1000000.0", "10000.0")), None);
    check_mistake("qwen2-bf16", None, Some(("k_proj.bias", "v_proj.bias")));
    check_mistake("qwen3-f16", None, Some(("q_norm", "k_norm")));
    check_mistake("llama-rope-llama3", Some(("\"rope_type\": \"llama3\"", "\"rope_type\": \"default\"")), None);
    check_mistake("llama-rope-llama3", Some(("\"factor\": 8.0", "\"factor\": 2.0")), None);
    check_mistake("llama-rope-linear", Some(("\"factor\": 4.0", "\"factor\": 2.0")), None);
    check_mistake("llama-rope-yarn", Some(("\"factor\": 4.0", "\"factor\": 2.0")), None);
}
