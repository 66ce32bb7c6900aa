//! Byte-level BPE and SentencePiece BPE, from GGUF metadata or `tokenizer.json`. Start at [`Tokenizer`].
//!
//! The merge loop is our own: any input takes O(n log n) time, and plain text cannot become a control token by
//! construction (merges may only make normal tokens). Normalisation and pre-tokenizers are the closed set that the
//! supported families use; anything else is refused by name.

mod bpe;
mod gguf;
mod json;
mod split;
mod vocabulary;

use super::template::Rendered;
use crate::Error;
use crate::weights::TextSource;
use bpe::{Merged, Scratch, Symbol};
use split::Splitter;
use std::borrow::Cow;
use std::collections::HashMap;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use vocabulary::{Kind, Part, Vocabulary};

/// Longest text that `encode` takes, in bytes; far above any context.
const TEXT_BYTES_MAX: usize = 1 << 28;

/// Turns text into token ids and back. Shared between threads.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    merges: Merges,
    symbols: Symbols,
    /// Canonical composition before anything else (Qwen).
    nfc: bool,
    space: Space,
    splitter: Splitter,
    /// A piece that is a token is taken without merging (Llama 3).
    whole_pieces: bool,
    /// Stands for characters that have no tokens; byte-level vocabularies have none, since theirs is often a token that
    /// means something else (SmolLM's is `<|endoftext|>`).
    unknown: Option<u32>,
    /// Ids around a text that `add_special` asks for.
    before: Vec<u32>,
    after: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    stop: Vec<u32>,
    /// The space that stands before the first word is the tokenizer's, not the text's.
    strip_first_space: bool,
}

/// Which neighbours merge, and in which order.
#[derive(Debug)]
enum Merges {
    /// Listed pairs: (left, right) to rank and result.
    Listed(HashMap<(u32, u32), Merged>),
    /// Any two neighbours whose joint text is a token; the rank of each token is the place of its score.
    Scored(Vec<u32>),
}

/// What merging begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbols {
    /// Bytes.
    Bytes,
    /// Characters; one that is no token is split into byte tokens before merging (Hugging Face).
    CharactersThenBytes,
    /// Characters; one that is no token after merging is split into byte tokens (SentencePiece).
    Characters,
}

/// SentencePiece's treatment of spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Space {
    /// `▁` and ` ` are the same. (The vocabulary writes `▁`; here both are kept as ` `, the character that is shown.)
    metaspace: bool,
    prefix: Prefix,
    /// No prefix where the text begins with a space already.
    prefix_once: bool,
}

/// Where a space is put before text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Prefix {
    #[default]
    Never,
    /// Before the text.
    First,
    /// Before the text and after every special token.
    Every,
}

impl Tokenizer {
    /// # Errors
    /// [`Error::Unsupported`] for a kind of tokenizer that is not among the supported ones, [`Error::Tokenizer`] for a
    /// contradictory source.
    pub fn new(source: &TextSource) -> Result<Self, Error> {
        match source {
            TextSource::Gguf(text) => gguf::build(text),
            TextSource::HuggingFace { tokenizer, tokenizer_config, generation_config, config, .. } => {
                json::build(tokenizer, tokenizer_config.as_deref(), generation_config.as_deref(), config)
            }
        }
    }

