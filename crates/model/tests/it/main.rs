//! The crate's integration tests, in one binary.

mod gguf;
mod huggingface;
mod safetensors;
mod write;
