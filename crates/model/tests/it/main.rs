//! The crate's integration tests, in one binary.

mod gguf;
mod huggingface;
mod logits;
mod refusals;
mod running;
mod safetensors;
mod smollm2;
mod support;
mod text;
mod write;
