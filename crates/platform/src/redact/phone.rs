//! Telephone numbers: E.164 with its country codes, the North American plan, national numbers with the trunk digit 0, a few national
//! forms that are told by their groups, and any number of fitting length beside a word for a telephone.

use super::digits::{Group, Run, number};
use super::kind::Kind;
use super::scan::Hit;
use super::view::{Look, View};

const E164_DIGITS_MAX: usize = 15;
const MARKS: &[u8] = b"-./()";
/// So far from the number may its name stand.
const NAME_REACH: usize = 40;

const NAMES: &[&str] = &[
    "phone",
    "phones",
    "telephone",
    "tel",
    "call",
    "mobile",
    "cell",
    "cellphone",
    "whatsapp",
    "sms",
    "text me",
    "fax",
    "dial",
    "ring",
    "reach",
    "telefon",
    "handy",
    "mobil",
    "rufnummer",
    "portable",
    "telefono",
    "movil",
    "cellulare",
    "celular",
    "telefone",
    "phone_number",
    "phonenumber",
    "contact",
    "landline",
    "hotline",
    "telefoon",
    "mobiel",
    "puhelin",
];

/// Country codes of ITU-T E.164 with the least and the most digits behind them. A code of three digits without a row has 7 to 10.
const COUNTRIES: &[(u64, usize, usize)] = &[
    (1, 10, 10),
    (7, 10, 10),
    (20, 8, 10),
    (27, 9, 9),
    (30, 10, 10),
    (31, 9, 9),
    (32, 8, 9),
    (33, 9, 9),
    (34, 9, 9),
    (36, 8, 9),
    (39, 6, 11),
    (40, 9, 9),
    (41, 9, 9),
    (43, 7, 12),
    (44, 9, 10),
    (45, 8, 8),
    (46, 7, 10),
    (47, 8, 8),
    (48, 9, 9),
    (49, 6, 12),
    (51, 8, 9),
    (52, 10, 11),
    (53, 8, 8),
    (54, 10, 11),
    (55, 10, 11),
    (56, 9, 9),
    (57, 8, 10),
    (58, 10, 10),
    (60, 8, 10),
    (61, 9, 9),
    (62, 8, 12),
    (63, 8, 10),
    (64, 8, 10),
    (65, 8, 8),
    (66, 8, 9),
    (81, 9, 10),
    (82, 8, 10),
    (84, 9, 10),
    (86, 10, 11),
    (90, 10, 10),
    (91, 10, 10),
    (92, 9, 10),
    (93, 9, 9),
    (94, 9, 9),
    (95, 7, 10),
    (98, 10, 10),
    (351, 9, 9),
    (353, 7, 9),
    (358, 5, 11),
    (372, 7, 8),
    (971, 8, 9),
    (972, 8, 9),
];

/// The first two digits of the codes of three.
const THREE_DIGIT_CODES: &[u64] =
    &[21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99];

/// Codes of three digits among those that nobody has.
const UNASSIGNED: &[u64] = &[
    210, 214, 215, 217, 219, 259, 292, 293, 294, 295, 296, 384, 388, 422, 424, 425, 426, 427, 428, 429, 671, 693, 694,
    695, 696, 697, 698, 699, 851, 854, 857, 858, 859, 884, 885, 887, 889, 969, 978, 990, 991, 997, 999,
];

/// `+` or `00`, a country code, and so many digits as the country has.
pub(super) fn international(view: &View) -> Look<Option<Hit>> {
    let lead = if view.byte(0)? == Some(b'+') { 1 } else { 2 };
    if lead == 2 && (!view.reads(0, b"00")? || !view.starts_apart() || view.follows_number())
        || view.before(1).is_some_and(|byte| byte == b'+')
    {
        return Ok(None);
    }
    let extra = usize::from(view.byte(lead)? == Some(b'('));
    // One more digit than E.164 has: a trunk 0 in brackets does not count.
    let run = Run::read(view, lead + extra, E164_DIGITS_MAX + 1, MARKS)?;
    for group in run.groups().iter().rev() {
        if fits_country(&run, group) && view.ends(group.end)? {
            return Ok(Some(Hit::new(Kind::Phone, group.end)));
        }
    }
    Ok(None)
}

fn fits_country(run: &Run, last: &Group) -> bool {
    let digits = run.digits(last.digits);
    let code = |count: usize| digits.get(..count).filter(|code| code[0] != 0).map(number);
    let known = |count: usize| COUNTRIES.iter().find(|row| Some(row.0) == code(count)).map(|row| (count, row.1, row.2));
    let assigned =
        || code(3).is_some_and(|code| THREE_DIGIT_CODES.contains(&(code / 10)) && !UNASSIGNED.contains(&code));
    let three = || assigned().then_some((3, 7, 10));
    let Some((length, least, most)) = known(1).or_else(|| known(2)).or_else(|| known(3)).or_else(three) else {
        return false;
    };
    // "(0)" behind the code: a trunk digit that is dialled inside the country only.
    let trunk =
        run.groups().iter().any(|group| group.size == 1 && group.digits == length + 1 && group.separator == b'(')
            && digits.get(length) == Some(&0);
    let rest = digits.len() - length.min(digits.len()) - usize::from(trunk);
    let american = code(1) != Some(1) || digits.get(1..).is_some_and(north_american);
    // Italy and some countries with codes of three digits keep the 0 in front.
    let zero = digits.get(length) == Some(&0) && !trunk && length < 3 && code(2) != Some(39);
    (least..=most).contains(&rest) && american && !zero
}

