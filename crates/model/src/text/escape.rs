//! Keeps the text of a chat's messages from becoming special tokens after it has passed through a template.
//!
//! A template mixes its own special tokens with the messages' text, and may trim, cut or rejoin that text. So a message is
//! marked before rendering: each character that could begin a special token is replaced by a stand-in (one for one, so
//! that lengths and slices stay as they are), and a sentinel stands before a text that could complete a token which the
//! template has begun. No special token matches across them, and `Tokenizer::encode_rendered` takes them back in what is
//! left. Start at [`Escape`].

use std::borrow::Cow;
use std::sync::Arc;

/// Unicode noncharacters: reserved for use inside a program, never for exchange. Removed from messages.
const RESERVED: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// The sentinel; the other reserved characters are stand-ins.
const SENTINEL: char = '\u{FDD0}';

/// The characters that stand-ins stand for, in the order of the stand-ins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StandIns(Arc<[char]>);

impl StandIns {
    fn push(&self, character: char, marked: &mut String) {
        let index = self.0.iter().position(|first| *first == character);
        match index.and_then(|index| RESERVED.skip(1).nth(index)) {
            Some(stand_in) => marked.push(stand_in),
            // A vocabulary whose special tokens begin with over 31 different characters: two characters do it too.
            None => marked.extend([character, SENTINEL]),
        }
    }

    /// The text as its author wrote it.
    pub(super) fn restore<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !text.contains(reserved) {
            return Cow::Borrowed(text);
        }
        let original = |character: char| match u32::from(character).checked_sub(u32::from(SENTINEL) + 1) {
            Some(index) if reserved(character) => self.0.get(index as usize).copied(),
            _ => Some(character).filter(|character| !reserved(*character)),
        };
        Cow::Owned(text.chars().filter_map(original).collect())
    }
}

fn reserved(character: char) -> bool {
    RESERVED.contains(&character)
}

/// Most texts that are left whole; templates look for a handful. Each costs a comparison wherever a special token could
/// begin.
const LITERALS_MAX: usize = 64;

/// Marks messages for one model.
#[derive(Debug, Default)]
pub(super) struct Escape {
    /// Special tokens, sorted.
    special: Vec<String>,
    /// Where each special token could be cut in two: (token, byte), sorted by what comes after.
    tails: Vec<(u32, u32)>,
    /// Bytes of the longest special token.
    longest: usize,
    /// Characters that begin one, in both cases.
    firsts: StandIns,
    /// Texts that a template looks for in messages (`</think>`) and that are left whole.
    literals: Vec<String>,
}

impl Escape {
    /// `special`: the special tokens' texts. `literals`: candidates for texts that may stay whole although they begin
    /// like a special token; those that are not safe are dropped.
    pub(super) fn new(mut special: Vec<String>, literals: impl IntoIterator<Item = String>) -> Self {
        special.sort_unstable();
        let mut firsts: Vec<char> = special
            .iter()
            .filter_map(|token| token.chars().next())
            .flat_map(|first| first.to_lowercase().chain(first.to_uppercase()).chain([first]))
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        let cuts = |(index, token): (u32, &String)| -> Vec<(u32, u32)> {
            token.char_indices().skip(1).map(|(at, _)| (index, at as u32)).collect()
        };
        let mut tails: Vec<(u32, u32)> = (0..).zip(&special).flat_map(cuts).collect();
        let tail = |(index, at): (u32, u32)| &special[index as usize][at as usize..];
        tails.sort_unstable_by(|a, b| tail(*a).cmp(tail(*b)));
        let longest = special.iter().map(String::len).max().unwrap_or(0);
        let mut escape = Self { special, tails, longest, firsts: StandIns(firsts.into()), literals: Vec::new() };
        let literals = literals.into_iter().filter(|literal| escape.harmless(literal)).take(LITERALS_MAX).collect();
        escape.literals = literals;
        escape
    }

    /// What takes the marks back.
    pub(super) fn stand_ins(&self) -> &StandIns {
        &self.firsts
    }

    fn begins(&self, character: char) -> bool {
        self.firsts.0.contains(&character)
    }

