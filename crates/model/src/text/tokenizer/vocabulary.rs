//! The tokens themselves: names, bytes, kinds and the search for special ones in text.

use crate::Error;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::HashMap;

/// Longest name of a token that is looked for in text, and all such names of one kind together, in bytes; the largest
/// vocabularies have about a thousand of 20 bytes.
const NAME_BYTES_MAX: usize = 1 << 10;
const NAMES_BYTES_MAX: usize = 1 << 18;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Made by merges.
    Normal,
    /// Never made from plain text and never shown: `<s>`, `<|im_start|>`, `<unk>`.
    Control,
    /// Matched as a whole in any text, and shown: `<think>`.
    Whole,
    /// A byte of SentencePiece's byte fallback.
    Byte,
}

/// Tokens that make the turns of a chat. Some files list them as ordinary or user-defined ones; a user who writes them must
/// not begin or end a turn, and the model's own must end it, so they are control tokens whatever the file says.
const TURN_NAMES: [&str; 16] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<start_of_turn>",
    "<end_of_turn>",
];

/// Whether the token of this name makes the turns of a chat.
pub(super) fn makes_turns(name: &str) -> bool {
    TURN_NAMES.contains(&name)
}

/// How whitespace around a token found in text is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Strip {
    pub(super) left: bool,
    pub(super) right: bool,
}

/// One token as its source tells it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) strip: Strip,
}

/// All tokens by id.
#[derive(Debug)]
pub(super) struct Vocabulary {
    entries: Vec<Entry>,
    /// All ids, by name and then by id.
    by_name: Vec<u32>,
    /// Tokens that merges may make, by their bytes.
    by_bytes: HashMap<Vec<u8>, u32>,
    /// Token of each single byte, for byte-level BPE or byte fallback.
    pub(super) bytes: Vec<Option<u32>>,
    longest: usize,
    control: Matcher,
    whole: Matcher,
}

impl Vocabulary {
    /// `byte_fallback`: single bytes are the tokens of kind [`Kind::Byte`], otherwise the normal tokens of one byte.
    pub(super) fn new(entries: Vec<Entry>, byte_fallback: bool) -> Result<Self, Error> {
        if entries.is_empty() {
            return Err(Error::Tokenizer("the vocabulary is empty".to_owned()));
        }
        if u32::try_from(entries.len()).is_err() {
            return Err(Error::Tokenizer(format!("{} tokens are too many", entries.len())));
        }
        let mut by_bytes = HashMap::with_capacity(entries.len());
        let mut bytes = vec![None; 256];
        for (id, entry) in (0u32..).zip(&entries) {
            if entry.kind == Kind::Normal && !entry.bytes.is_empty() {
                by_bytes.entry(entry.bytes.clone()).or_insert(id);
            }
            let single = if byte_fallback { Kind::Byte } else { Kind::Normal };
            if let ([byte], true) = (entry.bytes.as_slice(), entry.kind == single) {
                bytes[usize::from(*byte)].get_or_insert(id);
            }
        }
        let longest = by_bytes.keys().map(Vec::len).max().unwrap_or(0);
        let mut by_name: Vec<u32> = (0..entries.len() as u32).collect();
        by_name.sort_by(|a, b| entries[*a as usize].name.cmp(&entries[*b as usize].name));
        let control = Matcher::new(&entries, Kind::Control)?;
        let whole = Matcher::new(&entries, Kind::Whole)?;
        Ok(Self { entries, by_name, by_bytes, bytes, longest, control, whole })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entry(&self, token: u32) -> Option<&Entry> {
        self.entries.get(token as usize)
    }

    /// The token that merges may make of these bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<u32> {
        // Longer slices cannot be tokens; hashing them would make long inputs quadratic.
        if bytes.len() > self.longest { None } else { self.by_bytes.get(bytes).copied() }
    }

