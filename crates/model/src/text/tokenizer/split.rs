//! Pre-tokenizers: cutting text into the pieces that merges never cross. Start at [`Splitter`].
//!
//! The published patterns end in `\s+(?!\S)|\s+`, whose look-ahead needs a backtracking engine. Here the engine is the
//! `regex` crate's (linear time on any input) and the look-ahead is done by hand: see [`shorten_whitespace`].

use crate::Error;
use regex::Regex;
use std::sync::OnceLock;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// The published patterns of `Split` pre-tokenizers, each with what stands for it here.
const PUBLISHED: [(&str, Pattern); 3] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Pattern::Gpt2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Pattern::Llama3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Pattern::Qwen2,
    ),
];

/// A family's pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    Gpt2,
    Llama3,
    Qwen2,
}

impl Pattern {
    /// Compiled once: that takes longer than the rest of a small tokenizer.
    fn compiled(self) -> &'static Regex {
        static COMPILED: [OnceLock<Regex>; 3] = [const { OnceLock::new() }; 3];
        let (at, text) = match self {
            Self::Gpt2 => (0, GPT2),
            Self::Llama3 => (1, LLAMA3),
            Self::Qwen2 => (2, QWEN2),
        };
        COMPILED[at].get_or_init(|| Regex::new(text).expect("invariant: the constant patterns are valid"))
    }

    /// The pattern of a `Split` pre-tokenizer in a `tokenizer.json`.
    pub(super) fn published(text: &str) -> Result<Self, Error> {
        PUBLISHED.iter().find(|(published, _)| *published == text).map(|(_, pattern)| *pattern).ok_or_else(|| {
            Error::Unsupported {
                what: "pre-tokenizer pattern",
                found: text.to_owned(),
                supported: "the patterns of GPT-2, Llama 3 and Qwen 2".to_owned(),
            }
        })
    }
}

/// One cut; a [`Splitter`] applies several in turn, each to the pieces of the one before.
#[derive(Debug)]
pub(super) enum Cut {
    Pattern {
        regex: &'static Regex,
        /// The pattern takes whitespace up to a line end by an alternative without look-ahead.
        line_ends_apart: bool,
    },
    /// Every numeric character is a piece of its own.
    SingleDigits,
    /// Runs of numeric characters are pieces of their own.
    DigitRuns,
    /// A piece begins at every space (SentencePiece's `▁`).
    AtSpace,
}

impl Cut {
    pub(super) fn pattern(pattern: Pattern) -> Self {
        Self::Pattern { regex: pattern.compiled(), line_ends_apart: pattern != Pattern::Gpt2 }
    }

    /// End of the piece that begins `text`, which is not empty.
    fn first_piece(&self, text: &str) -> usize {
        match self {
            Self::Pattern { regex, line_ends_apart } => match regex.find(text) {
                Some(found) if found.start() == 0 && found.end() > 0 => {
                    shorten_whitespace(text, found.end(), *line_ends_apart)
                }
                // Every character begins a match of every pattern; a gap would be a piece of its own.
                Some(found) if found.start() > 0 => found.start(),
                _ => text.len(),
            },
            Self::SingleDigits => match text.find(char::is_numeric) {
                Some(0) => text.chars().next().map_or(0, char::len_utf8),
                Some(start) => start,
                None => text.len(),
            },
            Self::DigitRuns => {
                let numeric = text.starts_with(char::is_numeric);
                text.find(|c: char| c.is_numeric() != numeric).unwrap_or(text.len())
            }
            Self::AtSpace => {
                let first = text.chars().next().map_or(0, char::len_utf8);
                text[first..].find(' ').map_or(text.len(), |next| first + next)
            }
        }
    }
}

/// Does `\s+(?!\S)` by hand: whitespace before a visible character leaves its last character to the next piece.
///
/// ```text
/// "   word"  matches [0, 3) by \s+  →  [0, 2), and the next piece begins with " word"
/// ```
fn shorten_whitespace(text: &str, end: usize, line_ends_apart: bool) -> usize {
    let matched = &text[..end];
    if end == text.len() || !matched.chars().all(char::is_whitespace) {
        return end;
    }
    if line_ends_apart && matched.ends_with(['\r', '\n']) {
        return end;
    }
    match matched.char_indices().next_back() {
        Some((last, _)) if last > 0 => last,
        _ => end,
    }
}

/// The cuts of a tokenizer, applied in turn.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    pub(super) cuts: Vec<Cut>,
}

impl Splitter {
    pub(super) fn new(cuts: Vec<Cut>) -> Self {
        Self { cuts }
    }

    /// Calls `piece` for each piece of `text` in order; together they are `text`.
    pub(super) fn split<'t>(&self, text: &'t str, piece: &mut dyn FnMut(&'t str)) {
        split_by(&self.cuts, text, piece);
    }
}

fn split_by<'t>(cuts: &[Cut], mut text: &'t str, piece: &mut dyn FnMut(&'t str)) {
    let Some((cut, rest)) = cuts.split_first() else {
        if !text.is_empty() {
            piece(text);
        }
        return;
    };
    while !text.is_empty() {
        let (first, remaining) = text.split_at(cut.first_piece(text));
        split_by(rest, first, piece);
        text = remaining;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cuts: Vec<Cut>, text: &str, expected: &[&str]) {
        let mut pieces = Vec::new();
        Splitter::new(cuts).split(text, &mut |piece| pieces.push(piece));
        assert_eq!(pieces, expected, "{text:?}");
    }

    #[test]
    fn gpt2_leaves_the_last_space_to_the_word() {
        check(
            vec![Cut::pattern(Pattern::Gpt2)],
            "a   b\n\nc 12!  ",
            &["a", "  ", " b", "\n", "\n", "c", " 12", "!", "  "],
        );
    }

    #[test]
    fn llama3_takes_line_ends_together_and_digits_by_three() {
        check(
            vec![Cut::pattern(Pattern::Llama3)],
            "x \n\n  y 12345 DON'T",
            &["x", " \n\n", " ", " y", " ", "123", "45", " DON", "'T"],
        );
    }

    #[test]
    fn smollm_isolates_digits_before_the_pattern() {
        let cuts = vec![Cut::SingleDigits, Cut::pattern(Pattern::Gpt2)];
        check(cuts, "a  12 b", &["a", "  ", "1", "2", " b"]);
    }

    #[test]
    fn spaces_begin_pieces() {
        check(vec![Cut::AtSpace], " a  b", &[" a", " ", " b"]);
    }
}
