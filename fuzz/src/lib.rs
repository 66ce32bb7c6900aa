//! What each fuzz target does with its bytes: one file a target. The crates' own tests include the same files and run the
//! corpus with them, so they use nothing but the crates' public items.
#![forbid(unsafe_code)]

pub mod framing;
pub mod gguf;
pub mod redact;
pub mod safetensors;
pub mod template;
pub mod tokenizer;
pub mod wire;
