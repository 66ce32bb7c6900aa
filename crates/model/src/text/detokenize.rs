//! Streaming detokenisation that never splits a UTF-8 character. Start at [`Detokenizer`].

use super::Tokenizer;
use std::sync::Arc;

/// Bytes go in token by token; whole characters come out. All that comes out is together what `Tokenizer::decode` gives
/// for the same tokens.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
    at_start: bool,
}

impl Detokenizer {
    /// For a text of its own: SentencePiece's space before it is left out.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, pending: Vec::new(), at_start: true }
    }

    /// For a text that goes on after another: the space before its first word belongs to it.
    pub fn following(tokenizer: Arc<Tokenizer>) -> Self {
        Self { at_start: false, ..Self::new(tokenizer) }
    }

    /// The text that this token completes; bytes of an unfinished character are kept back. Bytes that cannot be part of
    /// any character become U+FFFD.
    pub fn push(&mut self, token: u32) -> String {
        self.pending.extend_from_slice(self.tokenizer.visible_bytes(token, &mut self.at_start));
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            // An error at the very end may be a character that the next token finishes.
            if done + invalid.len() == self.pending.len() && may_go_on(invalid) {
                break;
            }
            done += invalid.len();
            if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.drain(..done);
        text
    }

    /// What is left at the end; an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Whether more bytes could make a character of these.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
