//! Llama 2 and 3 and what shares their shape: SmolLM2, TinyLlama, Mistral (Touvron et al., 2023).

use super::{Architecture, Class, Window};
use crate::Error;
use crate::layers::{AttentionParts, Decoder, DecoderLayer, Loader};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: "llama",
    families: "Llama 2 and 3, SmolLM2, TinyLlama, Mistral",
    classes: &[LLAMA, MISTRAL],
    gguf_interleaved: true,
    build,
};

const LLAMA: Class =
    Class { name: "LlamaForCausalLM", model_type: "llama", head_dim: None, kv_heads: None, window: Window::Never };

const MISTRAL: Class = Class {
    name: "MistralForCausalLM",
    model_type: "mistral",
    head_dim: None,
    kv_heads: Some(8),
    window: Window::Always,
};

fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let parts = AttentionParts::default();
    Decoder::load(loader, |loader, index| DecoderLayer::load(loader, index, parts))
}
