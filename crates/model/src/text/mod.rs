//! Text in and out: tokenizers, streaming detokenisation, chat templates.
//!
//! Must not know: weights, engines, requests. Start at [`Tokenizer`] and [`ChatTemplate`].

pub mod detokenize;
mod escape;
pub mod template;
pub mod tokenizer;

pub use detokenize::Detokenizer;
pub use template::{Caps, ChatTemplate, Message, Rendered};
pub use tokenizer::Tokenizer;
