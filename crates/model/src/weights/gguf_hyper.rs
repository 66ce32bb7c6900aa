//! A GGUF file as a checkpoint: its keys as hyper-parameters and tokenizer, by the names of llama.cpp's converter.

use super::file::WeightFile;
use super::gguf::{self, Value};
use super::hyper::within_window;
use super::{Checkpoint, GgufText, Hyper, RopeScaling, Stored, TextSource};
use crate::{Error, arch};
use orrery_kernels::quant::{Format, dequantize};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

/// Frequency factors of the rotary embedding, which converters write as a tensor.
const ROPE_FACTORS: &str = "rope_freqs.weight";

pub(super) fn open(path: &Path) -> Result<Checkpoint, Error> {
    let file = WeightFile::open(path)?;
    let mut container = gguf::read(&file)?;
    let factors = take_rope_factors(&file, &mut container.tensors)?;
    let mut keys = Keys { file: &file, values: container.values };
    let hyper = hyper(&mut keys, &container.tensors, factors)?;
    if let Some(reason) = hyper.insane() {
        return Err(file.malformed(reason));
    }
    let text = text(&mut keys, hyper.vocabulary)?;
    Checkpoint::new(path, hyper, vec![file], container.tensors, TextSource::Gguf(text))
}

/// The metadata, with errors that name the key.
struct Keys<'a> {
    file: &'a WeightFile,
    values: HashMap<String, Value>,
}

