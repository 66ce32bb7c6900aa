//! Payment cards (ISO/IEC 7812: issuer range, length, Luhn) and bank accounts (ISO 13616: country's structure, modulus 97).

use super::digits::{Run, luhn, number};
use super::kind::Kind;
use super::scan::Hit;
use super::view::{Look, View};
use std::ops::RangeInclusive;

/// First digits, and the lengths that the scheme issues.
struct Range {
    prefix_digits: usize,
    prefixes: RangeInclusive<u64>,
    lengths: RangeInclusive<usize>,
}

const fn range(prefix_digits: usize, prefixes: RangeInclusive<u64>, lengths: RangeInclusive<usize>) -> Range {
    Range { prefix_digits, prefixes, lengths }
}

const RANGES: &[Range] = &[
    range(1, 4..=4, 16..=16),             // Visa
    range(1, 4..=4, 13..=13),             // Visa, old
    range(1, 4..=4, 18..=19),             // Visa, long
    range(2, 51..=55, 16..=16),           // Mastercard
    range(4, 2221..=2720, 16..=16),       // Mastercard
    range(2, 34..=34, 15..=15),           // American Express
    range(2, 37..=37, 15..=15),           // American Express
    range(4, 6011..=6011, 16..=19),       // Discover
    range(3, 644..=649, 16..=19),         // Discover
    range(2, 65..=65, 16..=19),           // Discover
    range(3, 300..=305, 14..=19),         // Diners Club
    range(4, 3095..=3095, 14..=19),       // Diners Club
    range(2, 36..=36, 14..=19),           // Diners Club
    range(2, 38..=39, 14..=19),           // Diners Club
    range(4, 3528..=3589, 16..=19),       // JCB
    range(2, 62..=62, 16..=19),           // UnionPay
    range(2, 81..=82, 16..=16),           // UnionPay and RuPay
    range(4, 2200..=2204, 16..=19),       // Mir
    range(2, 50..=50, 16..=19),           // Maestro, RuPay, Verve
    range(2, 56..=58, 16..=19),           // Maestro
    range(2, 60..=60, 16..=19),           // RuPay
    range(2, 63..=63, 16..=19),           // Maestro
    range(2, 67..=67, 16..=19),           // Maestro
    range(6, 979_200..=979_289, 16..=16), // Troy
];

const CARD_DIGITS_MAX: usize = 19;
/// The first group has four digits at least and the others three: groups of three alone are a large number with its thousands parted.
const CARD_FIRST_GROUP_MIN: usize = 4;
const CARD_GROUP_MIN: usize = 3;

pub(super) fn card(view: &View) -> Look<Option<Hit>> {
    if !view.starts_apart() {
        return Ok(None);
    }
    let run = Run::read(view, 0, CARD_DIGITS_MAX, b"-.")?;
    if run.groups().first().is_none_or(|group| group.size < CARD_FIRST_GROUP_MIN) {
        return Ok(None);
    }
    for group in run.groups().iter().rev() {
        let small = run.groups().iter().any(|other| other.digits < group.digits && other.size < CARD_GROUP_MIN);
        if !small && issued(run.digits(group.digits)) && view.ends(group.end)? {
            return Ok(Some(Hit::new(Kind::Card, group.end)));
        }
    }
    Ok(None)
}

fn issued(digits: &[u8]) -> bool {
    RANGES.iter().any(|range| {
        range.lengths.contains(&digits.len())
            && digits.get(..range.prefix_digits).is_some_and(|prefix| range.prefixes.contains(&number(prefix)))
    }) && luhn(digits)
}

/// Country and structure of the part behind the check digits: `n` digits, `a` letters, `c` either.
const IBANS: &str = "AD8n12c AE19n AL8n16c AT16n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BR23n1a1c BY4c4n16c CH5n12c CR18n CY8n16c \
    CZ20n DE18n DJ23n DK14n DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n GB4a14n GE2a16n GI4a15c GL14n GR7n16c GT4c20c \
    HN4a20n HR17n HU24n IE4a14n IL19n IQ4a15n IS22n IT1a10n12c JO4a4n18c KW4a22c KZ3n13c LB4n20c LC4a24c LI5n12c LT16n LU3n13c LV4a13c \
    LY21n MC10n11c2n MD20c ME18n MK3n10c2n MN16n MR23n MT4a5n18c MU4a19n3a NI4a20n NL4a10n NO11n OM3n16c PK4a16c PL24n PS4a21c PT21n \
    QA4a21c RO4a16c RS18n RU14n15c SA2n18c SC4a20n3a SD14n SE20n SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TL19n TN20n TR6n16c UA6n19c \
    VA18n VG4a16n XK16n YE4a4n18c";

const IBAN_LENGTH_MAX: usize = 34;

pub(super) fn iban(view: &View) -> Look<Option<Hit>> {
    let (Some(first), Some(second)) = (view.byte(0)?, view.byte(1)?) else { return Ok(None) };
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    if !view.starts_apart() || !view.byte(2)?.is_some_and(|byte| byte.is_ascii_digit() || b" -".contains(&byte)) {
        return Ok(None);
    }
    let digits = 2 + usize::from(!view.byte(2)?.is_some_and(|byte| byte.is_ascii_digit()));
    if !view.byte(digits)?.is_some_and(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let Some(structure) = IBANS.split(' ').find(|row| row.as_bytes().starts_with(&country)) else { return Ok(None) };
    let mut reader = Reader { view, at: 2, text: [0; IBAN_LENGTH_MAX], length: 2 };
    reader.text[..2].copy_from_slice(&country);
    if !reader.take(2, b'n')? {
        return Ok(None);
    }
    let mut count = 0;
    for symbol in structure.bytes().skip(2) {
        match symbol {
            b'0'..=b'9' => count = count * 10 + usize::from(symbol - b'0'),
            _ if !reader.take(std::mem::take(&mut count), symbol)? => return Ok(None),
            _ => {}
        }
    }
    let sound = modulus_97(&reader.text[..reader.length]) && view.ends(reader.at)?;
    Ok(sound.then(|| Hit::new(Kind::Iban, reader.at)))
}

/// Reads an IBAN's characters, upper-cased, past single separators.
struct Reader<'a> {
    view: &'a View<'a>,
    at: usize,
    text: [u8; IBAN_LENGTH_MAX],
    length: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize, symbol: u8) -> Look<bool> {
        for _ in 0..count {
            let mut byte = self.view.byte(self.at)?;
            if byte.is_some_and(|byte| b" -\n\r".contains(&byte)) {
                self.at += 1;
                let pair = byte == Some(b'\r') && self.view.byte(self.at)? == Some(b'\n');
                self.at += usize::from(pair);
                byte = self.view.byte(self.at)?;
            }
            let Some(byte) = byte.filter(|&byte| fits(byte, symbol)) else { return Ok(false) };
            let Some(place) = self.text.get_mut(self.length) else { return Ok(false) };
            *place = byte.to_ascii_uppercase();
            self.length += 1;
            self.at += 1;
        }
        Ok(true)
    }
}

fn fits(byte: u8, symbol: u8) -> bool {
    match symbol {
        b'n' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        _ => byte.is_ascii_alphanumeric(),
    }
}

/// ISO 7064 modulus 97,10 over the text with its first four characters moved to the end, letters as 10 to 35.
fn modulus_97(text: &[u8]) -> bool {
    let moved = text.iter().skip(4).chain(text.iter().take(4));
    let rest = moved.fold(0u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    rest == 1
}