    /// Token ids of plain text: the text of a control token in it stays plain text. (Whole tokens that are not special,
    /// such as `<think>`, are matched, as their models expect.) With `add_special`, the model's BOS (and EOS) are
    /// added where its configuration says so.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a text over 256 MiB.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        check_length(text)?;
        let mut ids = if add_special { self.before.clone() } else { Vec::new() };
        self.encode_plain(text, true, &mut Scratch::default(), &mut ids);
        if add_special {
            ids.extend_from_slice(&self.after);
        }
        Ok(ids)
    }

    /// Token ids of a rendered chat template, in which special tokens are special except inside escaped user text
    /// (see `template`). BOS is added where the configuration says so and the text does not begin with it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>, Error> {
        check_length(&rendered.text)?;
        let mut ids = self.before.clone();
        let mut scratch = Scratch::default();
        let mut first = true;
        self.vocabulary.control().split(&rendered.text, &mut |part| match part {
            Part::Token(token) => {
                // The template wrote the opening tokens itself.
                if std::mem::take(&mut first) && self.before.first() == Some(&token) {
                    ids.clear();
                }
                ids.push(token);
            }
            Part::Text(offset, text) => {
                first = false;
                self.encode_plain(&rendered.stand_ins.restore(text), offset == 0, &mut scratch, &mut ids);
            }
        });
        Ok(ids)
    }

    /// The bytes that a token stands for (maybe a part of a UTF-8 character); empty for control tokens and for ids
    /// that are not in the vocabulary.
    pub fn token_bytes(&self, token: u32) -> &[u8] {
        match self.vocabulary.entry(token) {
            Some(entry) if entry.kind != Kind::Control => &entry.bytes,
            _ => &[],
        }
    }

    /// A printable name of the token, control tokens included.
    pub fn token_text(&self, token: u32) -> String {
        match self.vocabulary.entry(token) {
            Some(entry) if entry.kind == Kind::Control => entry.name.clone(),
            Some(entry) => match std::str::from_utf8(&entry.bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => entry.bytes.iter().map(|byte| format!("<0x{byte:02X}>")).collect(),
            },
            None => format!("<token {token}>"),
        }
    }

    /// Text of all tokens; invalid UTF-8 becomes U+FFFD. Control tokens are left out, and so is the space that
    /// SentencePiece puts before a text. Nothing else is cleaned up.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        let mut at_start = true;
        for &token in tokens {
            bytes.extend_from_slice(self.visible_bytes(token, &mut at_start));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The number of token ids, from 0.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Tokens that end a generation (EOS, EOT, and those of the generation config), ascending.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop
    }

    /// Whether text never becomes this token.
    pub fn is_control(&self, token: u32) -> bool {
        self.vocabulary.entry(token).is_some_and(|entry| entry.kind == Kind::Control)
    }

    /// The bytes that the token adds to a text; `at_start` is whether the text is empty so far.
    pub(super) fn visible_bytes(&self, token: u32, at_start: &mut bool) -> &[u8] {
        let bytes = self.token_bytes(token);
        if bytes.is_empty() || !std::mem::take(at_start) || !self.strip_first_space {
            return bytes;
        }
        bytes.strip_prefix(b" ").unwrap_or(bytes)
    }

    /// Names that a chat template may use to make special tokens.
    pub(super) fn control_names(&self) -> impl Iterator<Item = &str> {
        self.vocabulary.names(Kind::Control).filter(|name| vocabulary::matchable(name, Kind::Control))
    }

    /// Names of tokens that are matched in any text.
    pub(super) fn whole_names(&self) -> impl Iterator<Item = &str> {
        self.vocabulary.names(Kind::Whole)
    }

    /// The token of this name, of whatever kind.
    pub(super) fn named(&self, name: &str) -> Option<u32> {
        self.vocabulary.named(name)
    }

    fn encode_plain(&self, text: &str, at_start: bool, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        self.vocabulary.whole().split(text, &mut |part| match part {
            Part::Token(token) => ids.push(token),
            Part::Text(offset, text) => self.encode_segment(text, at_start && offset == 0, scratch, ids),
        });
    }

    fn encode_segment(&self, text: &str, at_start: bool, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        let text = self.normalise(text, at_start);
        self.splitter.split(&text, &mut |piece| self.encode_piece(piece, scratch, ids));
    }

    fn normalise<'t>(&self, text: &'t str, at_start: bool) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        if self.nfc && is_nfc_quick(text.chars()) != IsNormalized::Yes {
            text = Cow::Owned(text.nfc().collect());
        }
        let wanted = match self.space.prefix {
            Prefix::Never => false,
            Prefix::First => at_start,
            Prefix::Every => true,
        };
        if wanted && !(self.space.prefix_once && text.starts_with([' ', '▁'])) {
            text = Cow::Owned(format!(" {text}"));
        }
        if self.space.metaspace && text.contains('▁') {
            text = Cow::Owned(text.replace('▁', " "));
        }
        text
    }

    fn encode_piece(&self, piece: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if self.whole_pieces
            && let Some(token) = self.vocabulary.find(piece.as_bytes())
        {
            ids.push(token);
            return;
        }
        scratch.clear();
        self.push_symbols(piece, scratch);
        match &self.merges {
            Merges::Listed(pairs) => bpe::merge(scratch, |a, b| pairs.get(&(a.token?, b.token?)).copied()),
            Merges::Scored(ranks) => bpe::merge(scratch, |a, b| {
                let token = self.vocabulary.find(&piece.as_bytes()[a.start..b.start + b.len])?;
                Some(Merged { rank: ranks.get(token as usize).copied()?, token })
            }),
        }
        for symbol in scratch.symbols() {
            self.push_ids(symbol, piece, ids);
        }
    }

    fn push_symbols(&self, piece: &str, scratch: &mut Scratch) {
        if self.symbols == Symbols::Bytes {
            for (at, byte) in piece.bytes().enumerate() {
                scratch.push(self.vocabulary.bytes[usize::from(byte)], at, 1);
            }
            return;
        }
        for (at, character) in piece.char_indices() {
            let len = character.len_utf8();
            let token = self.vocabulary.find(&piece.as_bytes()[at..at + len]);
            let bytes = &piece.as_bytes()[at..at + len];
            let splits = self.symbols == Symbols::CharactersThenBytes
                && token.is_none()
                && bytes.iter().all(|byte| self.vocabulary.bytes[usize::from(*byte)].is_some());
            if splits {
                for (offset, byte) in bytes.iter().enumerate() {
                    scratch.push(self.vocabulary.bytes[usize::from(*byte)], at + offset, 1);
                }
            } else {
                scratch.push(token, at, len);
            }
        }
    }

    /// Ids of what merging has left: a token, byte tokens, or the unknown token. Bytes that a byte-level vocabulary
    /// without an unknown token lacks vanish, as in Hugging Face's and llama.cpp's tokenizers.
    fn push_ids(&self, symbol: &Symbol, piece: &str, ids: &mut Vec<u32>) {
        if let Some(token) = symbol.token {
            ids.push(token);
            return;
        }
        let bytes = &piece.as_bytes()[symbol.start..symbol.start + symbol.len];
        let fallback: Option<Vec<u32>> = bytes.iter().map(|byte| self.vocabulary.bytes[usize::from(*byte)]).collect();
        match fallback {
            Some(tokens) if self.symbols == Symbols::Characters => ids.extend(tokens),
            // Runs of unknown characters are one unknown token.
            _ if ids.last() == self.unknown.as_ref() => {}
            _ => ids.extend(self.unknown),
        }
    }
}

fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::Tokenizer(format!("a text of {} bytes is over the limit of {TEXT_BYTES_MAX}", text.len())));
    }
    Ok(())
}

/// The table of listed merges, of which the first is done first. A merge that would make a control token is left out, so
/// that text cannot become one.
fn listed<'m>(
    pairs: impl Iterator<Item = Result<(&'m str, &'m str), Error>>,
    ids: &HashMap<&str, u32>,
    control: impl Fn(u32) -> bool,
) -> Result<Merges, Error> {
    let find = |name: &str| {
        ids.get(name).copied().ok_or_else(|| Error::Tokenizer(format!("a merge names {name:?}, which is not a token")))
    };
    let mut merges = HashMap::new();
    let mut joint = String::new();
    for (rank, pair) in (0u32..).zip(pairs) {
        let (left, right) = pair?;
        joint.clear();
        joint.push_str(left);
        joint.push_str(right);
        let token = find(&joint)?;
        if !control(token) {
            merges.entry((find(left)?, find(right)?)).or_insert(Merged { rank, token });
        }
    }
    Ok(Merges::Listed(merges))
}

/// Bytes as GPT-2's vocabulary writes them: printable Latin-1 stands for itself, the other bytes for U+0100 onwards.
/// Source: `bytes_to_unicode` in openai/gpt-2 `encoder.py`.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return printable(byte).then_some(byte);
    }
    let index = usize::try_from(code.checked_sub(0x100)?).ok()?;
    (0..=u8::MAX).filter(|byte| !printable(*byte)).nth(index)
}

/// The bytes that a name in a byte-level vocabulary stands for; `None` where it has a character that stands for none.
fn byte_level(name: &str) -> Option<Vec<u8>> {
    name.chars().map(byte_of).collect()
}

/// The byte of a byte-fallback token's name, `<0x0A>`.
fn fallback_byte(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    let hexadecimal = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if hexadecimal { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_alphabet_is_gpt2s() {
        assert_eq!(byte_level("ĠtÃ©Ċ"), Some(b" t\xc3\xa9\n".to_vec()));
        assert_eq!(byte_level("Ń"), Some(vec![0xad]));
        assert_eq!(byte_level("ń"), None);
        let mut seen: Vec<u8> = ('!'..='Ń').filter_map(byte_of).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=u8::MAX).collect::<Vec<_>>());
    }

    #[test]
    fn fallback_names() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0x+A>"), None);
        assert_eq!(fallback_byte("<0x0a0>"), None);
    }
}
