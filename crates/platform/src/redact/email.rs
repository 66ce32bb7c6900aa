//! E-mail addresses: RFC 5321's lengths, the dot-atoms that are in use, and domains that end in a name, not in a number.

use super::fold::LETTER;
use super::kind::Kind;
use super::scan::Hit;
use super::view::{Look, View};

const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;

pub(super) fn find(view: &View) -> Look<Option<Hit>> {
    let local = view.span(0, LOCAL_MAX + 1, local)?;
    if local == 0 || local > LOCAL_MAX || view.byte(local)? != Some(b'@') || view.slice(0, local).ends_with(b".") {
        return Ok(None);
    }
    Ok(domain(view, local + 1)?.map(|length| Hit::new(Kind::Email, local + 1 + length)))
}

fn local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == LETTER || b"._%+-'&".contains(&byte)
}

/// The length of the longest domain from `offset` on.
fn domain(view: &View, offset: usize) -> Look<Option<usize>> {
    let (mut at, mut labels, mut numbers) = (0, 0, 0);
    let mut best = None;
    while at < DOMAIN_MAX {
        let length = label(view, offset + at, DOMAIN_MAX - at)?;
        if length == 0 {
            break;
        }
        let text = view.slice(offset + at, offset + at + length);
        labels += 1;
        numbers += usize::from(text.iter().all(u8::is_ascii_digit));
        at += length;
        // "1.2.3-beta" is a version; a domain whose first two labels are numbers is taken for one.
        if labels == 2 && numbers == 2 {
            return Ok(None);
        }
        if labels > 1 && top_level(text) {
            best = Some(at);
        }
        if view.byte(offset + at)? != Some(b'.') {
            break;
        }
        at += 1;
    }
    Ok(best)
}

/// A label's length: letters, digits, and dashes inside.
fn label(view: &View, offset: usize, limit: usize) -> Look<usize> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == LETTER || byte == b'-' || byte == b'_';
    let length = view.span(offset, limit.min(63), part)?;
    let text = view.slice(offset, offset + length);
    let dashes = text.iter().rev().take_while(|&&byte| byte == b'-' || byte == b'_').count();
    Ok(if text.first() == Some(&b'-') { 0 } else { length - dashes })
}

fn top_level(label: &[u8]) -> bool {
    let letters = label.iter().all(|&byte| byte.is_ascii_alphabetic() || byte == LETTER);
    label.len() >= 2 && (letters || label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--")))
}