    /// The first token of any kind with this name.
    pub(super) fn named(&self, name: &str) -> Option<u32> {
        let name_of = |id: &u32| self.entries[*id as usize].name.as_str();
        let at = self.by_name.partition_point(|id| name_of(id) < name);
        self.by_name.get(at).copied().filter(|id| name_of(id) == name)
    }

    pub(super) fn control(&self) -> &Matcher {
        &self.control
    }

    pub(super) fn whole(&self) -> &Matcher {
        &self.whole
    }

    /// Names of the tokens of one kind.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.name.as_str())
    }
}

/// Finds tokens of one kind in text, the leftmost first and of those the longest.
#[derive(Debug)]
pub(super) struct Matcher {
    search: Option<AhoCorasick>,
    tokens: Vec<(u32, Strip)>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Text from this offset.
    Text(usize, &'t str),
    Token(u32),
}

impl Matcher {
    fn new(entries: &[Entry], kind: Kind) -> Result<Self, Error> {
        let found: Vec<(u32, &Entry)> =
            (0u32..).zip(entries).filter(|(_, entry)| entry.kind == kind && matchable(&entry.name, kind)).collect();
        check_names(found.iter().map(|(_, entry)| entry.name.as_str()))?;
        let tokens = found.iter().map(|(id, entry)| (*id, entry.strip)).collect::<Vec<_>>();
        if tokens.is_empty() {
            return Ok(Self { search: None, tokens });
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(found.iter().map(|(_, entry)| entry.name.as_bytes()))
            .map_err(|error| Error::Tokenizer(format!("special tokens cannot be searched for: {error}")))?;
        Ok(Self { search: Some(search), tokens })
    }

    /// Calls `part` for each token and each non-empty text between tokens, in order.
    pub(super) fn split<'t>(&self, text: &'t str, part: &mut dyn FnMut(Part<'t>)) {
        let mut from = 0;
        let matches = self.search.iter().flat_map(|search| search.find_iter(text));
        for found in matches {
            if found.start() < from {
                continue; // its beginning is whitespace that the token before has taken
            }
            let (token, strip) = self.tokens[found.pattern().as_usize()];
            let before = &text[from..found.start()];
            let before = if strip.left { before.trim_end() } else { before };
            if !before.is_empty() {
                part(Part::Text(from, before));
            }
            part(Part::Token(token));
            let after = &text[found.end()..];
            let taken = if strip.right { after.len() - after.trim_start().len() } else { 0 };
            from = found.end() + taken;
        }
        if from < text.len() {
            part(Part::Text(from, &text[from..]));
        }
    }
}

/// The search takes some forty bytes for each byte of a name.
fn check_names<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), Error> {
    let mut total = 0;
    for length in names.map(str::len) {
        total += length;
        if length > NAME_BYTES_MAX || total > NAMES_BYTES_MAX {
            return Err(Error::Tokenizer(format!(
                "special tokens of over {NAME_BYTES_MAX} bytes, or of over {NAMES_BYTES_MAX} together, are not supported"
            )));
        }
    }
    Ok(())
}

/// A control token of one character is never looked for: nothing could be put inside it to keep a user's text apart.
pub(super) fn matchable(name: &str, kind: Kind) -> bool {
    match kind {
        Kind::Control => name.chars().nth(1).is_some(),
        _ => !name.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn entry(name: String) -> Entry {
        Entry { bytes: name.clone().into_bytes(), name, kind: Kind::Normal, strip: Strip::default() }
    }

    /// A hostile file may name a hundred thousand tokens a hundred thousand times.
    #[test]
    fn the_first_token_of_a_name_is_found_without_a_search() {
        let names = (0..100_000).map(|index| format!("token {index:06}")).chain(["token 000007".to_owned()]);
        let vocabulary = Vocabulary::new(names.map(entry).collect(), false).unwrap();
        assert_eq!(
            (vocabulary.named("token 000007"), vocabulary.named("token"), vocabulary.named("z")),
            (Some(7), None, None)
        );
        let start = Instant::now();
        for _ in 0..100_000 {
            assert_eq!(vocabulary.named("token 099999"), Some(99_999));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
