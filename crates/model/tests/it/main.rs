//! The crate's integration tests, in one binary: whole models on files, text, and the readers.

mod corpus;
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
