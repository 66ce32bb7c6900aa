//! Fixtures and the small steps that the tests share.

use orrery_kernels::Compute;
use orrery_kernels::attention::{BLOCK_TOKENS, KvCache};
use orrery_kernels::isa::Isa;
use orrery_model::{Batch, Error, LoadSettings, Model, Span};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A tiny model with the logits that transformers computes for its tokens.
pub struct Fixture {
    pub name: String,
    pub path: PathBuf,
    pub tokens: Vec<u32>,
    /// tokens × vocabulary
    pub logits: Vec<f32>,
    pub vocabulary: usize,
    /// Mean |Δ logprob| of an emulation of our roundings.
    pub noise: f64,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

pub fn tokens(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}

pub fn fixtures() -> Vec<Fixture> {
    let folder = folder();
    let index = json(&folder.join("logits/index.json"));
    let vocabulary = index["vocabulary"].as_u64().unwrap() as usize;
    let read = |row: &serde_json::Value| {
        let name = row["name"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(folder.join(format!("logits/{name}.f32"))).unwrap();
        let logits = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<_>>();
        let tokens = tokens(&row["tokens"]);
        assert_eq!(logits.len(), tokens.len() * vocabulary);
        let noise = row["noise"].as_f64().unwrap();
        Fixture { noise, path: folder.join(row["model"].as_str().unwrap()), name, tokens, logits, vocabulary }
    };
    let all = index["models"].as_array().unwrap().iter().map(read).collect::<Vec<_>>();
    assert!(all.len() > 20, "{} fixtures", all.len());
    all
}

pub fn fixture(name: &str) -> Fixture {
    fixtures().into_iter().find(|fixture| fixture.name == name).unwrap_or_else(|| panic!("no fixture {name}"))
}

pub fn try_load(path: &Path, settings: LoadSettings, isa: Option<Isa>, threads: usize) -> Result<Model, Error> {
    Model::load(path, settings, Compute::new(isa, Some(threads)).unwrap(), &mut |_| ())
}

pub fn load(path: &Path) -> Model {
    load_on(path, None, 1)
}

pub fn load_on(path: &Path, isa: Option<Isa>, threads: usize) -> Model {
    try_load(path, LoadSettings::default(), isa, threads).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Logits of every row of `tokens`, in one step from an empty cache.
pub fn whole(model: &mut Model, tokens: &[u32]) -> Vec<f32> {
    let count = tokens.len().div_ceil(BLOCK_TOKENS);
    let mut cache = model.kv_cache(count).unwrap();
    let blocks = (0..count as u32).collect::<Vec<_>>();
    step(model, &mut cache, &[(tokens, 0, &blocks)])
}

/// Logits of every row of one step of (tokens, position, blocks).
pub fn step(model: &mut Model, cache: &mut KvCache, parts: &[(&[u32], usize, &[u32])]) -> Vec<f32> {
    let mut batch = Batch::default();
    for &(tokens, position, blocks) in parts {
        let row = batch.tokens.len();
        batch.spans.push(Span { row, count: tokens.len(), position, stored: 0, blocks: blocks.to_vec() });
        batch.tokens.extend(tokens);
    }
    batch.logits_rows = (0..batch.tokens.len()).collect();
    let mut logits = Vec::new();
    model.forward(&batch, cache, &mut logits);
    logits
}

/// log softmax of a row, in float64.
pub fn log_probabilities(logits: &[f32]) -> impl Iterator<Item = f64> + '_ {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = logits.iter().map(|&logit| f64::from(logit - max).exp()).sum::<f64>();
    let total = f64::from(max) + sum.ln();
    logits.iter().map(move |&logit| f64::from(logit) - total)
}

/// Bits, so that a comparison is one of equality (and of NaN too).
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The real SmolLM2-135M-Instruct Q4_1, in the folder that the tests of the product share (`target/models`). Where it is
/// not there yet, the product pulls it. Never skips: without the model the test fails.
pub fn smollm2_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
        let data = target.join("models");
        let path = data.join("models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
        if !path.exists() {
            let pulled = Command::new(env!("CARGO"))
                .args([
                    "run",
                    "--quiet",
                    "--package",
                    "orrery-cli",
                    "--",
                    "pull",
                    "smollm2-135m-instruct",
                    "--data-dir",
                ])
                .arg(&data)
                .status();
            assert!(pulled.is_ok_and(|status| status.success()), "the model for the tests cannot be pulled");
        }
        path
    })
}
