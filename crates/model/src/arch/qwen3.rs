//! Qwen3, dense: no biases, a norm of each head's q and k before the rotation (Yang et al., 2025).

use super::Architecture;
use crate::Error;
use crate::layers::{AttentionParts, Decoder, DecoderLayer, Loader};

pub(super) const ARCHITECTURE: Architecture = Architecture { name: "qwen3", families: "Qwen3 dense", build };

fn build(loader: &mut Loader<'_>) -> Result<Decoder, Error> {
    let parts = AttentionParts { qk_norm: true, ..AttentionParts::default() };
    Decoder::load(loader, |loader, index| DecoderLayer::load(loader, index, parts))
}
