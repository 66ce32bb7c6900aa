//! A Hugging Face folder as a checkpoint: `config.json`, the tokenizer's files, one or many safetensors.
//!
//! Every file is read from inside the folder. A symbolic link may lead to another file of the folder, and in the hub's
//! cache (`models--ORG--NAME/snapshots/REVISION`) to that model's `blobs`, and nowhere else.

use super::file::WeightFile;
use super::safetensors::{self, Entry};
use super::{Checkpoint, Stored, TensorInfo, TextSource, config};
use crate::Error;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Largest JSON or template file of a folder, in bytes; the largest tokenizers have about 35 MB. Parsed, a hostile one
/// takes tens of times its size.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Most shards; the largest public models have under 200. Each stays open while the model loads.
const SHARDS_MAX: usize = 512;

pub(super) fn open(path: &Path) -> Result<Checkpoint, Error> {
    let folder = Folder::open(path)?;
    let config_json = folder.needed_text("config.json")?;
    let config = config::parse(&path.join("config.json"), &config_json)?;
    let (files, mut tensors) = folder.tensors()?;
    let has_output = tensors.iter().any(|tensor| tensor.info.name == "output.weight");
    match (config.tied, has_output) {
        (true, true) => tensors.retain(|tensor| tensor.info.name != "output.weight"),
        (false, false) => {
            let reason = "`lm_head.weight` is missing, and `tie_word_embeddings` is not true".to_owned();
            return Err(folder.malformed(reason));
        }
        _ => {}
    }
    let text = TextSource::HuggingFace {
        tokenizer: folder.needed_text("tokenizer.json")?,
        tokenizer_config: folder.text("tokenizer_config.json")?,
        generation_config: folder.text("generation_config.json")?,
        config: config_json,
        chat_template: folder.text("chat_template.jinja")?,
    };
    Checkpoint::new(path, config.hyper, files, tensors, text)
}

/// The folder, and where its files may really be.
struct Folder {
    path: PathBuf,
    /// With all links resolved.
    roots: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The folders in which a model's files may be: its own, and the hub's cache of the same model.
pub(super) fn roots(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let root = path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut roots = vec![];
    if let Some(snapshots) = root.parent().filter(|parent| parent.ends_with("snapshots"))
        && let Some(model) = snapshots.parent()
        && model.file_name().is_some_and(|name| name.to_string_lossy().starts_with("models--"))
    {
        roots.push(model.join("blobs"));
    }
    roots.push(root);
    Ok(roots)
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), roots: roots(path)? })
    }

    fn malformed(&self, reason: String) -> Error {
        Error::Malformed { path: self.path.clone(), reason }
    }

    /// Where `name` really is; `None` when it is not there.
    fn find(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        let path = self.path.join(name);
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        if self.roots.iter().any(|root| real.starts_with(root)) {
            return Ok(Some(real));
        }
        Err(self.malformed(format!("`{name}` is a link that leads out of the folder; put the file itself there")))
    }

    /// The contents of the text file `name`, if it is there.
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.find(name)? else { return Ok(None) };
        let file = WeightFile::open(&path)?;
        if file.length() > TEXT_BYTES_MAX {
            let reason = format!("`{name}` has {} bytes, over the limit of {TEXT_BYTES_MAX}", file.length());
            return Err(self.malformed(reason));
        }
        let text = String::from_utf8(file.read(0, file.length() as usize)?);
        text.map(Some).map_err(|_| self.malformed(format!("`{name}` is not UTF-8 text")))
    }

    fn needed_text(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| {
            self.malformed(format!("`{name}` is missing; a model folder has {}", super::SUPPORTED_FILES))
        })
    }

    /// The shards, opened, and their tensors under GGUF's names.
    fn tensors(&self) -> Result<(Vec<WeightFile>, Vec<Stored>), Error> {
        let weight_map = self.weight_map()?;
        let shards: BTreeSet<&str> = match &weight_map {
            Some(map) => map.values().map(String::as_str).collect(),
            None => BTreeSet::from(["model.safetensors"]),
        };
        if shards.len() > SHARDS_MAX {
            return Err(self.malformed(format!("{} shards are over the limit of {SHARDS_MAX}", shards.len())));
        }
        let (mut files, mut tensors) = (Vec::new(), Vec::new());
        let mut seen: HashMap<String, &str> = HashMap::new();
        for shard in shards {
            let path = self.find(shard)?.ok_or_else(|| self.no_weights(shard))?;
            let file = WeightFile::open(&path)?;
            for entry in safetensors::read(&file)? {
                if let Some(other) = seen.insert(entry.name.clone(), shard) {
                    return Err(self.malformed(format!("tensor `{}` is in `{other}` and `{shard}`", entry.name)));
                }
                tensors.extend(stored(entry, files.len())?);
            }
            files.push(file);
        }
        let strays = weight_map.iter().flatten().find(|(name, shard)| seen.get(*name) != Some(&shard.as_str()));
        match strays {
            Some((name, shard)) => Err(self.malformed(format!("tensor `{name}` is not in `{shard}`"))),
            None => Ok((files, tensors)),
        }
    }

    /// Which tensor is in which shard, for a model of many; names checked.
    fn weight_map(&self) -> Result<Option<BTreeMap<String, String>>, Error> {
        let name = "model.safetensors.index.json";
        if self.find("model.safetensors")?.is_some() {
            return Ok(None);
        }
        let Some(json) = self.text(name)? else { return Ok(None) };
        let index: Index = serde_json::from_str(&json).map_err(|error| self.malformed(format!("`{name}`: {error}")))?;
        if let Some(shard) = index.weight_map.values().find(|shard| !is_plain(shard)) {
            let shown: String = shard.chars().take(80).collect();
            return Err(self.malformed(format!("`{name}` names the shard {shown:?}; a plain file name is needed")));
        }
        if index.weight_map.is_empty() {
            return Err(self.malformed(format!("`{name}` names no tensors")));
        }
        Ok(Some(index.weight_map))
    }

    /// Why `shard` is not there: maybe the weights are there as a pickle.
    fn no_weights(&self, shard: &str) -> Error {
        let pickles = ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "consolidated.00.pth"];
        match pickles.into_iter().find(|name| self.path.join(name).exists()) {
            Some(found) => Error::Unsupported {
                what: "model file format",
                found: format!("`{found}`, a Python pickle: reading one can run any code; convert it to safetensors"),
                supported: super::SUPPORTED_FILES.to_owned(),
            },
            None => self.malformed(format!("`{shard}` is missing; a model folder has {}", super::SUPPORTED_FILES)),
        }
    }
}

