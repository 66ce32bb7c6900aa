//! Tails: a finding that is sure from its first bytes on and goes on without a bound. It is given out as its marker at once, and
//! what belongs to it is swallowed, so nothing of it has to be held back.

use super::fold::{LETTER, OTHER};
use super::view::{Look, View};

/// How a sure finding goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tail {
    /// While the bytes are of the class; a byte of `inner` only with one of the class behind it.
    Word { class: fn(u8) -> bool, inner: &'static [u8] },
    /// Up to this quotation mark or the end of the line.
    Quoted(u8),
    /// The body of a private key; header lines may stand before it.
    Key { in_headers: bool },
    /// Nothing more.
    Over,
}

/// A word of a key's body has so many characters at least, but for the last one.
const KEY_WORD_MIN: usize = 16;
/// White space and written line breaks (`\n`) between two words of a key.
const KEY_GAP_MAX: usize = 16;
const KEY_HEADER_MAX: usize = 100;

impl Tail {
    /// How many of the next bytes belong to the finding; 0 when it is over.
    pub fn take(&mut self, view: &View) -> Look<usize> {
        match *self {
            Self::Word { class, inner } => word(view, class, inner),
            Self::Quoted(mark) => Ok(view.byte(0)?.map_or(0, |byte| usize::from(byte != mark && byte != b'\n'))),
            Self::Key { in_headers } => self.key(view, in_headers),
            Self::Over => Ok(0),
        }
    }

    fn key(&mut self, view: &View, in_headers: bool) -> Look<usize> {
        let Some(byte) = view.byte(0)? else { return Ok(0) };
        if base64(byte) && !in_headers {
            return Ok(1);
        }
        let gap = gap(view, 0)?;
        if let Some(length) = end_line(view, gap)? {
            *self = Self::Over;
            return Ok(length);
        }
        if in_headers && let Some(length) = header(view, gap)? {
            return Ok(length);
        }
        let body = view.span(gap, KEY_WORD_MIN, base64)?;
        if body >= KEY_WORD_MIN || (body > 0 && closes(view, gap + body)?) {
            *self = Self::Key { in_headers: false };
            return Ok(gap + body);
        }
        Ok(0)
    }
}

/// A short last word of the body: the end line follows.
fn closes(view: &View, offset: usize) -> Look<bool> {
    let gap = gap(view, offset)?;
    Ok(gap > 0 && view.reads(offset + gap, b"-----END ")?)
}

/// White space and written line breaks from `offset` on.
fn gap(view: &View, offset: usize) -> Look<usize> {
    let mut length = 0;
    while length < KEY_GAP_MAX {
        match view.byte(offset + length)? {
            Some(byte) if byte.is_ascii_whitespace() => length += 1,
            Some(b'\\') if matches!(view.byte(offset + length + 1)?, Some(b'n' | b'r')) => length += 2,
            _ => break,
        }
    }
    Ok(length)
}

/// The length up to the end of the line `-----END … PRIVATE KEY-----` at `gap`.
fn end_line(view: &View, gap: usize) -> Look<Option<usize>> {
    if !view.reads(gap, b"-----END ")? {
        return Ok(None);
    }
    let name = view.span(gap + 9, 40, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ')?;
    let dashes = view.span(gap + 9 + name, 5, |byte| byte == b'-')?;
    Ok(Some(gap + 9 + name + dashes))
}

/// The length up to the end of a header line, as `Proc-Type: 4,ENCRYPTED`, at `gap`.
pub(super) fn header(view: &View, gap: usize) -> Look<Option<usize>> {
    let name = view.span(gap, 24, |byte| byte.is_ascii_alphabetic() || byte == b'-')?;
    if name < 4 || !view.reads(gap + name, b": ")? {
        return Ok(None);
    }
    // A written line break ends it as a real one does.
    let value = view.span(gap + name, KEY_HEADER_MAX, |byte| byte != b'\n' && byte != b'\\')?;
    Ok((value < KEY_HEADER_MAX).then_some(gap + name + value))
}

fn word(view: &View, class: fn(u8) -> bool, inner: &[u8]) -> Look<usize> {
    Ok(match view.byte(0)? {
        Some(byte) if class(byte) => 1,
        Some(byte) if inner.contains(&byte) => {
            let run = view.span(0, 4, |byte| inner.contains(&byte))?;
            if view.byte(run)?.is_some_and(class) { run } else { 0 }
        }
        _ => 0,
    })
}

/// A private key's armour is over, and its body or a header follows: what makes the finding sure.
pub(super) fn key_follows(view: &View, offset: usize) -> Look<bool> {
    let gap = gap(view, offset)?;
    if gap == 0 {
        return Ok(false);
    }
    Ok(view.span(offset + gap, KEY_WORD_MIN, base64)? == KEY_WORD_MIN || header(view, offset + gap)?.is_some())
}

pub(super) fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Letters, digits, `_` and `-`.
pub(super) fn base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// What a password without quotation marks is made of.
pub(super) fn value(byte: u8) -> bool {
    byte == LETTER
        || byte == OTHER
        || byte.is_ascii_graphic() && !VALUE_INNER.contains(&byte) && !b"\"'`<>,;&".contains(&byte)
}

/// Belongs to a password only inside.
pub(super) const VALUE_INNER: &[u8] = b".!?:)]}";
