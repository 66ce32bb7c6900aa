//! Opened model files: hyper-parameters and tensors under GGUF's names, wherever they came from.
//!
//! Must not know: what an architecture does with its tensors. Files are read by position and never mapped, so that one
//! that is cut short or goes away while the model loads is an error, not a fault of the process. Everything in a file
//! is hostile until checked: no length, count or offset leads to an allocation past the file's own size.
//!
//! Start at [`Checkpoint::open`]; [`gguf`] and [`safetensors`] read the containers, [`huggingface`] the folder.

mod config;
mod file;
mod gguf;
mod gguf_hyper;
mod huggingface;
mod hyper;
mod safetensors;

pub use hyper::{Hyper, RopeScaling};

use crate::Error;
use file::WeightFile;
use orrery_kernels::quant::Format;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What a checkpoint can be made of, for messages.
const SUPPORTED_FILES: &str = "a GGUF file, or a folder with config.json, tokenizer.json and *.safetensors";

/// What is known of a tensor without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub format: Format,
    /// Outermost first: a matrix is [outputs, inputs].
    pub shape: Vec<usize>,
}

/// A tensor and where its bytes are; `offset` and `bytes` lie inside the file as it was on opening.
#[derive(Debug)]
struct Stored {
    info: TensorInfo,
    file: usize,
    offset: u64,
    bytes: usize,
}

/// An opened model: a GGUF file or a Hugging Face folder.
#[derive(Debug)]
pub struct Checkpoint {
    hyper: Hyper,
    files: Vec<WeightFile>,
    tensors: Vec<Stored>,
    index: HashMap<String, usize>,
    text: TextSource,
}

impl Checkpoint {
    /// Opens and validates; reads no weights yet. `path` is a GGUF file or a Hugging Face folder.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        if metadata.is_dir() { huggingface::open(path) } else { gguf_hyper::open(path) }
    }

    /// From where [`Checkpoint::open`] reads: the file, or the folders of a model, with all links resolved.
    ///
    /// # Errors
    /// [`Error::Io`] where there is nothing.
    pub fn places(path: &Path) -> Result<Vec<PathBuf>, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            return huggingface::roots(path);
        }
        Ok(vec![path.canonicalize().map_err(io)?])
    }

    /// Puts the parts together. Names are unique; the embedding must have the shape that `hyper` says.
    fn new(
        path: &Path,
        hyper: Hyper,
        files: Vec<WeightFile>,
        tensors: Vec<Stored>,
        text: TextSource,
    ) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
        let mut index = HashMap::with_capacity(tensors.len());
        for (at, tensor) in tensors.iter().enumerate() {
            if index.insert(tensor.info.name.clone(), at).is_some() {
                return Err(malformed(format!("tensor `{}` is there twice", tensor.info.name)));
            }
        }
        let want = [hyper.vocabulary, hyper.hidden];
        match index.get("token_embd.weight").map(|at| &tensors[*at].info.shape) {
            Some(shape) if *shape == want => {}
            Some(shape) => {
                return Err(malformed(format!("the token embedding has shape {shape:?}; {want:?} was declared")));
            }
            None => return Err(malformed("it has no token embedding (`token_embd.weight`)".to_owned())),
        }
        Ok(Self { hyper, files, tensors, index, text })
    }

    pub fn hyper(&self) -> &Hyper {
        &self.hyper
    }

    /// Names are GGUF's (`token_embd.weight`, `blk.0.attn_q.weight`), for Hugging Face folders too. A model without
    /// `output.weight` shares the embedding's.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|at| &self.tensors[*at].info)
    }

    /// All tensors, known to an architecture or not.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().map(|tensor| &tensor.info)
    }

    /// The tensor's bytes in its stored format: `format.bytes(shape.product())` of them.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let Some(at) = self.index.get(name) else {
            return Err(Error::Tensor { name: name.to_owned(), reason: "missing".to_owned() });
        };
        let tensor = &self.tensors[*at];
        self.files[tensor.file].read(tensor.offset, tensor.bytes)
    }

    /// Where the tokenizer and the chat template come from.
    pub fn text(&self) -> &TextSource {
        &self.text
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

/// GGUF's `tokenizer.ggml.*` keys. Token ids are below the model's vocabulary; `scores` and `token_types` are empty or
/// as long as `tokens`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufText {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE); empty when the file does not say.
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
    pub eom: Option<u32>,
    pub unknown: Option<u32>,
    pub padding: Option<u32>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
    pub chat_template: Option<String>,
}

/// Two tensors of one file that share a byte, if there are any; empty ones share none.
fn overlap<'a>(tensors: impl Iterator<Item = &'a Stored>) -> Option<(&'a Stored, &'a Stored)> {
    let mut sorted: Vec<&Stored> = tensors.filter(|tensor| tensor.bytes > 0).collect();
    sorted.sort_by_key(|tensor| tensor.offset);
    sorted.windows(2).map(|pair| (pair[0], pair[1])).find(|(a, b)| a.offset + a.bytes as u64 > b.offset)
}
