//! Byte-level BPE and SentencePiece BPE, from GGUF metadata or `tokenizer.json`.

use crate::Error;
use crate::weights::TextSource;

/// Turns text into token ids and back. Shared between threads.
pub struct Tokenizer {}

impl Tokenizer {
    pub fn new(_source: &TextSource) -> Result<Self, Error> {
        todo!()
    }

    /// Token ids of plain text: the text of a special token in it stays plain text. With `add_special`, the model's BOS
    /// (and EOS) are added where its configuration says so.
    pub fn encode(&self, _text: &str, _add_special: bool) -> Result<Vec<u32>, Error> {
        todo!()
    }

    /// Token ids of a rendered chat template, in which special tokens are special except inside escaped user text
    /// (see `template`). BOS is added where the configuration says so and the text does not begin with it.
    pub fn encode_rendered(&self, _rendered: &super::template::Rendered) -> Result<Vec<u32>, Error> {
        todo!()
    }

    /// The bytes that a token stands for (maybe a part of a UTF-8 character); empty for control tokens.
    pub fn token_bytes(&self, _token: u32) -> &[u8] {
        todo!()
    }

    /// A printable name of the token, control tokens included.
    pub fn token_text(&self, _token: u32) -> String {
        todo!()
    }

    /// Text of all tokens; invalid UTF-8 becomes U+FFFD. Control tokens are left out.
    pub fn decode(&self, _tokens: &[u32]) -> String {
        todo!()
    }

    pub fn vocabulary(&self) -> usize {
        todo!()
    }

    pub fn bos(&self) -> Option<u32> {
        todo!()
    }

    /// Tokens that end a generation (EOS, EOT, and those of the generation config).
    pub fn stop_tokens(&self) -> &[u32] {
        todo!()
    }
}
