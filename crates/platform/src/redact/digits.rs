//! Numbers as people write them: digits in groups, parted by a space, a dash, a dot, a line break or the like.

use super::view::{Look, View};

const DIGITS_MAX: usize = 24;
const GROUPS_MAX: usize = 12;
/// Bytes between two groups, as in ") - ".
const SEPARATOR_MAX: usize = 3;

#[derive(Clone, Copy, Default)]
pub(super) struct Group {
    /// Digits in this group.
    pub size: usize,
    /// Digits up to its end, and where it ends.
    pub digits: usize,
    pub end: usize,
    /// What parts it from the group before: the mark (`-`, `.`, `/`, `(`, `)`), else the line break, else the space; 0 for the first.
    pub separator: u8,
}

/// A run of digits in groups, read from one place on.
pub(super) struct Run {
    digits: [u8; DIGITS_MAX],
    groups: [Group; GROUPS_MAX],
    count: usize,
    /// Why the reading stopped: true if a further group follows that was over the limits.
    pub over: bool,
}

impl Run {
    /// Reads groups from `offset` on, up to `digits_max` digits; `marks` are the separators beside white space. A group that would
    /// go over is left out.
    pub fn read(view: &View, offset: usize, digits_max: usize, marks: &[u8]) -> Look<Self> {
        let mut run = Self { digits: [0; DIGITS_MAX], groups: [Group::default(); GROUPS_MAX], count: 0, over: false };
        let (mut at, mut separator, mut total) = (offset, 0, 0);
        let digits_max = digits_max.min(DIGITS_MAX);
        loop {
            let room = digits_max - total;
            let size = view.span(at, room + 1, |byte| byte.is_ascii_digit())?;
            if size == 0 {
                return Ok(run);
            }
            if size > room || run.count == GROUPS_MAX {
                run.over = true;
                return Ok(run);
            }
            for index in 0..size {
                run.digits[total + index] = view.byte(at + index)?.unwrap_or(b'0') - b'0';
            }
            total += size;
            at += size;
            run.groups[run.count] = Group { size, digits: total, end: at, separator };
            run.count += 1;
            let Some((length, mark)) = parted(view, at, marks)? else { return Ok(run) };
            at += length;
            separator = mark;
        }
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups[..self.count]
    }

    pub fn digits(&self, count: usize) -> &[u8] {
        &self.digits[..count.min(DIGITS_MAX)]
    }
}

/// The separator at `offset`, if there is one with a digit behind it: its length and its mark.
fn parted(view: &View, offset: usize, marks: &[u8]) -> Look<Option<(usize, u8)>> {
    let mut mark = 0;
    for length in 0..=SEPARATOR_MAX {
        match view.byte(offset + length)? {
            Some(b'0'..=b'9') => return Ok((length > 0).then_some((length, mark))),
            Some(b' ' | b'\t') if mark == 0 => mark = b' ',
            Some(b' ' | b'\t') => {}
            Some(b'\n' | b'\r') if mark == 0 || mark == b' ' || mark == b'\n' => mark = b'\n',
            Some(byte) if marks.contains(&byte) && (mark == 0 || mark == b' ' || mark == b')' || byte == b'(') => {
                mark = byte
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Luhn's check over digits, ISO/IEC 7812-1 annex B.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(index, &digit)| u32::from(luhn_term(index, digit))).sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != 0)
}

fn luhn_term(index: usize, digit: u8) -> u8 {
    match (index % 2 == 1, digit) {
        (true, 5..) => 2 * digit - 9,
        (true, _) => 2 * digit,
        (false, _) => digit,
    }
}

/// The number that the digits make.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, &digit| value * 10 + u64::from(digit))
}
