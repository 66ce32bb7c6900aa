//! The registry of architectures: one file and one row each.
//!
//! To add one: a file with a recipe of shared layers and its names, a row in [`REGISTRY`], a fixture with its logits.

mod llama;
mod qwen2;
mod qwen3;

use crate::Error;
use crate::layers::{Decoder, Loader};
use crate::weights::Hyper;
use orrery_kernels::attention::KvCache;

/// An architecture: its name in GGUF's `general.architecture`, and how to build it from a checkpoint.
pub struct Architecture {
    pub name: &'static str,
    /// Model families that have it, for messages.
    pub families: &'static str,
    /// transformers' classes of this architecture.
    pub classes: &'static [Class],
    /// llama.cpp's converter writes the rows of attn_q and attn_k in the interleaved order (see `Hyper::rope_interleaved`).
    pub gguf_interleaved: bool,
    build: fn(&mut Loader<'_>) -> Result<Decoder, Error>,
}

/// A class of transformers and what its configuration means where `config.json` is silent.
#[derive(Debug)]
pub struct Class {
    pub name: &'static str,
    pub model_type: &'static str,
    /// `None`: hidden size / heads.
    pub head_dim: Option<usize>,
    /// `None`: as many as heads.
    pub kv_heads: Option<usize>,
    pub window: Window,
}

/// Whether a class attends over a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// `sliding_window` means nothing.
    Never,
    /// Where `use_sliding_window` is true, in the layers from `max_window_layers` on.
    WhereAsked,
    /// Wherever `sliding_window` is not null.
    Always,
}

/// All that can be run.
pub static REGISTRY: [Architecture; 3] = [llama::ARCHITECTURE, qwen2::ARCHITECTURE, qwen3::ARCHITECTURE];

/// Builds the model of `loader`'s checkpoint, or says what is supported.
pub fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let hyper = loader.hyper();
    let architecture = find(&hyper.architecture)?;
    check(hyper)?;
    (architecture.build)(loader)
}

/// The row of this name, or an error that lists all.
pub fn find(name: &str) -> Result<&'static Architecture, Error> {
    REGISTRY.iter().find(|row| row.name == name).ok_or_else(|| Error::Unsupported {
        what: "architecture",
        found: name.to_owned(),
        supported: supported(),
    })
}

/// Every class with its architecture's name.
pub(crate) fn classes() -> impl Iterator<Item = (&'static str, &'static Class)> {
    REGISTRY.iter().flat_map(|row| row.classes.iter().map(move |class| (row.name, class)))
}

/// The list of what works, for messages: `llama (Llama 2 and 3, …), qwen2 (…), …`.
pub fn supported() -> String {
    REGISTRY.iter().map(|row| format!("{} ({})", row.name, row.families)).collect::<Vec<_>>().join(", ")
}

/// What every recipe relies on.
fn check(hyper: &Hyper) -> Result<(), Error> {
    let refuse =
        |what, found: String, supported: &str| Err(Error::Unsupported { what, found, supported: supported.to_owned() });
    if hyper.kv_heads == 0 || !hyper.heads.is_multiple_of(hyper.kv_heads) {
        let found = format!("{} / {}", hyper.heads, hyper.kv_heads);
        return refuse("heads / kv_heads", found, "heads that are a multiple of kv_heads");
    }
    let partial = hyper.rope_dim != hyper.head_dim;
    if hyper.rope_dim > hyper.head_dim || (partial && hyper.rope_interleaved) {
        let found = format!("{} of {}", hyper.rope_dim, hyper.head_dim);
        return refuse("rotation of a head's dimensions", found, "all of them");
    }
    KvCache::new(1, 0, hyper.kv_heads, hyper.head_dim)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_listed() {
        for (index, row) in REGISTRY.iter().enumerate() {
            assert!(supported().contains(row.name));
            assert!(REGISTRY[..index].iter().all(|other| other.name != row.name));
        }
        let classes = classes().map(|(_, class)| (class.name, class.model_type)).collect::<Vec<_>>();
        for (index, (name, model_type)) in classes.iter().enumerate() {
            assert!(classes[..index].iter().all(|other| other.0 != *name && other.1 != *model_type), "{name}");
        }
    }
}
