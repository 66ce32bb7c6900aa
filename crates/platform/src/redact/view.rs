//! How a recogniser looks at a text: from one place on, with the little that stands before it, and with an honest "not known yet"
//! where the text may still grow.
//!
//! A recogniser that answers without [`More`] has read nothing beyond what is there, so its answer holds for any text that goes on
//! from here. That is why a streamed text and a whole one give the same findings.

use super::fold::LETTER;

/// So many folded bytes before a place can be looked at (for names such as "phone" or "password=").
pub(super) const LEFT: usize = 64;

/// The text ends before the answer is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct More;

pub(super) type Look<T> = Result<T, More>;

#[cfg(test)]
thread_local! {
    /// Bytes read by recognisers on this thread: the work that tests hold to a bound.
    pub(super) static READS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    text: &'a [u8],
    at: usize,
    /// Nothing will follow.
    whole: bool,
}

impl<'a> View<'a> {
    pub fn new(text: &'a [u8], at: usize, whole: bool) -> Self {
        Self { text, at, whole }
    }

    /// The byte `offset` from here; `None` at the end of the text.
    pub fn byte(&self, offset: usize) -> Look<Option<u8>> {
        #[cfg(test)]
        READS.with(|reads| reads.set(reads.get() + 1));
        match self.text.get(self.at + offset) {
            Some(&byte) => Ok(Some(byte)),
            None if self.whole => Ok(None),
            None => Err(More),
        }
    }

    /// What is known of the bytes from `offset` to `end`.
    pub fn slice(&self, offset: usize, end: usize) -> &'a [u8] {
        let end = (self.at + end).min(self.text.len());
        self.text.get(self.at + offset..end).unwrap_or_default()
    }

    /// The byte `count` places before this one.
    pub fn before(&self, count: usize) -> Option<u8> {
        self.left().iter().rev().nth(count - 1).copied()
    }

    /// What stands before, [`LEFT`] at most.
    pub fn left(&self) -> &'a [u8] {
        &self.text[self.at.saturating_sub(LEFT)..self.at]
    }

    /// The text from `offset` on reads `word`, in this case.
    pub fn reads(&self, offset: usize, word: &[u8]) -> Look<bool> {
        for (index, &expected) in word.iter().enumerate() {
            if self.byte(offset + index)? != Some(expected) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many bytes from `offset` on are of the class, counted up to `limit`.
    pub fn span(&self, offset: usize, limit: usize, class: impl Fn(u8) -> bool) -> Look<usize> {
        let mut count = 0;
        while count < limit && self.byte(offset + count)?.is_some_and(&class) {
            count += 1;
        }
        Ok(count)
    }

    /// Something may start here: it is not the rest of a word.
    pub fn starts(&self) -> bool {
        !self.before(1).is_some_and(word)
    }

    /// A number may start here: it is not the rest of a word, of a decimal, of a date or of a dashed code.
    pub fn starts_apart(&self) -> bool {
        let joined = self.before(1).is_some_and(|byte| b".-/\\".contains(&byte)) && self.before(2).is_some_and(word);
        self.starts() && !joined
    }

    /// A number stands before, parted by a space.
    pub fn follows_number(&self) -> bool {
        self.before(1) == Some(b' ') && self.before(2).is_some_and(|byte| byte.is_ascii_digit())
    }

    /// An identifier may end before `offset`: it does not go on as a word, a decimal, a time or a dashed code.
    pub fn ends(&self, offset: usize) -> Look<bool> {
        let Some(next) = self.byte(offset)? else { return Ok(true) };
        Ok(match next {
            b'-' | b'@' => !self.byte(offset + 1)?.is_some_and(word),
            b'.' | b'/' | b':' => !self.byte(offset + 1)?.is_some_and(|byte| byte.is_ascii_digit()),
            byte => !word(byte),
        })
    }

    /// One of the words stands before, at most `reach` bytes away with no digit between; case is ignored, the words are lower-case.
    pub fn named(&self, words: &[&str], reach: usize) -> bool {
        let left = self.left();
        let digit = left.iter().rposition(u8::is_ascii_digit).map_or(0, |index| index + 1);
        let from = digit.max(left.len().saturating_sub(reach));
        words.iter().any(|name| contains_word(left, from, name.as_bytes()))
    }
}

/// A character that words are made of.
pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == LETTER
}

/// The name stands in the text from `from` on and is no part of a longer word.
fn contains_word(text: &[u8], from: usize, name: &[u8]) -> bool {
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == LETTER;
    let Some(first) = name.first() else { return false };
    text[from..].windows(name.len()).enumerate().any(|(index, window)| {
        let start = from + index;
        window[0].eq_ignore_ascii_case(first)
            && window.eq_ignore_ascii_case(name)
            && !start.checked_sub(1).and_then(|before| text.get(before)).is_some_and(joins)
            && !text.get(start + name.len()).is_some_and(joins)
    })
}
