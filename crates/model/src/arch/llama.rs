//! Llama 2 and 3 and what shares their shape: SmolLM2, TinyLlama, Mistral (Touvron et al., 2023).

use super::Architecture;
use crate::Error;
use crate::layers::{AttentionParts, Decoder, DecoderLayer, Loader};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { name: "llama", families: "Llama 2 and 3, SmolLM2, TinyLlama, Mistral", build };

fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let parts = AttentionParts::default();
    Decoder::load(loader, |loader, index| DecoderLayer::load(loader, index, parts))
}