/// Area code and exchange of the North American plan: neither starts with 0 or 1, the area code's second digit is no 9.
fn north_american(digits: &[u8]) -> bool {
    digits.len() == 10 && digits[0] >= 2 && digits[1] != 9 && digits[3] >= 2 && !(digits[1] == 1 && digits[2] == 1)
}

/// A number without a country code, beside a word for a telephone.
pub(super) fn named(view: &View) -> Look<Option<Hit>> {
    let hit = national(view, |shape| shape.plausible())?;
    Ok(hit.filter(|_| view.named(NAMES, NAME_REACH)))
}

/// A number without a country code that is told by its groups.
pub(super) fn shaped(view: &View) -> Look<Option<Hit>> {
    national(view, |shape| shape.telling())
}

fn national(view: &View, fits: impl Fn(&Shape) -> bool) -> Look<Option<Hit>> {
    if !view.starts_apart() || view.before(1).is_some_and(|byte| b"+$#*^".contains(&byte)) {
        return Ok(None);
    }
    let open = usize::from(view.byte(0)? == Some(b'('));
    let run = Run::read(view, open, 13, MARKS)?;
    let breaks = run.groups().iter().filter(|group| group.separator == b'\n').count();
    let bracketed = open == 1 && run.groups().get(1).is_some_and(|group| group.separator == b')');
    if breaks > 1 || (open == 1 && !bracketed) {
        return Ok(None);
    }
    let alone = !view.follows_number();
    for (index, group) in run.groups().iter().enumerate().rev() {
        let shape = Shape { groups: &run.groups()[..=index], digits: run.digits(group.digits), bracketed, alone };
        let goes_on = run.groups().get(index + 1).map_or(run.over, |next| next.size > 2 || next.separator != b' ');
        if !goes_on && fits(&shape) && view.ends(group.end)? {
            return Ok(Some(Hit::new(Kind::Phone, group.end)));
        }
    }
    Ok(None)
}

/// A number's groups, up to one of them.
struct Shape<'a> {
    groups: &'a [Group],
    digits: &'a [u8],
    bracketed: bool,
    /// No number stands before it, parted by a space.
    alone: bool,
}

impl Shape<'_> {
    /// Nothing but a telephone number is written so.
    fn telling(&self) -> bool {
        let spaced = self.groups.get(1).is_some_and(|group| group.separator == b' ') && !self.bracketed;
        (self.alone || !spaced) && self.national()
    }

    fn national(&self) -> bool {
        self.american() || self.trunk() || self.indian() || self.brazilian() || self.chinese()
    }

    fn sizes(&self, sizes: &[usize]) -> bool {
        self.groups.len() == sizes.len() && self.groups.iter().zip(sizes).all(|(group, &size)| group.size == size)
    }

    fn american(&self) -> bool {
        let (long, short) = (self.sizes(&[1, 3, 3, 4]) && self.digits[0] == 1, self.sizes(&[3, 3, 4]));
        (short && north_american(self.digits)) || (long && north_american(&self.digits[1..]))
    }

    /// 0, an area, a number: 9 to 12 digits in two to five groups, the first of two to six digits.
    fn trunk(&self) -> bool {
        let [first, rest @ ..] = self.groups else { return false };
        let lead = self.digits.first() == Some(&0) && self.digits.get(1).is_some_and(|&digit| digit != 0);
        lead && (9..=12).contains(&self.digits.len())
            && (2..=6).contains(&first.size)
            && (1..=4).contains(&rest.len())
            && rest.iter().all(|group| group.size >= 2)
            && !self.date()
    }

    fn indian(&self) -> bool {
        self.sizes(&[5, 5]) && self.digits[0] >= 6 && !self.bracketed
    }

    fn brazilian(&self) -> bool {
        let area = self.digits.len() > 2 && self.digits[0] != 0 && self.digits[1] != 0;
        let mobile = self.sizes(&[2, 5, 4]) && self.digits[2] == 9;
        let fixed = self.sizes(&[2, 4, 4]) && (2..=5).contains(&self.digits[2]) && self.bracketed;
        area && (mobile || fixed) && (self.bracketed || self.groups[2].separator == b'-')
    }

    fn chinese(&self) -> bool {
        self.sizes(&[3, 4, 4]) && self.digits[0] == 1 && self.digits[1] >= 3
    }

    /// Beside a name: 7 to 12 digits, in groups that are not a date's, a price's or a year's.
    fn plausible(&self) -> bool {
        if self.national() {
            return true;
        }
        let enough = (7..=12).contains(&self.digits.len());
        let grouped = self.groups.len() == 1 || self.groups.iter().skip(1).all(|group| group.size >= 2);
        enough && grouped && self.groups.len() <= 5 && !self.date()
    }

    /// Day, month and year, in any order.
    fn date(&self) -> bool {
        let [a, b, c, ..] = self.groups else { return false };
        let small = |group: &Group| {
            let start = group.digits - group.size;
            number(&self.digits[start..group.digits]) <= 31
        };
        let same = b.separator == c.separator && b.separator != b' ';
        same && (a.size <= 2 && b.size <= 2 && c.size == 4 || a.size == 4 && b.size <= 2 && c.size <= 2) && small(b)
    }
}
