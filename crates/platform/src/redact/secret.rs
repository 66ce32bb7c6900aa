//! Secrets of known shapes: keys with a prefix of their own, JSON Web Tokens, private keys, and values beside a name such as
//! `password=` or `Bearer`.
//!
//! Prefixes are those that the issuers document. A key is sure after its first characters; its [`Tail`] takes the rest.

use super::kind::Kind;
use super::scan::Hit;
use super::tail::{Tail, VALUE_INNER, base64url, key_follows, value};
use super::view::{Look, View, word};

/// A key that is told by its prefix.
struct Prefix {
    kind: Kind,
    prefix: &'static str,
    /// Characters behind the prefix that make it sure.
    least: usize,
    class: fn(u8) -> bool,
    /// Exactly so many characters, and no word goes on behind them; otherwise whatever is of the class belongs to it.
    exact: bool,
    /// Names and slugs have no digits, keys have.
    digit: bool,
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn base32(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn dotted(byte: u8) -> bool {
    base64url(byte) || byte == b'.'
}

fn webhook(byte: u8) -> bool {
    alphanumeric(byte) || byte == b'/'
}

macro_rules! prefixes {
    ($($kind:ident [$($prefix:literal)+] $least:literal $class:ident $exact:literal $digit:literal)+) => {
        &[$($(Prefix { kind: Kind::$kind, prefix: $prefix, least: $least, class: $class, exact: $exact, digit: $digit },)+)+]
    };
}

/// Longer prefixes before the shorter ones that they start with.
const PREFIXES: &[Prefix] = prefixes! {
    OrreryKey ["orr_"] 38 alphanumeric true false
    AwsKey ["AKIA" "ASIA" "ABIA" "ACCA"] 16 base32 true false
    GithubToken ["ghp_" "gho_" "ghu_" "ghs_" "ghr_"] 36 alphanumeric false false
    GithubToken ["github_pat_"] 40 base64url false false
    SlackToken ["xoxb-" "xoxp-" "xoxa-" "xoxr-" "xoxs-" "xoxe-" "xoxe." "xapp-"] 16 base64url false true
    SlackToken ["hooks.slack.com/services/"] 20 webhook false false
    GoogleKey ["AIza"] 35 base64url true false
    GoogleKey ["ya29."] 20 base64url false false
    GoogleKey ["GOCSPX-"] 20 base64url false false
    StripeKey ["sk_live_" "sk_test_" "rk_live_" "rk_test_" "whsec_"] 16 alphanumeric false false
    AiKey ["sk-ant-" "sk-proj-" "sk-svcacct-" "sk-admin-" "sk-or-"] 20 base64url false true
    AiKey ["sk-"] 32 base64url false true
    AiKey ["gsk_" "hf_" "r8_" "xai-" "pplx-"] 30 alphanumeric false false
    ApiKey ["glpat-"] 20 base64url false false
    ApiKey ["npm_"] 36 alphanumeric false false
    ApiKey ["pypi-AgEIcHlwaS5vcmc"] 20 base64url false false
    ApiKey ["SG."] 40 dotted false true
    ApiKey ["dop_v1_" "doo_v1_" "shpat_" "shpss_"] 32 alphanumeric false false
};

/// A key with a prefix, a token, a private key.
pub(super) fn with_prefix(view: &View) -> Look<Option<Hit>> {
    let Some(first) = view.byte(0)? else { return Ok(None) };
    match first {
        b'-' => return private_key(view),
        b'e' if view.reads(0, b"eyJ")? => return jwt(view),
        _ => {}
    }
    for row in PREFIXES.iter().filter(|row| row.prefix.as_bytes().first() == Some(&first)) {
        if view.reads(0, row.prefix.as_bytes())?
            && let Some(hit) = row.find(view)?
        {
            return Ok(Some(hit));
        }
    }
    Ok(None)
}

impl Prefix {
    fn find(&self, view: &View) -> Look<Option<Hit>> {
        let start = self.prefix.len();
        let count = view.span(start, self.least, self.class)?;
        let text = view.slice(start, start + count);
        if count < self.least || self.digit && !text.iter().any(u8::is_ascii_digit) {
            return Ok(None);
        }
        let mut hit = Hit::new(self.kind, start + count);
        if self.exact {
            return Ok((!view.byte(start + count)?.is_some_and(word)).then_some(hit));
        }
        hit.tail = Some(Tail::Word { class: self.class, inner: b"" });
        Ok(Some(hit))
    }
}

/// RFC 7519: header and claims are JSON objects in base64url, so both start with `eyJ`.
fn jwt(view: &View) -> Look<Option<Hit>> {
    const HEADER_MAX: usize = 256;
    let header = view.span(0, HEADER_MAX, base64url)?;
    if header < 12 || header == HEADER_MAX || !view.reads(header, b".eyJ")? {
        return Ok(None);
    }
    let claims = view.span(header + 4, 8, base64url)?;
    let tail = Some(Tail::Word { class: base64url, inner: b"." });
    Ok((claims == 8).then_some(Hit { kind: Kind::Jwt, length: header + 4 + claims, tail }))
}

/// RFC 7468 and RFC 9580: the armour's first line, with a header or a body behind it.
fn private_key(view: &View) -> Look<Option<Hit>> {
    if !view.reads(0, b"-----BEGIN ")? {
        return Ok(None);
    }
    let name = view.span(11, 40, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ')?;
    let text = view.slice(11, 11 + name);
    let length = 11 + name + 5;
    let private = text.ends_with(b"PRIVATE KEY") || text == b"PGP PRIVATE KEY BLOCK";
    if !private || !view.reads(11 + name, b"-----")? || !key_follows(view, length)? {
        return Ok(None);
    }
    Ok(Some(Hit { kind: Kind::PrivateKey, length, tail: Some(Tail::Key { in_headers: true }) }))
}

/// Names of secrets, lower case, `_` for `_`, `-`, space and nothing. What stands before them does not matter: `DB_PASSWORD` is one.
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "passwort", "pwd", "contrasena", "kennwort"];
const TOKENS: &[&str] = &[
    "secret",
    "token",
    "api_key",
    "secret_key",
    "access_key",
    "auth_key",
    "private_key",
    "encryption_key",
    "account_key",
    "credential",
    "credentials",
];

const PASSWORD_MIN: usize = 4;
const TOKEN_MIN: usize = 8;
/// So much of a value is looked at to tell a secret from a word.
const VALUE_LOOK: usize = 24;

/// A value whose name stands before it.
pub(super) fn beside_a_name(view: &View) -> Look<Option<Hit>> {
    let left = view.left();
    let Some(&previous) = left.last() else { return Ok(None) };
    if !b"=:\"'` \t>".contains(&previous) {
        return Ok(None);
    }
    // Prose: of words before a space, only the last letters of "is", "bearer", "basic" and "token" lead to a value.
    if let [.., letter, b' '] = left
        && letter.is_ascii_alphabetic()
        && !b"srcn".contains(&letter.to_ascii_lowercase())
    {
        return Ok(None);
    }
    if let Some(hit) = in_url(view, left)? {
        return Ok(Some(hit));
    }
    let Some(place) = Place::before(left) else { return Ok(None) };
    match place.name {
        Name::Scheme => bearer(view),
        _ => place.value(view),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Scheme,
    Aws,
    Password,
    Token,
}

/// How a value stands beside its name.
struct Place {
    name: Name,
    /// The quotation mark before it.
    quote: Option<u8>,
    /// `=` or the like, not a colon or "is" as in prose.
    assigned: bool,
}

impl Place {
    /// Reads backwards: quotation mark, white space, the sign, white space, quotation mark, the name.
    fn before(left: &[u8]) -> Option<Self> {
        let quote = left.last().copied().filter(|byte| b"\"'`".contains(byte));
        let left = if quote.is_some() {
            left[..left.len() - 1].strip_suffix(b"\\").unwrap_or(&left[..left.len() - 1])
        } else {
            left
        };
        let (bare, spaced) = (trim(left), left.last().is_some_and(|&byte| byte == b' ' || byte == b'\t'));
        if spaced
            && quote.is_none()
            && [&b"bearer"[..], b"authorization: basic", b"authorization: token"]
                .iter()
                .any(|name| ends_with(bare, name))
        {
            return Some(Self { name: Name::Scheme, quote, assigned: true });
        }
        let (rest, assigned) = match bare {
            // A comparison assigns nothing.
            [.., b'=' | b'!' | b'<' | b'>', b'='] => return None,
            [rest @ .., b'=', b'>'] | [rest @ .., b':', b'='] => (rest, true),
            [rest @ .., b'='] => (rest, true),
            [rest @ .., b':'] => (rest, false),
            [rest @ .., b' ', b'i' | b'I', b's' | b'S'] if spaced => (rest, false),
            _ => return None,
        };
        let rest = trim(rest);
        let name = rest.strip_suffix(b"\"").or(rest.strip_suffix(b"'")).unwrap_or(rest);
        let name = name.strip_suffix(b"\\").unwrap_or(name);
        if ends_with(name, b"secret_access_key") {
            return Some(Self { name: Name::Aws, quote, assigned });
        }
        if PASSWORDS.iter().any(|word| ends_with(name, word.as_bytes())) {
            return Some(Self { name: Name::Password, quote, assigned });
        }
        TOKENS.iter().any(|word| ends_with(name, word.as_bytes())).then_some(Self {
            name: Name::Token,
            quote,
            assigned,
        })
    }

    fn value(&self, view: &View) -> Look<Option<Hit>> {
        let (look, tail) = match self.quote {
            Some(mark) => (view.span(0, VALUE_LOOK, |byte| byte != mark && byte != b'\n')?, Tail::Quoted(mark)),
            None => {
                let look = view.span(0, VALUE_LOOK, |byte| value(byte) || VALUE_INNER.contains(&byte))?;
                let outer = view.slice(0, look).iter().rev().take_while(|byte| VALUE_INNER.contains(byte)).count();
                (look - outer, Tail::Word { class: value, inner: VALUE_INNER })
            }
        };
        if !self.secret(view.slice(0, look)) {
            return Ok(None);
        }
        let kind = if self.name == Name::Aws { Kind::AwsKey } else { Kind::Password };
        Ok(Some(Hit { kind, length: look, tail: Some(tail) }))
    }

    /// Tells a secret from a word about one, from a reference to one, and from code that fetches one.
    fn secret(&self, text: &[u8]) -> bool {
        let Some(first) = text.first() else { return false };
        let digit = text.iter().any(u8::is_ascii_digit);
        let sign = text.iter().any(|byte| b"@#$%^*+=~|/\\_-".contains(byte));
        let mixed = text.iter().skip(1).any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase);
        let reference = b"$<{*%[(".contains(first) && !digit || text.starts_with(b"${") || text.starts_with(b"{{");
        let alike = text.iter().all(|byte| byte == first);
        let code = self.quote.is_none() && code(text);
        let known = [
            &b"null"[..],
            b"none",
            b"true",
            b"false",
            b"undefined",
            b"string",
            b"required",
            b"optional",
            b"hidden",
            b"redacted",
        ];
        let empty = known.iter().any(|word| text.eq_ignore_ascii_case(word));
        let enough = match self.name {
            Name::Token | Name::Aws => {
                text.len() >= TOKEN_MIN && digit && (self.quote.is_some() || self.assigned || text.len() >= 16)
            }
            _ => text.len() >= PASSWORD_MIN && (self.assigned || self.quote.is_some() || digit || sign || mixed),
        };
        enough && !reference && !alike && !code && !empty
    }
}

/// A call, an index or a path of names, as in `os.environ["KEY"]` or `settings.password`.
fn code(text: &[u8]) -> bool {
    let names = text.iter().take_while(|&&byte| word(byte) || byte == b'.').count();
    let called = names > 0 && text.get(names).is_some_and(|byte| b"([".contains(byte));
    called || names == text.len() && text.contains(&b'.') && !text.iter().any(u8::is_ascii_digit)
}

/// `scheme://user:HERE@host`
fn in_url(view: &View, left: &[u8]) -> Look<Option<Hit>> {
    const MAX: usize = 64;
    let Some(user) = left.strip_suffix(b":") else { return Ok(None) };
    let from = user
        .iter()
        .rposition(|byte| byte.is_ascii_whitespace() || b"/@\"'".contains(byte))
        .map_or(0, |index| index + 1);
    if !user[..from].ends_with(b"://") {
        return Ok(None);
    }
    let length = view.span(0, MAX, |byte| byte.is_ascii_graphic() && !b"/@\"'<>${".contains(&byte))?;
    let sure = length > 0 && view.byte(length)? == Some(b'@');
    Ok(sure.then_some(Hit::new(Kind::Password, length)))
}

/// RFC 6750 and RFC 7617: what follows the scheme's name.
fn bearer(view: &View) -> Look<Option<Hit>> {
    const LEAST: usize = 12;
    let count = view.span(0, LEAST + 12, token68)?;
    let text = view.slice(0, count);
    let told =
        text.iter().any(u8::is_ascii_digit) || text.iter().skip(1).any(u8::is_ascii_uppercase) || text.ends_with(b"=");
    let tail = Some(Tail::Word { class: token68, inner: b"." });
    Ok((count >= LEAST && told).then_some(Hit { kind: Kind::BearerToken, length: count, tail }))
}

fn token68(byte: u8) -> bool {
    base64url(byte) || matches!(byte, b'~' | b'+' | b'/' | b'=')
}

fn trim(text: &[u8]) -> &[u8] {
    // Few spaces stand around a sign; many are a table.
    let spaces = text.iter().rev().take(4).take_while(|&&byte| byte == b' ' || byte == b'\t').count();
    &text[..text.len() - spaces]
}

/// The text ends with the name, `_` of which also stands for a dash, a space and nothing.
fn ends_with(text: &[u8], name: &[u8]) -> bool {
    let mut at = text.len();
    for &expected in name.iter().rev() {
        let byte = at.checked_sub(1).and_then(|index| text.get(index));
        match (expected, byte) {
            (b'_', Some(b'_' | b'-' | b' ')) => at -= 1,
            (b'_', _) => {}
            (_, Some(byte)) if byte.to_ascii_lowercase() == expected => at -= 1,
            _ => return false,
        }
    }
    // "notpassword" is none: a word ends before the name, or its case changes there, as in `dbPassword`.
    let (first, previous) = (text.get(at), at.checked_sub(1).and_then(|index| text.get(index)));
    first.is_some_and(u8::is_ascii_uppercase) || !previous.is_some_and(u8::is_ascii_alphabetic)
}
