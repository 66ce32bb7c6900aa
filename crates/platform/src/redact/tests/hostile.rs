//! Hostile text: other scripts' digits, characters without width, line breaks inside, and texts made to cost much.

use super::super::view::READS;
use super::super::{HOLD_BACK_BYTES_MAX, Kind, Stream, find, mask};
use super::check;

#[test]
fn digits_of_other_scripts_count() {
    check("４１１１ １１１１ １１１１ １１１１", &[(Kind::Card, "４１１１ １１１１ １１１１ １１１１")]);
    check("٤١١١١١١١١١١١١١١١", &[(Kind::Card, "٤١١١١١١١١١١١١١١١")]);
    check("४१११-११११-११११-११११", &[(Kind::Card, "४१११-११११-११११-११११")]);
    check("𝟏𝟐𝟑-𝟒𝟓-𝟔𝟕𝟖𝟗", &[(Kind::UsSsn, "𝟏𝟐𝟑-𝟒𝟓-𝟔𝟕𝟖𝟗")]);
    check("ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", &[(Kind::Email, "ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ")]);
    // A wrong check digit is wrong in every script.
    assert_eq!(find("４１１１ １１１１ １１１１ １１１２"), []);
}

#[test]
fn characters_without_width_hide_nothing() {
    check("4111\u{200b}1111\u{200b}1111\u{2060}1111", &[(Kind::Card, "4111\u{200b}1111\u{200b}1111\u{2060}1111")]);
    check("anna\u{ad}@exa\u{200d}mple.com", &[(Kind::Email, "anna\u{ad}@exa\u{200d}mple.com")]);
    check("\u{feff}123-45-6789\u{200b}", &[(Kind::UsSsn, "123-45-6789")]);
    assert_eq!(mask("a\u{200b}b \u{200b}c\u{200b}").0, "a\u{200b}b \u{200b}c\u{200b}");
}

#[test]
fn spaces_dashes_and_line_breaks_inside() {
    check("4111\u{a0}1111\u{202f}1111\u{2009}1111", &[(Kind::Card, "4111\u{a0}1111\u{202f}1111\u{2009}1111")]);
    check("123\u{2011}45\u{2013}6789", &[(Kind::UsSsn, "123\u{2011}45\u{2013}6789")]);
    check("4111 1111\r\n1111 1111", &[(Kind::Card, "4111 1111\r\n1111 1111")]);
    check("943\n476\n5919 NHS", &[(Kind::UkNhs, "943\n476\n5919")]);
    // A column of numbers is no number.
    assert_eq!(find("212\n555\n0100"), []);
    assert_eq!(find("123\n45\n6789"), []);
}

/// Texts that are nothing and look at every byte as if they were something.
fn hostile(size: usize) -> Vec<(&'static str, String)> {
    let repeat = |piece: &str| piece.repeat(size / piece.len() + 1);
    vec![
        ("letters", repeat("a")),
        ("digits", repeat("1")),
        ("dots", repeat("a.")),
        ("local parts", repeat("a+")),
        ("at signs", repeat("a@")),
        ("domains", format!("a@{}", repeat("b."))),
        ("groups", repeat("1 ")),
        ("brackets", repeat("(0)1")),
        ("pluses", repeat("+49 ")),
        ("zeros", repeat("00 49 ")),
        ("iban starts", repeat("GB82 WEST 1234 ")),
        ("colons", repeat("a:")),
        ("words before colons", repeat("1::")),
        ("capitals", repeat("AAA AAA ")),
        ("keys", repeat("sk-")),
        ("token heads", repeat("eyJ")),
        ("tokens", repeat("eyJhbGciOiJIUzI1NiJ9.eyJ ")),
        ("armour", repeat("-----BEGIN ")),
        ("armour and headers", repeat("-----BEGIN PRIVATE KEY-----\nProc-Type: 4,")),
        ("passwords", repeat("password: ")),
        ("password values", repeat("password=a1b2c3")),
        ("quotes", repeat("password=\"")),
        ("urls", repeat("x://a:")),
        ("without width", repeat("1\u{200b}\u{200b}\u{200b}\u{200b}")),
        ("without width behind a digit", format!("1{}", repeat("\u{200b}"))),
        ("wide", repeat("é")),
        ("white space", repeat(" \n")),
        ("end lines", format!("-----BEGIN PRIVATE KEY-----\n{}", repeat("abcdefghijklmnop\n"))),
    ]
}

/// Reads for one byte of text: every recogniser may look as far as the longest finding is, but hardly ever does.
const READS_PER_BYTE_MAX: u64 = 400;

#[test]
fn the_work_is_linear_in_the_text() {
    for (name, text) in hostile(20_000) {
        READS.set(0);
        let _ = find(&text);
        let whole = READS.get();
        assert!(whole <= READS_PER_BYTE_MAX * text.len() as u64, "{name}: {whole} reads for {} bytes", text.len());
        let half = text.floor_char_boundary(text.len() / 2);
        READS.set(0);
        let _ = find(&text[..half]);
        assert!(whole <= 2 * READS.get() + 100_000, "{name}: {whole} reads for the whole, {} for half", READS.get());
    }
}

/// A stream looks again at what it holds back with every piece, so a byte costs up to the longest finding once for each piece.
const STREAM_READS_PER_BYTE_MAX: u64 = 1200;

#[test]
fn a_stream_of_single_characters_is_linear_and_holds_little() {
    for (name, text) in hostile(10_000) {
        READS.set(0);
        let mut stream = Stream::new();
        let (mut out, mut piece) = (String::new(), [0; 4]);
        for character in text.chars() {
            out.push_str(&stream.push(character.encode_utf8(&mut piece)));
            assert!(stream.held() <= HOLD_BACK_BYTES_MAX, "{name} holds {} bytes", stream.held());
        }
        out.push_str(&stream.finish());
        assert_eq!(out, mask(&text).0, "{name}");
        let reads = READS.get();
        assert!(
            reads <= STREAM_READS_PER_BYTE_MAX * text.len() as u64,
            "{name}: {reads} reads for {} bytes",
            text.len()
        );
    }
}
