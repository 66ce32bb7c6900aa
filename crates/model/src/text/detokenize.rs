//! Streaming detokenisation that never splits a UTF-8 character.

use super::Tokenizer;
use std::sync::Arc;

/// Bytes go in token by token; whole characters come out.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    pending: Vec<u8>,
}

impl Detokenizer {
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, pending: Vec::new() }
    }

    /// The text that this token completes; bytes of an unfinished character are kept back.
    pub fn push(&mut self, token: u32) -> String {
        self.pending.extend_from_slice(self.tokenizer.token_bytes(token));
        todo!()
    }

    /// What is left at the end; unfinished characters become U+FFFD.
    pub fn finish(&mut self) -> String {
        todo!()
    }
}
