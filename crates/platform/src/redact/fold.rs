//! Folding: one byte for each character, so that all recognisers read plain ASCII whatever the text is written in.
//!
//! Decimal digits of every script become ASCII digits, full-width forms their ASCII twins, dashes `-` and spaces ` `. Characters
//! without width are dropped, which joins what they were put in to part. The rest becomes [`LETTER`] or [`OTHER`].
//! Must not know what is looked for.

/// A letter outside ASCII, of a script that parts its words.
pub(super) const LETTER: u8 = 0x80;
/// Any other character outside ASCII. Scripts without spaces count here: a number is glued to their words.
pub(super) const OTHER: u8 = 0x81;

/// So many characters without width in a row are dropped; one more stands as [`OTHER`], so that what is held back stays bounded.
const DROPPED_MAX: usize = 4;

/// Bytes of text to one folded byte, at most: itself and the dropped characters before it, four bytes each.
pub(super) const BYTES_PER_FOLDED_MAX: usize = 4 * (DROPPED_MAX + 1);

/// A folded text that grows at its end and is cut at its front.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub bytes: Vec<u8>,
    /// Where each folded byte's character starts and ends in the text, from the start of what is kept.
    spans: Vec<(u32, u32)>,
    /// Bytes of the kept text.
    length: usize,
    dropped: usize,
}

impl Fold {
    pub fn push(&mut self, text: &str) {
        self.bytes.reserve(text.len());
        self.spans.reserve(text.len());
        if text.is_ascii() && !text.is_empty() {
            return self.push_ascii(text);
        }
        for (index, character) in text.char_indices() {
            let start = self.length + index;
            let byte = match fold(character) {
                Some(byte) => {
                    self.dropped = 0;
                    byte
                }
                None if self.dropped < DROPPED_MAX => {
                    self.dropped += 1;
                    continue;
                }
                None => OTHER,
            };
            self.bytes.push(byte);
            self.spans.push((narrow(start), narrow(start + character.len_utf8())));
        }
        self.length += text.len();
    }

    fn push_ascii(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.spans.extend((self.length..self.length + text.len()).map(|at| (narrow(at), narrow(at + 1))));
        self.length += text.len();
        self.dropped = 0;
    }

    /// Where folded byte `index` starts in the kept text; the text's end for the end.
    pub fn start(&self, index: usize) -> usize {
        self.spans.get(index).map_or(self.length, |span| span.0 as usize)
    }

    /// Where the folded byte before `index` ends in the kept text.
    pub fn end_before(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|last| self.spans.get(last)).map_or(0, |span| span.1 as usize)
    }

    /// Forgets the first `count` folded bytes; gives the bytes of text that go with them.
    pub fn cut(&mut self, count: usize) -> usize {
        let bytes = self.start(count);
        self.bytes.drain(..count);
        self.spans.drain(..count);
        self.length -= bytes;
        for span in &mut self.spans {
            *span = (span.0 - narrow(bytes), span.1 - narrow(bytes));
        }
        bytes
    }
}

/// Offsets are of one message, whose size the server bounds far below 4 GiB; beyond that they stick at the end.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// The folded byte of a character; `None` for one without width.
fn fold(character: char) -> Option<u8> {
    if character.is_ascii() {
        return Some(character as u8);
    }
    match character {
        '\u{ad}'
        | '\u{34f}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' => None,
        '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}' => None,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(b' '),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some(b'-'),
        '\u{2018}' | '\u{2019}' => Some(b'\''),
        '\u{201c}' | '\u{201d}' => Some(b'"'),
        '\u{fe6b}' => Some(b'@'),
        // Full-width forms lie in ASCII's order.
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(character as u32 - 0xff01 + 0x21).ok(),
        // Marks join the letter before them.
        '\u{300}'..='\u{36f}' => Some(LETTER),
        _ => Some(digit(character).unwrap_or(letter(character))),
    }
}

fn letter(character: char) -> u8 {
    let parts_words = character < '\u{e00}' || ('\u{1e00}'..'\u{2000}').contains(&character);
    if parts_words && character.is_alphabetic() { LETTER } else { OTHER }
}

/// The zeros of the decimal digits outside ASCII (Unicode category Nd); each is followed by its nine others.
const ZEROS: [u32; 28] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20, 0x1040,
    0x1090, 0x17e0, 0x1810, 0xa8d0, 0xa900, 0xaa50, 0xabf0, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6,
];

fn digit(character: char) -> Option<u8> {
    let code = character as u32;
    let after = ZEROS.partition_point(|&zero| zero <= code);
    let zero = *ZEROS.get(after.checked_sub(1)?)?;
    u8::try_from(code - zero).ok().filter(|&value| value < 10).map(|value| b'0' + value)
}
