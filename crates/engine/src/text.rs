//! The seam between token ids and text.

use crate::handle::ChatMessage;
use crate::request::Error;
use orrery_model::text::{ChatTemplate, Detokenizer, Message, Tokenizer};
use std::sync::Arc;

/// Turns text into tokens and back. Shared between threads; every method is quick and pure.
pub trait Text: Send + Sync + 'static {
    /// Token ids of plain text.
    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error>;
    /// Token ids of a chat, up to the start of the assistant's turn.
    fn chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error>;
    /// `tokens`: below the vocabulary.
    fn decode(&self, tokens: &[u32]) -> String;
    /// A printable form and the bytes of one token below the vocabulary.
    fn token(&self, token: u32) -> (String, Vec<u8>);
    /// Tokens that end a generation.
    fn stop_tokens(&self) -> &[u32];
    /// A fresh stream for the text of one choice, which goes on after its prompt.
    fn detokenizer(&self) -> Box<dyn Detokenize>;
}

/// Text of a stream of tokens, whole characters at a time.
pub trait Detokenize: Send {
    /// The text that this token completes.
    fn push(&mut self, token: u32) -> String;
    /// What is left at the end.
    fn finish(&mut self) -> String;
}

/// The tokenizer and the chat template of a model.
pub struct ModelText {
    pub tokenizer: Arc<Tokenizer>,
    pub template: Arc<ChatTemplate>,
}

impl Text for ModelText {
    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        self.tokenizer.encode(text, add_special).map_err(|error| refused("prompt", &error))
    }

    fn chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, Error> {
        let message = |message: &ChatMessage| Message { role: message.role.clone(), content: message.content.clone() };
        let messages: Vec<Message> = messages.iter().map(message).collect();
        let rendered = self.template.render(&messages, true).map_err(|error| refused("messages", &error))?;
        self.tokenizer.encode_rendered(&rendered).map_err(|error| refused("messages", &error))
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens)
    }

    fn token(&self, token: u32) -> (String, Vec<u8>) {
        (self.tokenizer.token_text(token), self.tokenizer.token_bytes(token).to_vec())
    }

    fn stop_tokens(&self) -> &[u32] {
        self.tokenizer.stop_tokens()
    }

    fn detokenizer(&self) -> Box<dyn Detokenize> {
        Box::new(Detokenizer::following(self.tokenizer.clone()))
    }
}

impl Detokenize for Detokenizer {
    fn push(&mut self, token: u32) -> String {
        Detokenizer::push(self, token)
    }

    fn finish(&mut self) -> String {
        Detokenizer::finish(self)
    }
}

fn refused(param: &'static str, error: &orrery_model::Error) -> Error {
    Error::Invalid { param, message: format!("`{param}` cannot be used: {error}") }
}
