//! Log-probabilities in the older, column-wise form of `/v1/completions`.

use crate::wire::usage::finite;
use orrery_platform::chat::{Logprob, PromptToken, TokenLogprobs};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Four columns of equal length, one entry for each token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Logprobs {
    pub tokens: Vec<String>,
    /// Null for the prompt's first token.
    pub token_logprobs: Vec<Option<f32>>,
    /// From token to log-probability, the chosen token included.
    #[schema(value_type = Vec<Option<std::collections::HashMap<String, f32>>>)]
    pub top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Where the token begins in the choice's `text`, in characters (Unicode code points).
    pub text_offset: Vec<usize>,
}

/// Where the next token of a choice begins. Counted from the tokens' bytes, not from the text that has been sent, for a
/// token's text can be held back until its character is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offsets {
    characters: usize,
}

impl Offsets {
    /// The place of a token with these bytes; steps past it. A character counts where its first byte is.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let place = self.characters;
        self.characters += bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
        place
    }
}

/// The number whose decimal form is the same as the 32-bit one's: both columns write one value alike.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl Logprobs {
    /// The prompt's part; `text` is the prompt as it is echoed.
    pub fn of_prompt(tokens: &[PromptToken], text: &str, offsets: &mut Offsets) -> Self {
        let mut logprobs = Self::default();
        for token in tokens {
            match &token.logprobs {
                Some(known) => logprobs.push(known, offsets),
                None => {
                    // A begin token has a name but no place in the text.
                    let bytes = if text.starts_with(&token.text) { token.text.as_bytes() } else { &[] };
                    logprobs.tokens.push(token.text.clone());
                    logprobs.token_logprobs.push(None);
                    logprobs.top_logprobs.push(None);
                    logprobs.text_offset.push(offsets.step(bytes));
                }
            }
        }
        logprobs
    }

    pub fn push(&mut self, token: &TokenLogprobs, offsets: &mut Offsets) {
        let mut top = Map::new();
        for candidate in token.top.iter().chain([&token.chosen]) {
            // Two tokens can share a name; the more probable one keeps it.
            top.entry(name(candidate)).or_insert_with(|| shortest(finite(candidate.logprob)).into());
        }
        self.tokens.push(name(&token.chosen));
        self.token_logprobs.push(Some(finite(token.chosen.logprob)));
        self.top_logprobs.push(Some(top));
        self.text_offset.push(offsets.step(&token.chosen.bytes));
    }
}

/// A token that is a part of a character is named by its bytes, as in OpenAI's API: `bytes:\xe2\x80`.
fn name(token: &Logprob) -> String {
    if std::str::from_utf8(&token.bytes).is_ok() {
        return token.text.clone();
    }
    token.bytes.iter().fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, bytes: &[u8], logprob: f32) -> Logprob {
        Logprob { token: 0, text: text.to_owned(), bytes: bytes.to_vec(), logprob }
    }

    #[test]
    fn offsets_count_characters_even_inside_them() {
        let mut logprobs = Logprobs::default();
        let mut offsets = Offsets::default();
        for bytes in [&b"a"[..], &[0xE2, 0x82], &[0xAC], b"b"] {
            let text = String::from_utf8_lossy(bytes);
            logprobs.push(&TokenLogprobs { chosen: token(&text, bytes, -1.0), top: vec![] }, &mut offsets);
        }
        // "a€b": the euro sign is two tokens.
        assert_eq!(logprobs.text_offset, [0, 1, 2, 2]);
        assert_eq!(logprobs.tokens, ["a", "bytes:\\xe2\\x82", "bytes:\\xac", "b"]);
    }

    #[test]
    fn one_value_is_written_alike_in_both_columns() {
        let mut logprobs = Logprobs::default();
        logprobs.push(&TokenLogprobs { chosen: token("a", b"a", -6.781_709), top: vec![] }, &mut Offsets::default());
        let json = serde_json::to_value(&logprobs).expect("JSON").to_string();
        assert_eq!(json.matches("-6.781709").count(), 2, "{json}");
        assert_eq!(json.matches("-6.781709179").count(), 0, "{json}");
    }

    #[test]
    fn infinity_is_not_json() {
        let mut logprobs = Logprobs::default();
        let chosen = token("a", b"a", f32::NEG_INFINITY);
        logprobs.push(&TokenLogprobs { chosen, top: vec![] }, &mut Offsets::default());
        assert_eq!(logprobs.token_logprobs, [Some(-9999.0)]);
    }
}
