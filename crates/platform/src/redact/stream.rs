//! Redaction of a text that comes in pieces.

use super::Finding;
use super::fold::BYTES_PER_FOLDED_MAX;
use super::kind::Kind;
use super::scan::{LOOK_MAX, Scanner, Sink};

/// A stream holds back so many bytes at most. Text in one script takes one to four bytes a character; the rest of the bound is for
/// characters without width that are strewn in.
pub const HOLD_BACK_BYTES_MAX: usize = LOOK_MAX * BYTES_PER_FOLDED_MAX;

/// Masks a text piece by piece. The pieces given out, joined, are what [`super::mask`] makes of the whole, however it was cut.
///
/// What is held back is what may still become a finding, [`HOLD_BACK_BYTES_MAX`] at most: in prose the last word, after a number the
/// words that may go on with it.
#[derive(Debug, Default)]
pub struct Stream {
    scanner: Scanner,
    counts: Vec<(Kind, u64)>,
}

impl Stream {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece; gives what is safe to give out.
    pub fn push(&mut self, piece: &str) -> String {
        self.scanner.push(piece);
        self.run(false)
    }

    /// The text is over: gives the rest. Afterwards the stream is as new, but for its counts.
    pub fn finish(&mut self) -> String {
        let rest = self.run(true);
        self.scanner = Scanner::default();
        rest
    }

    /// The kinds found so far and how often, in the order of their first finding.
    #[must_use]
    pub fn counts(&self) -> &[(Kind, u64)] {
        &self.counts
    }

    fn run(&mut self, whole: bool) -> String {
        let mut masked = Masked { text: String::new(), counts: &mut self.counts };
        self.scanner.run(whole, &mut masked);
        masked.text
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.scanner.held()
    }
}

struct Masked<'a> {
    text: String,
    counts: &'a mut Vec<(Kind, u64)>,
}

impl Sink for Masked<'_> {
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn found(&mut self, kind: Kind, _start: usize) {
        self.text.push_str(kind.marker());
        match self.counts.iter_mut().find(|row| row.0 == kind) {
            Some(row) => row.1 += 1,
            None => self.counts.push((kind, 1)),
        }
    }

    fn closed(&mut self, _end: usize) {}
}

/// Keeps the masked text and where everything was.
#[derive(Default)]
pub(super) struct Kept {
    pub text: String,
    pub findings: Vec<Finding>,
}

impl Sink for Kept {
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn found(&mut self, kind: Kind, start: usize) {
        self.text.push_str(kind.marker());
        self.findings.push(Finding { kind, range: start..start });
    }

    fn closed(&mut self, end: usize) {
        if let Some(last) = self.findings.last_mut() {
            last.range.end = end;
        }
    }
}
