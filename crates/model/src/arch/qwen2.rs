//! Qwen2 and Qwen2.5: Llama's shape with biases of q, k and v (Yang et al., 2024).

use super::{Architecture, Class, Window};
use crate::Error;
use crate::layers::{AttentionParts, Decoder, DecoderLayer, Loader};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "qwen2", families: "Qwen2, Qwen2.5", classes: &[CLASS], gguf_interleaved: false, build };

const CLASS: Class =
    Class { name: "Qwen2ForCausalLM", model_type: "qwen2", head_dim: None, kv_heads: None, window: Window::WhereAsked };

fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let parts = AttentionParts { qkv_bias: true, ..AttentionParts::default() };
    Decoder::load(loader, |loader, index| DecoderLayer::load(loader, index, parts))
}
