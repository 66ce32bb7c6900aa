//! IP addresses: RFC 791's dotted form, RFC 4291's and 5952's colon forms. A prefix length (`/24`) or a zone (`%eth0`) belongs to it.

use super::kind::Kind;
use super::scan::Hit;
use super::view::{Look, View, word};
use std::net::{Ipv4Addr, Ipv6Addr};

const V4_MAX: usize = 15;
const V6_MAX: usize = 45;
const ZONE_MAX: usize = 16;

/// A dotted number right behind one of these is a version.
const VERSIONS: &[&str] = &["version", "ver", "v", "firmware", "release", "build", "section", "chapter", "rev", "sdk"];

pub(super) fn v4(view: &View) -> Look<Option<Hit>> {
    if view.before(1) == Some(b'.') || view.before(1) == Some(b'-') && !view.starts_apart() {
        return Ok(None);
    }
    let length = view.span(0, V4_MAX + 1, |byte| byte.is_ascii_digit() || byte == b'.')?;
    let text = view.slice(0, length);
    let text = text.strip_suffix(b".").unwrap_or(text);
    let sound = std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok());
    if !sound || version(view) || !ends(view, text.len())? {
        return Ok(None);
    }
    Ok(Some(Hit::new(Kind::Ip, text.len() + prefix(view, text.len(), 32)?)))
}

fn version(view: &View) -> bool {
    let left = view.left();
    let sign = |byte: &u8| b" :=\"'(".contains(byte);
    let end = left.len() - left.iter().rev().take(4).take_while(|byte| sign(byte)).count();
    let letters = left[..end].iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let before = (end - letters).checked_sub(1).map(|index| left[index]);
    let name = &left[end - letters..end];
    !before.is_some_and(|byte| byte == b'-' || byte.is_ascii_digit())
        && VERSIONS.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
}

/// No word, no further number goes on here.
fn ends(view: &View, offset: usize) -> Look<bool> {
    Ok(match view.byte(offset)? {
        Some(b'.' | b'-') => !view.byte(offset + 1)?.is_some_and(|byte| byte.is_ascii_digit()),
        Some(byte) => !word(byte),
        None => true,
    })
}

pub(super) fn v6(view: &View) -> Look<Option<Hit>> {
    if matches!(view.before(1), Some(b':' | b'.')) {
        return Ok(None);
    }
    let hexadecimal = |byte: u8| byte.is_ascii_hexdigit();
    // Most words end here: an address has a colon within its first five bytes.
    let first = view.span(0, 5, hexadecimal)?;
    if first == 5 || view.byte(first)? != Some(b':') {
        return Ok(None);
    }
    let length = view.span(0, V6_MAX + 1, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.')?;
    let mut text = view.slice(0, length);
    while text.ends_with(b".") || text.ends_with(b":") && !text.ends_with(b"::") {
        text = &text[..text.len() - 1];
    }
    let sound = std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    if !sound || !telling(text) || view.byte(text.len())?.is_some_and(word) {
        return Ok(None);
    }
    let mut end = text.len();
    if view.byte(end)? == Some(b'%') {
        let zone = view.span(end + 1, ZONE_MAX, |byte| byte.is_ascii_alphanumeric())?;
        end += if zone > 0 { zone + 1 } else { 0 };
    }
    Ok(Some(Hit::new(Kind::Ip, end + prefix(view, end, 128)?)))
}

/// `a::b` is a path in many programming languages and an address by the letter; an address has a digit, and a long group or many.
fn telling(text: &[u8]) -> bool {
    let groups = || text.split(|&byte| byte == b':').filter(|group| !group.is_empty());
    text.iter().any(u8::is_ascii_digit)
        && (text.starts_with(b"::") || groups().any(|group| group.len() > 2) || groups().count() > 3)
}

/// The length of a prefix length behind an address: `/` and a number up to `limit`.
fn prefix(view: &View, offset: usize, limit: u32) -> Look<usize> {
    if view.byte(offset)? != Some(b'/') {
        return Ok(0);
    }
    let count = view.span(offset + 1, 4, |byte| byte.is_ascii_digit())?;
    let text = view.slice(offset + 1, offset + 1 + count);
    let sound =
        std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok()).is_some_and(|bits| bits <= limit);
    Ok(if sound && !view.byte(offset + 1 + count)?.is_some_and(word) { count + 1 } else { 0 })
}
