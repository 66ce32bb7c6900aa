//! `config.json` of a Hugging Face folder as hyper-parameters, with the defaults of transformers' own classes.

use super::hyper::within_window;
use super::{Hyper, RopeScaling};
use crate::Error;
use crate::arch::{self, Class, Window};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// What `config.json` says beyond the hyper-parameters.
pub(super) struct Config {
    pub hyper: Hyper,
    /// `output.weight` is the embedding.
    pub tied: bool,
}

#[derive(Deserialize)]
struct Raw {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    /// transformers 5 writes rope_theta and rope_scaling as one.
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    /// Outer `None` is absent, inner `None` is `null`: Mistral's default is a window, its `null` is none.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    quantization_config: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::<usize>::deserialize(deserializer).map(Some)
}

/// Reads the text of the `config.json` at `path`.
pub(super) fn parse(path: &Path, json: &str) -> Result<Config, Error> {
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
    let raw: Raw = serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
    let (architecture, class) = architecture(&raw)?;
    refuse_variants(&raw)?;
    let derived = raw.hidden_size.checked_div(raw.num_attention_heads).unwrap_or(0);
    let head_dim = raw.head_dim.or(class.head_dim).unwrap_or(derived);
    let (rope_theta, rope_scaling) = rope(&raw).map_err(|error| match error {
        RopeError::Malformed(reason) => malformed(reason),
        RopeError::Unsupported(error) => error,
    })?;
    let rotated = partial_rotary_factor(&raw).unwrap_or(1.0).clamp(0.0, 1.0);
    let hyper = Hyper {
        architecture: architecture.to_owned(),
        layers: raw.num_hidden_layers,
        hidden: raw.hidden_size,
        heads: raw.num_attention_heads,
        kv_heads: raw.num_key_value_heads.or(class.kv_heads).unwrap_or(raw.num_attention_heads),
        head_dim,
        intermediate: raw.intermediate_size,
        vocabulary: raw.vocab_size,
        context: context(&raw, class.window, &rope_scaling),
        rms_eps: raw.rms_norm_eps.unwrap_or(1e-6) as f32,
        rope_theta,
        rope_scaling,
        rope_dim: (head_dim as f64 * rotated) as usize,
        rope_interleaved: false,
    };
    match hyper.insane() {
        Some(reason) => Err(malformed(reason)),
        None => Ok(Config { hyper, tied: raw.tie_word_embeddings.unwrap_or(false) }),
    }
}

/// The architecture's name here and its class: by class, or by `model_type` where no class is named.
fn architecture(raw: &Raw) -> Result<(&'static str, &'static Class), Error> {
    let class = raw.architectures.as_deref().and_then(<[String]>::first);
    let wanted = |row: &Class| match (class, &raw.model_type) {
        (Some(class), _) => row.name == class,
        (None, model_type) => Some(row.model_type) == model_type.as_deref(),
    };
    arch::classes().find(|(_, row)| wanted(row)).ok_or_else(|| {
        let found = class.or(raw.model_type.as_ref()).map_or("none", String::as_str);
        let supported = arch::classes().map(|(_, row)| row.name).collect::<Vec<_>>();
        unsupported("architecture", found, &supported.join(", "))
    })
}

/// What would compute something else than the architectures here do.
fn refuse_variants(raw: &Raw) -> Result<(), Error> {
    if let Some(act) = raw.hidden_act.as_deref().filter(|act| !matches!(*act, "silu" | "swish")) {
        return Err(unsupported("activation function", act, "silu"));
    }
    if let Some(config) = &raw.quantization_config {
        let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed");
        return Err(unsupported("quantised checkpoint", method, "F32, F16 and BF16 weights, or a GGUF file"));
    }
    Ok(())
}

fn unsupported(what: &'static str, found: &str, supported: &str) -> Error {
    Error::Unsupported { what, found: found.to_owned(), supported: supported.to_owned() }
}

/// The longest context: the trained one, what YaRN stretches it to, and no more than a sliding window.
fn context(raw: &Raw, window: Window, scaling: &RopeScaling) -> usize {
    let trained = raw.max_position_embeddings;
    let context = match scaling {
        RopeScaling::Yarn { factor, original_context, .. } => trained.max((factor * original_context) as usize),
        _ => trained,
    };
    let slides = match window {
        Window::Always => true,
        Window::Never => false,
        Window::WhereAsked => {
            raw.use_sliding_window == Some(true) && raw.max_window_layers.unwrap_or(28) < raw.num_hidden_layers
        }
    };
    // The classes' default where the key is absent: 4096.
    match raw.sliding_window.unwrap_or(Some(4096)) {
        Some(window) if slides => within_window(context, window),
        _ => context,
    }
}

enum RopeError {
    Malformed(String),
    Unsupported(Error),
}

fn partial_rotary_factor(raw: &Raw) -> Option<f64> {
    let inside = raw.rope_parameters.as_ref().and_then(|map| map.get("partial_rotary_factor")).and_then(Value::as_f64);
    inside.or(raw.partial_rotary_factor)
}

/// Base and scaling, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling`.
fn rope(raw: &Raw) -> Result<(f64, RopeScaling), RopeError> {
    let empty = Map::new();
    let map = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref()).unwrap_or(&empty);
    let theta = map.get("rope_theta").and_then(Value::as_f64).or(raw.rope_theta).unwrap_or(10_000.0);
    let kind = map.get("rope_type").or_else(|| map.get("type"));
    let kind = match kind {
        None if map.values().any(Value::is_object) => Some("different scaling per layer"),
        None => None,
        Some(kind) => Some(kind.as_str().unwrap_or("not a text")),
    };
    let optional = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let reason = || RopeError::Malformed(format!("rope scaling: `{name}` is {value}; a number is needed"));
            value.as_f64().map(Some).ok_or_else(reason)
        }
    };
    let needed =
        |name: &str| optional(name)?.ok_or_else(|| RopeError::Malformed(format!("rope scaling: `{name}` is missing")));
    let trained = raw.max_position_embeddings as f64;
    let scaling = match kind {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: needed("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: needed("factor")?,
            low_freq_factor: needed("low_freq_factor")?,
            high_freq_factor: needed("high_freq_factor")?,
            original_context: optional("original_max_position_embeddings")?.unwrap_or(trained),
        },
        Some("yarn") => {
            if map.get("truncate") == Some(&Value::Bool(false)) {
                let error = unsupported("rope scaling", "yarn with truncate = false", "yarn with truncate = true");
                return Err(RopeError::Unsupported(error));
            }
            let original_context = optional("original_max_position_embeddings")?.unwrap_or(trained);
            let factor = optional("factor")?.unwrap_or(trained / original_context);
            let (mscale, all) = (optional("mscale")?, optional("mscale_all_dim")?);
            let own = mscale.zip(all).filter(|(mscale, all)| *mscale != 0.0 && *all != 0.0);
            RopeScaling::Yarn {
                factor,
                original_context,
                beta_fast: optional("beta_fast")?.filter(|beta| *beta != 0.0).unwrap_or(32.0),
                beta_slow: optional("beta_slow")?.filter(|beta| *beta != 0.0).unwrap_or(1.0),
                attention_factor: optional("attention_factor")?
                    .or(own.map(|(mscale, all)| magnitude(factor, mscale) / magnitude(factor, all))),
            }
        }
        Some(other) => {
            return Err(RopeError::Unsupported(unsupported("rope scaling", other, "default, linear, llama3, yarn")));
        }
    };
    Ok((theta, scaling))
}

/// `get_mscale` of transformers' `_compute_yarn_parameters`.
fn magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}
