//! Check digits of national numbers, each by its authority's rule. A function takes the characters without separators, letters in
//! upper case, in the shape that the table states; it answers whether the number can have been issued.

use super::super::digits::luhn;

/// The digits' values; other characters give 0, which the shapes exclude.
fn values(text: &[u8]) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone + '_ {
    text.iter().map(|&byte| if byte.is_ascii_digit() { u32::from(byte - b'0') } else { 0 })
}

fn number(text: &[u8]) -> u64 {
    values(text).fold(0, |value, digit| value * 10 + u64::from(digit))
}

/// Sum of the digits times their weights; the shorter of both decides.
fn weighted(text: &[u8], weights: &[u32]) -> u32 {
    values(text).zip(weights).map(|(digit, weight)| digit * weight).sum()
}

fn last(text: &[u8]) -> u32 {
    values(text).next_back().unwrap_or(10)
}

fn date(month: u64, day: u64) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// All digits alike pass many checks and are nobody's.
fn alike(text: &[u8]) -> bool {
    text.windows(2).all(|pair| pair[0] == pair[1])
}

/// Area, group and serial are never all zeros; areas 666 and 900 up are not issued. No check digit exists.
pub(super) fn us_ssn(text: &[u8]) -> bool {
    let (area, group, serial) = (number(&text[..3]), number(&text[3..5]), number(&text[5..]));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// 9xx, and the middle pairs that the Internal Revenue Service has opened. No check digit exists.
pub(super) fn us_itin(text: &[u8]) -> bool {
    text[0] == b'9' && matches!(number(&text[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// Letters that HM Revenue & Customs uses; no check digit exists.
pub(super) fn uk_nino(text: &[u8]) -> bool {
    const NEVER: [&[u8]; 7] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];
    !b"DFIQUV".contains(&text[0])
        && !b"DFIQUVO".contains(&text[1])
        && !NEVER.contains(&&text[..2])
        && (b'A'..=b'D').contains(&text[8])
}

/// England's, Wales's and the Isle of Man's numbers, and those for tests.
pub(super) fn uk_nhs_english(text: &[u8]) -> bool {
    matches!(text[0], b'4' | b'6' | b'7' | b'9') && uk_nhs(text)
}

/// Modulus 11. Numbers that start with 0 to 3 are Scotland's (a date of birth) and Northern Ireland's; 5 and 8 are not issued.
pub(super) fn uk_nhs(text: &[u8]) -> bool {
    let check = 11 - weighted(text, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let scottish = date(number(&text[2..4]), number(&text[..2]));
    let issued = matches!(text[0], b'4' | b'6' | b'7' | b'9') || text.starts_with(b"3") || scottish;
    check != 10 && check % 11 == last(text) && issued && !alike(text)
}

/// ISO 7064 modulus 11,10; among the first ten digits one stands twice or three times, all others once at most.
pub(super) fn de_tax_id(text: &[u8]) -> bool {
    let mut counts = [0u8; 10];
    for digit in values(&text[..10]) {
        counts[digit as usize] += 1;
    }
    let repeated = counts.iter().filter(|&&count| count > 1).count();
    let product = values(&text[..10]).fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    text[0] != b'0' && repeated == 1 && counts.iter().all(|&count| count <= 3) && (11 - product) % 10 == last(text)
}

/// 97 minus the number modulo 97; Corsica's 2A and 2B count as 19 and 18. Months 20 and up are for those whose month is not known.
pub(super) fn fr_nir(text: &[u8]) -> bool {
    let mut body = [0u8; 13];
    body.copy_from_slice(&text[..13]);
    match (body[5], body[6]) {
        (b'2', b'A') => body[5..7].copy_from_slice(b"19"),
        (b'2', b'B') => body[5..7].copy_from_slice(b"18"),
        (_, byte) if !byte.is_ascii_digit() => return false,
        _ => {}
    }
    let month = number(&text[3..5]);
    let sex = matches!(text[0], b'1'..=b'4' | b'7' | b'8');
    sex && (matches!(month, 1..=12 | 20..=42) || month >= 50) && 97 - number(&body) % 97 == number(&text[13..])
}

const SPANISH: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn spanish(value: u64, letter: u8) -> bool {
    SPANISH.get((value % 23) as usize) == Some(&letter)
}

pub(super) fn es_dni(text: &[u8]) -> bool {
    let (letter, body) = (text[text.len() - 1], &text[..text.len() - 1]);
    spanish(number(body), letter) && !alike(body)
}

pub(super) fn es_nie(text: &[u8]) -> bool {
    let lead = match text[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        _ => return false,
    };
    spanish(lead * 10_000_000 + number(&text[1..8]), text[8])
}

/// Ministerial decree of 12 March 1974: month letter, day (women: plus 40), check letter. `LMNPQRSTUV` may stand for digits.
pub(super) fn it_fiscal_code(text: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(u32::from(byte - b'0')),
        _ => b"LMNPQRSTUV".iter().position(|&stand_in| stand_in == byte).and_then(|index| u32::try_from(index).ok()),
    };
    let numbers = [6, 7, 9, 10, 12, 13, 14].iter().all(|&index| digit(text[index]).is_some());
    let day = digit(text[9]).unwrap_or(9) * 10 + digit(text[10]).unwrap_or(9);
    let value = |byte: u8| usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let even = |byte: u8| u32::try_from(value(byte)).unwrap_or(0);
    let sum: u32 = text[..15]
        .iter()
        .enumerate()
        .map(|(index, &byte)| if index % 2 == 0 { ODD[value(byte)] } else { even(byte) })
        .sum();
    numbers
        && b"ABCDEHLMPRST".contains(&text[8])
        && matches!(day, 1..=31 | 41..=71)
        && u32::from(text[15] - b'A') == sum % 26
}

/// Verhoeff's check over the dihedral group of the pentagon.
pub(super) fn in_aadhaar(text: &[u8]) -> bool {
    const PERMUTATION: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    // Numbers below five turn, the others mirror.
    let product = |a: usize, b: usize| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let check = values(text).rev().enumerate().fold(0, |check, (index, digit)| {
        let permuted = (0..index % 8).fold(digit as usize, |value, _| PERMUTATION[value]);
        product(check, permuted)
    });
    (b'2'..=b'9').contains(&text[0]) && check == 0 && !alike(text)
}

/// The fourth letter is the kind of holder. No check digit is published.
pub(super) fn in_pan(text: &[u8]) -> bool {
    b"ABCFGHJLPT".contains(&text[3]) && number(&text[5..9]) != 0
}

pub(super) fn pl_pesel(text: &[u8]) -> bool {
    let sum = weighted(&text[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    date(number(&text[2..4]) % 20, number(&text[4..6])) && (10 - sum % 10) % 10 == last(text)
}

pub(super) fn nl_bsn(text: &[u8]) -> bool {
    let sum = weighted(&text[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum % 11 == last(text) % 11 && sum > 0 && sum % 11 != 10
}

/// 97 minus the number modulo 97; a 2 stands before those born from 2000 on.
pub(super) fn be_national_number(text: &[u8]) -> bool {
    let (body, key) = (number(&text[..9]), number(&text[9..]));
    let month = number(&text[2..4]) % 20;
    month <= 12 && number(&text[4..6]) <= 31 && [body, 2_000_000_000 + body].iter().any(|body| 97 - body % 97 == key)
}

/// Date, a serial, Luhn over the last ten; day plus 60 is a coordination number. The century may stand in front, `+` is for those over 100.
pub(super) fn se_personnummer(text: &[u8]) -> bool {
    let mut digits = [0u8; 12];
    let mut count = 0;
    for byte in text.iter().filter(|byte| byte.is_ascii_digit()) {
        digits[count] = byte - b'0';
        count += 1;
    }
    let digits = &digits[..count];
    let century = count == 10 || matches!((digits[0], digits[1]), (1, 8 | 9) | (2, 0));
    let short = &digits[count - 10..];
    let pair = |at: usize| u64::from(short[at] * 10 + short[at + 1]);
    century && date(pair(2), pair(4) % 60) && luhn(short)
}

/// Day, month, year, a sign for the century, a number from 002 to 999, the remainder of nine digits by 31 as a character.
pub(super) fn fi_hetu(text: &[u8]) -> bool {
    let remainder = (number(&text[..6]) * 1000 + number(&text[7..10])) % 31;
    b"-+ABCDEFUVWXY".contains(&text[6])
        && date(number(&text[2..4]), number(&text[..2]))
        && number(&text[7..10]) >= 2
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY".get(remainder as usize) == Some(&text[10])
}

pub(super) fn br_cpf(text: &[u8]) -> bool {
    let check = |count: usize| {
        let sum: u32 =
            values(&text[..count]).enumerate().map(|(index, digit)| digit * (count as u32 + 1 - index as u32)).sum();
        sum * 10 % 11 % 10
    };
    !alike(text) && values(&text[9..]).eq([check(9), check(10)])
}

pub(super) fn sg_nric(text: &[u8]) -> bool {
    let sum = weighted(&text[1..8], &[2, 7, 6, 5, 4, 3, 2]) as usize;
    let letter = match text[0] {
        b'S' => b"JZIHGFEDCBA"[sum % 11],
        b'T' => b"JZIHGFEDCBA"[(sum + 4) % 11],
        b'F' => b"XWUTRQPNMLK"[sum % 11],
        b'G' => b"XWUTRQPNMLK"[(sum + 4) % 11],
        b'M' => b"XWUTRQPNJLK"[(sum + 3) % 11],
        _ => return false,
    };
    letter == text[8]
}

/// Date, the digit of sex and century, check digit.
pub(super) fn kr_rrn(text: &[u8]) -> bool {
    let sum = weighted(&text[..12], &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    kr_rrn_recent(text) && (11 - sum % 11) % 10 == last(text)
}

/// Numbers given out since October 2020 are random behind the digit of sex and century: no check digit.
pub(super) fn kr_rrn_recent(text: &[u8]) -> bool {
    date(number(&text[2..4]), number(&text[4..6])) && (b'1'..=b'8').contains(&text[6])
}

pub(super) fn au_tfn(text: &[u8]) -> bool {
    weighted(text, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !alike(text)
}

/// Luhn; 0 and 8 are not given to persons.
pub(super) fn ca_sin(text: &[u8]) -> bool {
    let mut digits = [0u8; 9];
    for (place, value) in digits.iter_mut().zip(text) {
        *place = value - b'0';
    }
    !matches!(digits[0], 0 | 8) && luhn(&digits)
}

/// EAN-13 with Switzerland's 756 in front.
pub(super) fn ch_ahv(text: &[u8]) -> bool {
    let sum = weighted(text, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    text.starts_with(b"756") && sum.is_multiple_of(10)
}

/// GB 11643: region, date of birth, serial, ISO 7064 modulus 11-2.
pub(super) fn cn_resident_id(text: &[u8]) -> bool {
    let sum = weighted(&text[..17], &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let dated = matches!(&text[6..8], b"18" | b"19" | b"20") && date(number(&text[10..12]), number(&text[12..14]));
    dated && text[0] != b'0' && b"10X98765432".get((sum % 11) as usize) == Some(&text[17])
}