impl Keys<'_> {
    /// The value of `key` as what `read` makes of it; it is taken out. Absent is fine, another type is not.
    fn optional<T>(&mut self, key: &str, want: &str, read: impl Fn(Value) -> Option<T>) -> Result<Option<T>, Error> {
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        let shown = if let Value::Skipped = value { "an array".to_owned() } else { shorten(&value) };
        let reason = || self.file.malformed(format!("key `{key}` is {shown}; {want} is needed"));
        read(value).map(Some).ok_or_else(reason)
    }

    fn size(&mut self, key: &str) -> Result<Option<usize>, Error> {
        self.optional(key, "a whole number", |value| match value {
            Value::Unsigned(number) => usize::try_from(number).ok(),
            Value::Signed(number) => usize::try_from(number).ok(),
            _ => None,
        })
    }

    fn needed_size(&mut self, key: &str) -> Result<usize, Error> {
        self.size(key)?.ok_or_else(|| self.file.malformed(format!("key `{key}` is missing")))
    }

    fn float(&mut self, key: &str) -> Result<Option<f64>, Error> {
        self.optional(key, "a number", |value| match value {
            Value::Float(number) => Some(number),
            Value::Unsigned(number) => Some(number as f64),
            Value::Signed(number) => Some(number as f64),
            _ => None,
        })
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, Error> {
        self.optional(key, "a text", |value| if let Value::Text(text) = value { Some(text) } else { None })
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, Error> {
        self.optional(key, "true or false", |value| if let Value::Bool(flag) = value { Some(flag) } else { None })
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, Error> {
        let texts =
            self.optional(key, "a list of texts", |value| if let Value::Texts(v) = value { Some(v) } else { None });
        Ok(texts?.unwrap_or_default())
    }
}

/// A value for a message, cut to a readable length; no more than that is written of a long one.
fn shorten(value: &Value) -> String {
    struct Short(String);
    impl std::fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push_str(text);
            if self.0.len() > 240 { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut shown = Short(String::new());
    let _ = write!(shown, "{value:?}");
    match shown.0.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &shown.0[..at]),
        None => shown.0,
    }
}

fn hyper(keys: &mut Keys<'_>, tensors: &[Stored], factors: Option<Vec<f32>>) -> Result<Hyper, Error> {
    let file = keys.file;
    let missing = || file.malformed("key `general.architecture` is missing".to_owned());
    let row = arch::find(&keys.text("general.architecture")?.ok_or_else(missing)?)?;
    let architecture = row.name;
    if keys.size("split.count")?.is_some_and(|count| count > 1) {
        let found = "one part of a split file".to_owned();
        return Err(unsupported(
            "GGUF file",
            found,
            "one file (join the parts with llama-gguf-split --merge)".to_owned(),
        ));
    }
    let key = |name: &str| format!("{architecture}.{name}");
    if let Some(experts) = keys.size(&key("expert_count"))?.filter(|experts| *experts > 0) {
        return Err(unsupported("mixture of experts", experts.to_string(), "dense models".to_owned()));
    }
    let hidden = keys.needed_size(&key("embedding_length"))?;
    let heads = keys.needed_size(&key("attention.head_count"))?;
    let head_dim = match keys.size(&key("attention.key_length"))? {
        Some(length) => length,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    if let Some(length) = keys.size(&key("attention.value_length"))?.filter(|length| *length != head_dim) {
        let found = format!("{length} for keys of {head_dim}");
        return Err(unsupported("value head dimension", found, "the same for keys and values".to_owned()));
    }
    let trained = keys.needed_size(&key("context_length"))?;
    let window = keys.size(&key("attention.sliding_window"))?.filter(|window| *window > 0);
    let tokens = match keys.values.get("tokenizer.ggml.tokens") {
        Some(Value::Texts(tokens)) => tokens.len(),
        _ => 0,
    };
    // The embedding's rows are the vocabulary; `Checkpoint::new` checks its columns, and that it is there.
    let embedding = tensors.iter().find(|tensor| tensor.info.name == "token_embd.weight");
    Ok(Hyper {
        layers: keys.needed_size(&key("block_count"))?,
        hidden,
        heads,
        kv_heads: keys.size(&key("attention.head_count_kv"))?.unwrap_or(heads),
        head_dim,
        intermediate: keys.needed_size(&key("feed_forward_length"))?,
        vocabulary: embedding.map_or(tokens, |tensor| tensor.info.shape[0]),
        context: window.map_or(trained, |window| within_window(trained, window)),
        rms_eps: keys.float(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-5) as f32,
        rope_theta: keys.float(&key("rope.freq_base"))?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(keys, architecture, trained, factors)?,
        rope_dim: keys.size(&key("rope.dimension_count"))?.unwrap_or(head_dim),
        rope_interleaved: row.gguf_interleaved,
        architecture: architecture.to_owned(),
    })
}

fn rope_scaling(
    keys: &mut Keys<'_>,
    architecture: &str,
    context: usize,
    factors: Option<Vec<f32>>,
) -> Result<RopeScaling, Error> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let kind = keys.text(&key("scaling.type"))?;
    let older = keys.float(&key("scale_linear"))?;
    let factor = keys.float(&key("scaling.factor"))?.or(older).unwrap_or(1.0);
    let stretched = match kind.as_deref() {
        Some("none") => RopeScaling::None,
        // Without a type the factor is a linear one. 0 and 1 stretch nothing.
        None | Some("linear") if factor == 1.0 || factor == 0.0 => RopeScaling::None,
        None | Some("linear") => RopeScaling::Linear { factor },
        Some("yarn") => RopeScaling::Yarn {
            factor,
            original_context: keys.float(&key("scaling.original_context_length"))?.unwrap_or(context as f64),
            beta_fast: keys.float(&key("scaling.yarn_beta_fast"))?.unwrap_or(32.0),
            beta_slow: keys.float(&key("scaling.yarn_beta_slow"))?.unwrap_or(1.0),
            attention_factor: yarn_attention_factor(keys, &key, factor)?,
        },
        Some(other) => {
            return Err(unsupported("rope scaling", other.to_owned(), "none, linear, yarn, rope_freqs".to_owned()));
        }
    };
    match (factors, stretched) {
        (None, stretched) => Ok(stretched),
        (Some(factors), RopeScaling::None) => Ok(RopeScaling::Factors(factors)),
        (Some(_), _) => {
            let found = format!("`{ROPE_FACTORS}` together with a factor of {factor}");
            Err(unsupported("rope scaling", found, "one of them".to_owned()))
        }
    }
}

/// llama.cpp multiplies YaRN's own 1 + 0.1·ln(factor) by these keys.
fn yarn_attention_factor(
    keys: &mut Keys<'_>,
    key: &impl Fn(&str) -> String,
    factor: f64,
) -> Result<Option<f64>, Error> {
    let general = keys.float(&key("scaling.attn_factor"))?.unwrap_or(1.0);
    let yarn = keys.float(&key("scaling.yarn_attn_factor"))?.unwrap_or(1.0);
    let product = general * yarn;
    Ok((product != 1.0).then(|| product * (1.0 + 0.1 * factor.max(1.0).ln())))
}

/// Takes `rope_freqs.weight` out of the tensors and reads it.
fn take_rope_factors(file: &WeightFile, tensors: &mut Vec<Stored>) -> Result<Option<Vec<f32>>, Error> {
    let Some(at) = tensors.iter().position(|tensor| tensor.info.name == ROPE_FACTORS) else { return Ok(None) };
    let tensor = tensors.remove(at);
    let (format, shape) = (tensor.info.format, tensor.info.shape);
    if format != Format::F32 || shape.len() != 1 || shape[0] > super::hyper::HEAD_DIM_MAX {
        let reason = format!("{format} of shape {shape:?}; F32 with one factor per pair of dimensions is needed");
        return Err(Error::Tensor { name: tensor.info.name, reason });
    }
    let mut factors = vec![0.0; shape[0]];
    dequantize(format, &file.read(tensor.offset, tensor.bytes)?, &mut factors)?;
    Ok(Some(factors))
}

fn text(keys: &mut Keys<'_>, vocabulary: usize) -> Result<GgufText, Error> {
    let ggml = |name: &str| format!("tokenizer.ggml.{name}");
    let tokens = keys.texts(&ggml("tokens"))?;
    let scores = keys.optional(&ggml("scores"), "a list of f32", |value| match value {
        Value::Floats(scores) => Some(scores),
        _ => None,
    })?;
    let token_types = keys.optional(&ggml("token_type"), "a list of i32", |value| match value {
        Value::Integers(types) => Some(types),
        _ => None,
    })?;
    let (scores, token_types) = (scores.unwrap_or_default(), token_types.unwrap_or_default());
    if tokens.len() > vocabulary {
        return Err(keys.file.malformed(format!("{} tokens for an embedding of {vocabulary} rows", tokens.len())));
    }
    for (what, length) in [("scores", scores.len()), ("token types", token_types.len())] {
        if length != 0 && length != tokens.len() {
            return Err(keys.file.malformed(format!("{length} {what} for {} tokens", tokens.len())));
        }
    }
    let mut id = |name: &str| -> Result<Option<u32>, Error> {
        let id = keys.size(&ggml(name))?;
        if let Some(id) = id.filter(|id| *id >= vocabulary) {
            tracing::warn!(key = name, id, vocabulary, "token id past the vocabulary, left out");
        }
        Ok(id.filter(|id| *id < vocabulary).map(|id| id as u32))
    };
    Ok(GgufText {
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        eom: id("eom_token_id")?,
        unknown: id("unknown_token_id")?,
        padding: id("padding_token_id")?,
        model: keys.text(&ggml("model"))?.unwrap_or_default(),
        pre: keys.text(&ggml("pre"))?,
        merges: keys.texts(&ggml("merges"))?,
        add_bos: keys.flag(&ggml("add_bos_token"))?,
        add_eos: keys.flag(&ggml("add_eos_token"))?,
        add_space_prefix: keys.flag(&ggml("add_space_prefix"))?,
        chat_template: keys.text("tokenizer.chat_template")?,
        tokens,
        scores,
        token_types,
    })
}

fn unsupported(what: &'static str, found: String, supported: String) -> Error {
    Error::Unsupported { what, found, supported }
}