/// A name that stays in the folder: no separators, no drive, not hidden, not empty.
fn is_plain(name: &str) -> bool {
    let bad = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(bad)
}

/// The tensor under GGUF's name; `None` for buffers that are computed from the configuration.
fn stored(entry: Entry, file: usize) -> Result<Option<Stored>, Error> {
    if entry.name.ends_with("rotary_emb.inv_freq") {
        return Ok(None);
    }
    let format = entry.format()?;
    let name = gguf_name(&entry.name);
    if entry.bytes == 0 {
        return Err(Error::Tensor { name: entry.name, reason: format!("empty shape {:?}", entry.shape) });
    }
    let info = TensorInfo { name, format, shape: entry.shape };
    Ok(Some(Stored { info, file, offset: entry.offset, bytes: entry.bytes }))
}

/// GGUF's names of the modules of a layer.
const MODULES: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name that GGUF has for a transformers tensor. What is unknown inside a layer keeps its tail behind `blk.N.`, so
/// that an architecture sees it as a part of the layer; what is unknown outside keeps its name.
fn gguf_name(name: &str) -> String {
    let inner = name.strip_prefix("model.").unwrap_or(name);
    match inner {
        "embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "norm.weight" => return "output_norm.weight".to_owned(),
        "lm_head.weight" => return "output.weight".to_owned(),
        "lm_head.bias" => return "output.bias".to_owned(),
        _ => {}
    }
    let Some((layer, tail)) = inner.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) else {
        return name.to_owned();
    };
    let module = MODULES.iter().find_map(|(theirs, ours)| {
        let kind = tail.strip_prefix(theirs)?.strip_prefix('.')?;
        matches!(kind, "weight" | "bias").then(|| format!("{ours}.{kind}"))
    });
    format!("blk.{layer}.{}", module.unwrap_or_else(|| tail.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ggufs() {
        for (theirs, ours) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"),
            ("model.layers.31.self_attn.q_proj.bias", "blk.31.attn_q.bias"),
            ("model.layers.3.self_attn.k_norm.weight", "blk.3.attn_k_norm.weight"),
            ("model.layers.3.self_attn.o_proj.weight", "blk.3.attn_output.weight"),
            ("model.layers.3.post_attention_layernorm.weight", "blk.3.ffn_norm.weight"),
            ("model.layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"),
            ("model.layers.3.mlp.experts.0.weight", "blk.3.mlp.experts.0.weight"),
            ("model.layers.3.self_attn.q_proj.qweight", "blk.3.self_attn.q_proj.qweight"),
            ("score.weight", "score.weight"),
        ] {
            assert_eq!(gguf_name(theirs), ours);
        }
    }

    #[test]
    fn only_plain_names_are_shards() {
        assert!(is_plain("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0b", ".hidden"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
