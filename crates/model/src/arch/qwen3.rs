//! Qwen3, dense: no biases, a norm of each head's q and k before the rotation (Yang et al., 2025).

use super::{Architecture, Class, Window};
use crate::Error;
use crate::layers::{AttentionParts, Decoder, DecoderLayer, Loader};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "qwen3", families: "Qwen3 dense", classes: &[CLASS], gguf_interleaved: false, build };

const CLASS: Class = Class {
    name: "Qwen3ForCausalLM",
    model_type: "qwen3",
    head_dim: Some(128),
    kv_heads: None,
    window: Window::WhereAsked,
};

fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let parts = AttentionParts { qk_norm: true, ..AttentionParts::default() };
    Decoder::load(loader, |loader, index| DecoderLayer::load(loader, index, parts))
}
