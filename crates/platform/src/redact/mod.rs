//! Redaction: finds personal data and secrets in a text and masks them, for a whole text and for one that is streamed.
//!
//! Owns what is looked for and how it is told from look-alikes. Pure functions of text: must not know tenants, settings, HTTP or
//! what is done with a finding. Names of people, addresses of houses and other things that only a reader's knowledge tells are out of
//! scope; so are numbers in words. Start at [`mask`]; [`scan`] says how findings are chosen, [`view`] why a stream and a whole text
//! give the same.
//!
//! Findings do not overlap. The leftmost wins; of several at one place the one that is listed first: secrets by their prefix, secrets
//! beside a name, e-mail, national numbers beside their name, cards, IBANs, IP addresses, international telephone numbers, others
//! beside a word for a telephone, other national numbers, other telephone numbers. Each kind takes the longest that fits.

mod account;
mod address;
mod digits;
mod email;
mod fold;
mod kind;
mod national;
mod phone;
mod scan;
mod secret;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod view;

pub use kind::{Kind, Mode};
pub use stream::{HOLD_BACK_BYTES_MAX, Stream};

use scan::Scanner;
use std::ops::Range;
use stream::Kept;

/// Something found in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub kind: Kind,
    /// Bytes of the text.
    pub range: Range<usize>,
}

/// What is in the text, from left to right; no two overlap.
#[must_use]
pub fn find(text: &str) -> Vec<Finding> {
    mask(text).1
}

/// The text with each finding replaced by its kind's marker, as `[EMAIL]`, and where the findings stood in the text that was given.
#[must_use]
pub fn mask(text: &str) -> (String, Vec<Finding>) {
    let mut scanner = Scanner::default();
    let mut kept = Kept::default();
    scanner.push(text);
    scanner.run(true, &mut kept);
    (kept.text, kept.findings)
}
