//! Text in and out: tokenizers, streaming detokenisation, chat templates.

pub mod detokenize;
pub mod template;
pub mod tokenizer;

pub use detokenize::Detokenizer;
pub use template::{ChatTemplate, Message};
pub use tokenizer::Tokenizer;
