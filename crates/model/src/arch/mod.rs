//! The registry of architectures: one file and one row each.
//!
//! To add one: a file with a recipe of shared layers, a row in [`REGISTRY`], a fixture with its logits.

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
    build: fn(&mut Loader<'_>) -> Result<Decoder, Error>,
}

/// All that can be run.
pub const REGISTRY: [Architecture; 3] = [llama::ARCHITECTURE, qwen2::ARCHITECTURE, qwen3::ARCHITECTURE];

/// Builds the model of `loader`'s checkpoint, or says what is supported.
pub fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let hyper = loader.hyper();
    let found = REGISTRY.iter().find(|row| row.name == hyper.architecture);
    let architecture = found.ok_or_else(|| Error::Unsupported {
        what: "architecture",
        found: hyper.architecture.clone(),
        supported: supported(),
    })?;
    check(hyper)?;
    (architecture.build)(loader)
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
    }
}
