//! Chat templates by minijinja, with caps on fuel and output.

use crate::Error;
use crate::weights::TextSource;

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// A rendered prompt whose user text cannot turn into special tokens; only `Tokenizer::encode_rendered` reads it.
pub struct Rendered {
    pub(super) text: String,
}

/// The model's own template, or ChatML where it has none.
pub struct ChatTemplate {}

impl ChatTemplate {
    pub fn new(_source: &TextSource) -> Result<Self, Error> {
        todo!()
    }

    /// Renders `messages`, ending with the start of the assistant's turn when `add_generation_prompt`.
    pub fn render(&self, _messages: &[Message], _add_generation_prompt: bool) -> Result<Rendered, Error> {
        todo!()
    }
}
