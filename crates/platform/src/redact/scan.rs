//! The walk over a folded text: at each place where an identifier can start, the recognisers in their order; the first that
//! answers wins, and the walk goes on behind its finding.
//!
//! Start at [`Scanner::run`]. Rules: leftmost first; at one place the order of [`recognise`]. No recogniser reads further than
//! [`LOOK_MAX`] bytes, so each place costs a bounded amount of work and the whole is linear.

use super::fold::Fold;
use super::kind::Kind;
use super::tail::Tail;
use super::view::{LEFT, Look, View, word};
use super::{account, address, email, national, phone, secret};

/// The furthest that a recogniser reads: an e-mail address (64 + 1 + 255) and the two bytes behind it.
pub(super) const LOOK_MAX: usize = 322;

/// A finding from the place of the view on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub kind: Kind,
    pub length: usize,
    /// The finding is sure and goes on for as long as the tail says.
    pub tail: Option<Tail>,
}

impl Hit {
    pub fn new(kind: Kind, length: usize) -> Self {
        Self { kind, length, tail: None }
    }
}

/// Where the walk puts what it finds. Offsets are bytes of the text since its start.
pub(super) trait Sink {
    /// Text that is in no finding.
    fn plain(&mut self, text: &str);
    fn found(&mut self, kind: Kind, start: usize);
    /// The finding that was last given ends here.
    fn closed(&mut self, end: usize);
}

/// A text under way: what is not decided yet, and a little before it.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    raw: String,
    folded: Fold,
    /// The folded byte that is next.
    at: usize,
    /// Bytes of `raw` that are given out or in a finding.
    given: usize,
    /// Bytes of text that were cut off `raw`'s front.
    gone: usize,
    tail: Option<Tail>,
}

/// Decided text is cut off once so much of it has gathered.
const CUT_AT: usize = 4096;

impl Scanner {
    pub fn push(&mut self, text: &str) {
        self.raw.push_str(text);
        self.folded.push(text);
    }

    /// Bytes that are held back.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.raw.len() - self.given
    }

    /// Decides what can be decided; all of it if nothing will follow.
    pub fn run(&mut self, whole: bool, sink: &mut impl Sink) {
        while self.turn(whole, sink).is_ok_and(|more| more) {}
        if whole && self.tail.is_some() {
            self.close(sink);
        }
        if self.tail.is_some() {
            // What the tail took is in the finding: nobody waits for it.
            self.given = self.folded.end_before(self.at);
        } else {
            self.give(self.folded.start(self.at), sink);
        }
        if self.at > LEFT + CUT_AT {
            let bytes = self.folded.cut(self.at - LEFT);
            self.raw.drain(..bytes);
            self.at = LEFT;
            self.given -= bytes;
            self.gone += bytes;
        }
    }

    /// One place, or one piece of a tail; false at the end of the text.
    fn turn(&mut self, whole: bool, sink: &mut impl Sink) -> Look<bool> {
        if self.at >= self.folded.bytes.len() {
            return Ok(false);
        }
        let view = View::new(&self.folded.bytes, self.at, whole);
        if let Some(mut tail) = self.tail {
            match tail.take(&view)? {
                0 => self.close(sink),
                count => {
                    self.at += count;
                    self.tail = Some(tail);
                }
            }
            return Ok(true);
        }
        match recognise(&view)? {
            None => self.at += 1 + self.rest_of_word(self.at),
            Some(hit) => {
                let start = self.folded.start(self.at);
                self.give(start, sink);
                sink.found(hit.kind, self.gone + start);
                self.at += hit.length;
                self.tail = hit.tail;
                if hit.tail.is_none() {
                    self.close(sink);
                }
            }
        }
        Ok(true)
    }

    /// Bytes behind `at` at which nothing can start, since they go on with a word.
    fn rest_of_word(&self, at: usize) -> usize {
        let bytes = &self.folded.bytes[at..];
        bytes.windows(2).take_while(|pair| word(pair[0]) && pair[1] != b'-').count()
    }

    fn give(&mut self, end: usize, sink: &mut impl Sink) {
        if let Some(text) = self.raw.get(self.given..end) {
            sink.plain(text);
            self.given = end;
        }
    }

    fn close(&mut self, sink: &mut impl Sink) {
        self.tail = None;
        self.given = self.folded.end_before(self.at);
        sink.closed(self.gone + self.given);
    }
}

/// The finding that starts here, if one does.
///
/// The order is the priority: what is surest first, a telephone number without a name last.
fn recognise(view: &View) -> Look<Option<Hit>> {
    let Some(first) = view.byte(0)? else { return Ok(None) };
    let armour = first == b'-' && view.before(1) != Some(b'-');
    if first.is_ascii_whitespace() || !armour && !view.starts() {
        return Ok(None);
    }
    if plain_word(view)? {
        return secret::beside_a_name(view);
    }
    let digit = first.is_ascii_digit();
    let letter = first.is_ascii_alphabetic();
    type Recogniser = fn(&View) -> Look<Option<Hit>>;
    let steps: [(bool, Recogniser); 12] = [
        (letter || digit || first == b'-', secret::with_prefix),
        (true, secret::beside_a_name),
        (first > b'/', email::find),
        (letter || digit, national::named),
        (digit, account::card),
        (letter, account::iban),
        (digit, address::v4),
        (digit || letter || first == b':', address::v6),
        (first == b'+' || digit, phone::international),
        (digit || first == b'(', phone::named),
        (letter || digit, national::shaped),
        (digit || first == b'(', phone::shaped),
    ];
    // The first answer counts; an unknown one before it must be waited for.
    for (applies, recogniser) in steps {
        if applies && let Some(hit) = recogniser(view)? {
            return Ok(Some(hit));
        }
    }
    Ok(None)
}

/// A word of letters with white space or a comma behind it, as most of a text is: nothing but a value beside its name can start here.
/// A short one may be the first group of a number that is written with spaces, if a digit or a capital follows.
fn plain_word(view: &View) -> Look<bool> {
    /// Keys of letters alone are longer.
    const LETTERS_MAX: usize = 15;
    const GROUP_MAX: usize = 3;
    let letters = view.span(0, LETTERS_MAX + 1, |byte| byte.is_ascii_alphabetic())?;
    if letters == 0 || letters > LETTERS_MAX {
        return Ok(false);
    }
    Ok(match view.byte(letters)? {
        None | Some(b',') => true,
        Some(byte) if byte.is_ascii_whitespace() => {
            letters > GROUP_MAX
                || !view.byte(letters + 1)?.is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        }
        _ => false,
    })
}
