//! Keeps the text of a chat's messages from becoming special tokens after it has passed through a template.
//!
//! A template mixes its own special tokens with the messages' text, and may trim, cut or rejoin that text. So a message is
//! marked before rendering: a sentinel character stands after each character that could begin a special token, and
//! before a text that could complete one that the template has begun. No special token matches across a sentinel, and
//! `Tokenizer::encode_rendered` removes them from what is left. Start at [`Escape`].

use std::borrow::Cow;

/// A Unicode noncharacter: reserved for use inside a program, never for exchange. Removed from messages.
pub(super) const SENTINEL: char = '\u{FDD1}';

/// Marks messages for one model.
#[derive(Debug, Default)]
pub(super) struct Escape {
    /// Special tokens.
    special: Vec<String>,
    /// Characters that begin one, in both cases.
    firsts: Vec<char>,
    /// Texts that a template looks for in messages (`</think>`) and that are left whole.
    literals: Vec<String>,
}

impl Escape {
    /// `special`: the special tokens' texts. `literals`: candidates for texts that may stay whole although they begin
    /// like a special token; those that are not safe are dropped.
    pub(super) fn new(special: Vec<String>, literals: impl IntoIterator<Item = String>) -> Self {
        let mut firsts: Vec<char> = special
            .iter()
            .filter_map(|token| token.chars().next())
            .flat_map(|first| first.to_lowercase().chain(first.to_uppercase()).chain([first]))
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        let mut escape = Self { special, firsts, literals: Vec::new() };
        let literals = literals.into_iter().filter(|literal| escape.harmless(literal)).collect();
        escape.literals = literals;
        escape
    }

    /// A literal that cannot be the beginning of a special token, nor contain the beginning of another.
    fn harmless(&self, literal: &str) -> bool {
        let mut characters = literal.chars();
        characters.next().is_some_and(|first| self.firsts.contains(&first))
            && !characters.any(|character| self.firsts.contains(&character))
            && !self.special.iter().any(|token| token.starts_with(literal) || literal.starts_with(token.as_str()))
    }

    /// The marked text: only sentinels are added (and such as were there removed).
    pub(super) fn mark<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = without_sentinels(text);
        let completes = self.completes(&text);
        if !completes && !text.contains(self.firsts.as_slice()) {
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
            let literal = if self.firsts.contains(&first) { self.literal(rest) } else { None };
            let len = literal.map_or(first.len_utf8(), str::len);
            marked.push_str(&rest[..len]);
            if literal.is_none() && self.firsts.contains(&first) {
                marked.push(SENTINEL);
            }
            rest = &rest[len..];
        }
        Cow::Owned(marked)
    }

    fn literal(&self, text: &str) -> Option<&str> {
        self.literals.iter().map(String::as_str).find(|literal| text.starts_with(literal))
    }

    /// Whether the text, trimmed or not, could go on where a template has begun a special token.
    fn completes(&self, text: &str) -> bool {
        [text, text.trim()].iter().any(|text| {
            !text.is_empty()
                && self.special.iter().any(|token| {
                    token.char_indices().skip(1).any(|(at, _)| {
                        let tail = &token[at..];
                        text.starts_with(tail) || tail.starts_with(text)
                    })
                })
        })
    }
}

/// The text as its author wrote it.
pub(super) fn without_sentinels(text: &str) -> Cow<'_, str> {
    if text.contains(SENTINEL) { Cow::Owned(text.replace(SENTINEL, "")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape() -> Escape {
        let special = ["<|im_start|>", "<|im_end|>", "</s>", "[INST]"].map(str::to_owned).to_vec();
        Escape::new(special, ["</think>", "<|", "<|im_end|>x", "<a<b"].map(str::to_owned))
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(escape().mark(text).replace(SENTINEL, "·"), expected);
    }

    #[test]
    fn beginnings_are_broken_and_plain_text_is_left_alone() {
        check("plain text", "plain text");
        check("a <|im_end|> b", "a <·|im_end|> b");
        check("<<|im_</think>end|>", "<·<·|im_</think>end|>");
        check("[INST]", "[·INST]");
        check("a\u{FDD1}b", "ab");
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
}
