//! Opened model files: hyper-parameters and tensors under GGUF's names, wherever they came from.

use crate::Error;
use orrery_kernels::quant::Format;
use std::path::Path;

/// Hyper-parameters of a decoder-only transformer, the same for every source.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// `llama`, `qwen2`, `qwen3`.
    pub architecture: String,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub intermediate: usize,
    pub vocabulary: usize,
    /// Longest context in tokens.
    pub context: usize,
    pub rms_eps: f32,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    /// Dimensions that are rotated, usually `head_dim`.
    pub rope_dim: usize,
    /// Rows of attn_q and attn_k are in the interleaved order of GGUF's `llama` files (rotate pairs 2i, 2i+1) and have to
    /// be reordered to rotate-half (i, i + d/2) on loading.
    pub rope_interleaved: bool,
}

/// How rotary frequencies are stretched past the trained context.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    None,
    Linear {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    Yarn {
        factor: f64,
        original_context: f64,
        beta_fast: f64,
        beta_slow: f64,
        attention_factor: Option<f64>,
    },
    /// Each frequency is divided by its factor (GGUF's `rope_freqs.weight`).
    Factors(Vec<f32>),
}

/// What is known of a tensor without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub format: Format,
    /// Outermost first: a matrix is [outputs, inputs].
    pub shape: Vec<usize>,
}

/// An opened model: a GGUF file or a Hugging Face folder.
pub struct Checkpoint {
    hyper: Hyper,
}

impl Checkpoint {
    /// Opens and validates; reads no weights yet.
    pub fn open(_path: &Path) -> Result<Self, Error> {
        todo!()
    }

    pub fn hyper(&self) -> &Hyper {
        &self.hyper
    }

    /// Names are GGUF's (`token_embd.weight`, `blk.0.attn_q.weight`), for Hugging Face folders too.
    pub fn tensor(&self, _name: &str) -> Option<&TensorInfo> {
        todo!()
    }

    /// All tensors, known to an architecture or not.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        [].iter()
    }

    /// The tensor's bytes in its stored format.
    pub fn read(&self, _name: &str) -> Result<Vec<u8>, Error> {
        todo!()
    }

    /// Where the tokenizer and the chat template come from.
    pub fn text(&self) -> &TextSource {
        todo!()
    }
}

/// The raw material of tokenizer and template.
#[derive(Debug, Clone)]
pub enum TextSource {
    /// GGUF's `tokenizer.ggml.*` keys.
    Gguf(GgufText),
    /// The contents of `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`/`config.json`, and of a
    /// `chat_template.jinja` where there is one.
    HuggingFace {
        tokenizer: String,
        tokenizer_config: Option<String>,
        generation_config: Option<String>,
        config: String,
        chat_template: Option<String>,
    },
}

/// GGUF's `tokenizer.ggml.*` keys.
#[derive(Debug, Clone, Default)]
pub struct GgufText {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// Pre-tokenizer name: `smollm`, `llama-bpe`, `qwen2`, …
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Vec<f32>,
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    pub merges: Vec<String>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub eot: Option<u32>,
    pub unknown: Option<u32>,
    pub padding: Option<u32>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
    pub chat_template: Option<String>,
}
