//! A text in pieces gives what the whole gives, for every cut; and prose is not kept waiting.

use super::super::{HOLD_BACK_BYTES_MAX, Kind, Stream, mask};
use proptest::prelude::*;

/// Whole findings, their beginnings, what stands around them, and what breaks them.
const PARTS: &[&str] = &[
    "anna.smith@example.com",
    "anna@",
    "@example.co",
    ".uk",
    "a",
    "Z",
    "é",
    "漢",
    "😀",
    "٤",
    "\u{200b}",
    "\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
    "\u{301}",
    "\u{a0}",
    " ",
    " ",
    " ",
    "\n",
    "\r\n",
    "\t",
    ".",
    ",",
    ":",
    "-",
    "/",
    "(",
    ")",
    "\"",
    "'",
    "=",
    "_",
    "+",
    "&",
    "\\n",
    "::",
    "1",
    "0",
    "12",
    "999",
    "+44 20 7946 0958",
    "+49 (0)30 ",
    "(212) 555-0100",
    "212-555-0100",
    "01 23 45 67 89",
    "98765 43210",
    "phone ",
    "call me at ",
    "4111 1111 1111 1111",
    "4111",
    "378282246310005",
    "GB82 WEST 1234 5698 7654 32",
    "GB82 WEST",
    "DE89370400440532013000",
    "10.0.0.1",
    "2001:db8::1",
    "fe80::",
    "/24",
    "%eth0",
    "123-45-6789",
    "SSN ",
    "943 476 5919",
    "AB 12 34 56 C",
    "AB 12",
    "86095742719",
    "2 55 08 14 168 025 38",
    "12345678Z",
    "X1234567L",
    "RSSMRA85T10A562S",
    "RSS MRA ",
    "2341 2341 2346",
    "ABCPE1234F",
    "44051401359",
    "BSN 111222333",
    "85.07.30-033.28",
    "811228-9874",
    "131052-308T",
    "S1234567D",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "sk-ant-api03-abcdefghij0123456789",
    "sk-",
    "orr_0123456789abcdefghijklmnopqrstuvABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "eyJ",
    "Bearer ",
    "abcDEF0123456789",
    "password=",
    "password: ",
    "\"password\": \"",
    "my password is ",
    "hunter2",
    "os.environ",
    "api_key=",
    "://user:",
    "@host",
    "is",
    "The quick brown fox ",
    "-----BEGIN PRIVATE KEY-----\n",
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n",
    "-----END PRIVATE KEY-----",
    "-----",
    "Proc-Type: 4,ENCRYPTED\n",
    "xoxb-123456789012-abcdefABCDEF",
    "hooks.slack.com/services/",
    "version ",
    "1.2.3.4",
];

fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => proptest::sample::select(PARTS).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9@.: +-]{1,12}",
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

/// The text cut after so many characters each, round and round.
fn streamed(text: &str, cuts: &[usize]) -> String {
    let mut stream = Stream::new();
    let (mut out, mut rest) = (String::new(), text);
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(rest.char_indices().nth(cut).map_or(rest.len(), |(index, _)| index));
        out.push_str(&stream.push(piece));
        assert!(stream.held() <= HOLD_BACK_BYTES_MAX);
        rest = tail;
    }
    out + &stream.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_give_what_the_whole_gives(text in texts(), cuts in proptest::collection::vec(1usize..9, 1..8)) {
        let whole = mask(&text).0;
        prop_assert_eq!(&streamed(&text, &cuts), &whole);
        prop_assert_eq!(&streamed(&text, &[1]), &whole);
    }

    #[test]
    fn findings_are_apart_and_account_for_the_masked_text(text in texts()) {
        let (masked, findings) = mask(&text);
        let (mut rebuilt, mut at) = (String::new(), 0);
        for finding in &findings {
            prop_assert!(finding.range.start >= at && finding.range.end > finding.range.start);
            rebuilt.push_str(&text[at..finding.range.start]);
            rebuilt.push_str(finding.kind.marker());
            at = finding.range.end;
        }
        rebuilt.push_str(&text[at..]);
        prop_assert_eq!(rebuilt, masked);
    }
}

#[test]
fn a_long_text_is_cut_off_behind_and_the_same() {
    let text = "A word, then anna@example.com and 4111 1111 1111 1111 again. ".repeat(400);
    assert_eq!(streamed(&text, &[7, 1, 30]), mask(&text).0);
}

#[test]
fn prose_waits_for_one_word_at_most() {
    let mut stream = Stream::new();
    let mut out = String::new();
    for word in
        "The model answers in words, and each of them is given out at once; nothing waits. ".split_inclusive(' ')
    {
        out.push_str(&stream.push(word));
        assert!(stream.held() <= word.len().min(4), "{} bytes wait behind {word:?}", stream.held());
    }
    out.push_str(&stream.finish());
    assert!(out.ends_with("nothing waits. "));
}

#[test]
fn a_sure_finding_is_given_out_before_its_end() {
    let mut stream = Stream::new();
    assert_eq!(stream.push("key: -----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE"), "key: [PRIVATE_KEY]");
    assert_eq!(stream.push(&"IJ1hsZ3v".repeat(1000)), "");
    assert_eq!(stream.held(), 0);
    assert_eq!(stream.push("\n-----END PRIVATE KEY-----, done "), ", done ");
    assert_eq!(stream.finish(), "");
    assert_eq!(stream.counts(), [(Kind::PrivateKey, 1)]);
}

#[test]
fn a_stream_counts_its_findings() {
    let mut stream = Stream::new();
    stream.push("a@b.de, c@d.de, 10.0.0.1");
    stream.finish();
    assert_eq!(stream.counts(), [(Kind::Email, 2), (Kind::Ip, 1)]);
}
