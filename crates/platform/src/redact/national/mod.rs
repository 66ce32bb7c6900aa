//! National identity, tax and health numbers: one table of shapes, and [`checks`] for their check digits.
//!
//! A number that is told by its check digits, or by its letters, is found wherever it stands. One that any number of its length
//! could be is found only where its name stands before it. Start at [`TABLE`].

mod checks;

use super::kind::Kind;
use super::scan::Hit;
use super::view::{Look, View};

/// So far from the number may its name stand.
const NAME_REACH: usize = 48;
/// The longest shape without its separators.
const LENGTH_MAX: usize = 20;

/// When a number without its name is taken for one.
#[derive(Clone, Copy, PartialEq)]
enum Alone {
    /// Always: the check is strong, or the letters tell.
    Yes,
    /// If it is written with its separators.
    Parted,
    /// If these are also alike: for numbers without a check digit.
    Alike,
    /// Never.
    No,
}

/// One national number.
struct Row {
    kind: Kind,
    /// `9` a digit, `A` a letter, `X` either, `_` a separator that may be left out (space, dash, line break; `~` a dot too), `.` any
    /// byte; everything else stands for itself.
    shape: &'static str,
    /// Over the characters without separators, letters in upper case.
    check: fn(&[u8]) -> bool,
    alone: Alone,
    /// Lower-case words that name it.
    names: &'static [&'static str],
}

macro_rules! rows {
    ($($kind:ident $shape:literal $check:ident $alone:ident [$($name:literal)*])+) => {
        &[$(Row { kind: Kind::$kind, shape: $shape, check: checks::$check, alone: Alone::$alone, names: &[$($name),*] },)+]
    };
}

/// In this order; of two that fit alike, the stricter check comes first.
const TABLE: &[Row] = rows! {
    ItFiscalCode "AAA_AAA_XXAXX_AXXXA" it_fiscal_code Yes ["codice fiscale" "cf" "c.f"]
    UkNino "AA_99_99_99_A" uk_nino Yes ["nino" "ni number" "national insurance"]
    InPan "AAAAA9999A" in_pan Yes ["pan" "permanent account"]
    EsNie "A_9999999_A" es_nie Yes ["nie"]
    SgNric "A9999999A" sg_nric Yes ["nric" "fin"]
    EsDni "99999999_A" es_dni Yes ["dni" "nif"]
    EsDni "9999999_A" es_dni No ["dni" "nif"]
    FiHetu "999999.999X" fi_hetu Yes ["hetu" "henkil"]
    FrNir "9_99_99_9X_999_999_99" fr_nir Yes ["nir" "sociale" "insee"]
    CnResidentId "99999999999999999X" cn_resident_id Yes ["identity"]
    CnResidentId "999999_99999999_999X" cn_resident_id Yes ["identity"]
    ChAhv "999~9999~9999~99" ch_ahv Yes ["ahv" "avs"]
    KrRrn "999999_9999999" kr_rrn Parted ["rrn" "resident registration"]
    KrRrn "999999_9999999" kr_rrn_recent No ["rrn" "resident registration"]
    SePersonnummer "99999999_9999" se_personnummer Yes ["personnummer"]
    SePersonnummer "999999_9999" se_personnummer Parted ["personnummer"]
    SePersonnummer "999999+9999" se_personnummer Yes ["personnummer"]
    BeNationalNumber "99~99~99~999~99" be_national_number Parted ["rijksregister" "registre national" "national number"]
    DeTaxId "99_999_999_999" de_tax_id Yes ["steuer-id" "steuerid" "steueridentifikationsnummer" "idnr" "identifikationsnummer" "tin" "tax id"]
    PlPesel "99999999999" pl_pesel Yes ["pesel"]
    BrCpf "999~999~999~99" br_cpf Yes ["cpf"]
    InAadhaar "9999_9999_9999" in_aadhaar Yes ["aadhaar" "aadhar" "uidai"]
    UkNhs "999_999_9999" uk_nhs_english Yes ["nhs"]
    UkNhs "999_999_9999" uk_nhs Parted ["nhs" "chi"]
    UsSsn "999~99~9999" us_ssn Alike ["ssn" "social security"]
    UsItin "999_99_9999" us_itin Alike ["itin" "taxpayer"]
    AuTfn "999_999_999" au_tfn No ["tfn" "tax file"]
    CaSin "999_999_999" ca_sin Parted ["sin" "social insurance"]
    NlBsn "9999~99~999" nl_bsn Parted ["bsn" "burgerservicenummer" "sofinummer"]
    NlBsn "999999999" nl_bsn No ["bsn" "burgerservicenummer" "sofinummer"]
};