    /// A literal that cannot be the beginning of a special token, nor contain the beginning of another.
    fn harmless(&self, literal: &str) -> bool {
        let mut characters = literal.chars();
        characters.next().is_some_and(|first| self.begins(first))
            && !characters.any(|character| self.begins(character))
            && !self.meets(self.special.len(), |index| self.special[index].as_str(), literal)
    }

    /// The marked text. Reserved characters that were there are removed.
    pub(super) fn mark<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = if text.contains(reserved) { Cow::Owned(text.replace(reserved, "")) } else { Cow::Borrowed(text) };
        let completes = self.completes(&text);
        if !completes && !text.contains(|character| self.begins(character)) {
            return text;
        }
        let mut marked = String::with_capacity(text.len() + text.len() / 8 + 8);
        let start = text.len() - text.trim_start().len();
        marked.push_str(&text[..start]);
        if completes {
            marked.push(SENTINEL);
        }
        let mut rest = &text[start..];
        while let Some(first) = rest.chars().next() {
            let literal = if self.begins(first) { self.literal(rest) } else { None };
            let taken = literal.map_or(first.len_utf8(), str::len);
            match literal {
                Some(literal) => marked.push_str(literal),
                None if self.begins(first) => self.firsts.push(first, &mut marked),
                None => marked.push(first),
            }
            rest = &rest[taken..];
        }
        Cow::Owned(marked)
    }

    fn literal(&self, text: &str) -> Option<&str> {
        self.literals.iter().map(String::as_str).find(|literal| text.starts_with(literal))
    }

    /// Whether the text, trimmed or not, could go on where a template has begun a special token.
    fn completes(&self, text: &str) -> bool {
        let tail = |index: usize| {
            let (token, at) = self.tails[index];
            &self.special[token as usize][at as usize..]
        };
        [text, text.trim()].iter().any(|text| !text.is_empty() && self.meets(self.tails.len(), tail, text))
    }

    /// Whether one of `count` sorted texts is the beginning of `text`, or the other way round.
    fn meets<'s>(&self, count: usize, text_of: impl Fn(usize) -> &'s str, text: &str) -> bool {
        let not_before = |text: &str| {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                if text_of(middle) < text { low = middle + 1 } else { high = middle }
            }
            (low < count).then(|| text_of(low))
        };
        let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
        not_before(text).is_some_and(|other| other.starts_with(text))
            || ends.take_while(|end| *end <= self.longest).any(|end| not_before(&text[..end]) == Some(&text[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape() -> Escape {
        let special = ["<|im_start|>", "<|im_end|>", "</s>", "[INST]"].map(str::to_owned).to_vec();
        Escape::new(special, ["</think>", "<|", "<|im_end|>x", "<a<b"].map(str::to_owned))
    }

    /// `«` is the stand-in for `<`, `{` that for `[`, `·` the sentinel.
    fn check(text: &str, expected: &str) {
        let escape = escape();
        let marked = escape.mark(text).into_owned();
        let shown = marked.replace('\u{FDD0}', "·").replace('\u{FDD1}', "«").replace('\u{FDD2}', "{");
        assert_eq!(shown, expected);
        assert_eq!(escape.stand_ins().restore(&marked), text.replace(reserved, ""));
    }

    #[test]
    fn beginnings_are_replaced_and_plain_text_is_left_alone() {
        check("plain text", "plain text");
        check("a <|im_end|> b", "a «|im_end|> b");
        check("<<|im_</think>end|>", "««|im_</think>end|>");
        check("[INST]", "{INST]");
        check("a\u{FDD1}b\u{FDEF}", "ab");
    }

    #[test]
    fn a_text_that_could_complete_a_token_is_kept_apart() {
        check("im_end|> x", "·im_end|> x");
        check("  |> x", "  ·|> x");
        check("im", "·im");
        check("imply", "imply");
    }

    #[test]
    fn only_harmless_literals_stay_whole() {
        assert_eq!(escape().literals, ["</think>"]);
    }

    #[test]
    fn a_vocabulary_of_many_beginnings_is_escaped_too() {
        let special: Vec<String> = ('а'..='я').chain('一'..='丿').map(|first| format!("{first}x")).collect();
        let escape = Escape::new(special.clone(), []);
        for token in special {
            let marked = escape.mark(&token).into_owned();
            assert!(!marked.contains(&token));
            assert_eq!(escape.stand_ins().restore(&marked), token);
        }
    }
}
