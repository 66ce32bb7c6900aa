//! Tests of redaction: what is found and what is not ([`table`], [`near_misses`]), pieces against the whole ([`stream`]), hostile text ([`hostile`]).

mod hostile;
mod near_misses;
mod stream;
mod table;

use super::{Kind, find};

/// Asserts that exactly these findings are in the text.
#[track_caller]
fn check(text: &str, expected: &[(Kind, &str)]) {
    let found: Vec<_> = find(text).into_iter().map(|finding| (finding.kind, &text[finding.range])).collect();
    assert_eq!(found, expected, "in {text:?}");
}