/// A number with its name before it.
pub(super) fn named(view: &View) -> Look<Option<Hit>> {
    find(view, |row, _| Ok(view.named(row.names, NAME_REACH)))
}

/// A number that needs no name.
pub(super) fn shaped(view: &View) -> Look<Option<Hit>> {
    find(view, |row, read| {
        let alone = match row.alone {
            Alone::Yes => true,
            Alone::Parted => read.parted,
            Alone::Alike => read.parted && read.alike,
            Alone::No => false,
        };
        // One of many numbers in a row is none.
        let in_row = read.separated && (view.follows_number() || followed(view, read.end)?);
        Ok(alone && !in_row)
    })
}

fn followed(view: &View, end: usize) -> Look<bool> {
    Ok(view.byte(end)? == Some(b' ') && view.byte(end + 1)?.is_some_and(|byte| byte.is_ascii_digit()))
}

fn find(view: &View, wanted: impl Fn(&Row, &Read) -> Look<bool>) -> Look<Option<Hit>> {
    if !view.starts_apart() || view.before(1) == Some(b'+') {
        return Ok(None);
    }
    // Most words end here: one of letters alone, of more than the three that a written-out code starts with, starts no number.
    let word = view.span(0, 4, |byte| byte.is_ascii_alphabetic())?;
    if word > 3
        && !view.slice(0, LENGTH_MAX).iter().take_while(|byte| byte.is_ascii_alphanumeric()).any(u8::is_ascii_digit)
    {
        view.span(0, LENGTH_MAX, |byte| byte.is_ascii_alphabetic())?;
        return Ok(None);
    }
    let lettered = word > 0;
    for row in TABLE.iter().filter(|row| row.shape.starts_with('A') == lettered) {
        let Some(read) = read(view, row.shape.as_bytes())? else { continue };
        if (row.check)(&read.text[..read.length]) && view.ends(read.end)? && wanted(row, &read)? {
            return Ok(Some(Hit::new(row.kind, read.end)));
        }
    }
    Ok(None)
}

struct Read {
    text: [u8; LENGTH_MAX],
    length: usize,
    end: usize,
    /// All of its separators are there, and none is a line break.
    parted: bool,
    /// They are the same.
    alike: bool,
    /// One of them is.
    separated: bool,
}

/// Reads a shape from here on.
fn read(view: &View, shape: &[u8]) -> Look<Option<Read>> {
    let mut read = Read { text: [0; LENGTH_MAX], length: 0, end: 0, parted: true, alike: true, separated: false };
    let mut first = None;
    for &symbol in shape {
        let Some(byte) = view.byte(read.end)? else { return Ok(None) };
        if symbol == b'_' || symbol == b'~' {
            let separator = b" -\n".contains(&byte) || symbol == b'~' && byte == b'.';
            read.end += usize::from(separator);
            read.separated |= separator;
            read.parted &= separator && byte != b'\n';
            read.alike &= *first.get_or_insert(byte) == byte;
            continue;
        }
        let fits = match symbol {
            b'9' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_alphabetic(),
            b'X' => byte.is_ascii_alphanumeric(),
            b'.' => byte.is_ascii(),
            _ => byte == symbol,
        };
        let Some(place) = read.text.get_mut(read.length).filter(|_| fits) else { return Ok(None) };
        *place = byte.to_ascii_uppercase();
        read.length += 1;
        read.end += 1;
    }
    Ok(Some(read))
}
