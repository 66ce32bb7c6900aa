//! `Content-Disposition` of a form's part (RFC 7578), and the parameters of a header.

/// The longest name of a part, in bytes.
const NAME_MAX: usize = 128;

#[derive(Debug, PartialEq, Eq)]
pub struct Disposition {
    pub name: String,
    pub filename: Option<String>,
}

impl Disposition {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let (kind, rest) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err("a part's content-disposition is not `form-data`");
        }
        let (mut name, mut filename, mut extended) = (None, None, None);
        for (key, value) in parameters(rest)? {
            let place = match key.to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "filename" => &mut filename,
                "filename*" => &mut extended,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err("a part's content-disposition has a parameter twice");
            }
        }
        let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_MAX);
        // Some clients send only this form, and some both; what it says is more exact.
        let filename = match extended {
            Some(text) => Some(decode(&text).ok_or("a part's `filename*` is not `UTF-8''…`")?),
            None => filename.map(|text| text.replace("%22", "\"")),
        };
        Ok(Self { name: name.ok_or("a part has no name, or a very long one")?, filename })
    }
}

/// `; a=b; c="d"` as pairs. In quotes a backslash keeps a quote or a backslash from ending them.
///
/// # Errors
/// What is wrong with it.
pub fn parameters(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ';']);
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or("a header's parameter has no value")?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        pairs.push((key.trim().to_owned(), value));
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(';') {
            return Err("a header's parameters are not set apart by semicolons");
        }
        rest = after.trim_start_matches([' ', '\t', ';']);
    }
    Ok(pairs)
}

/// Up to the closing quote, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match (letter, letters.peek()) {
            ('"', _) => return Ok((value, &text[at + 1..])),
            ('\\', Some(&(_, escaped @ ('"' | '\\')))) => {
                value.push(escaped);
                letters.next();
            }
            _ => value.push(letter),
        }
    }
    Err("a header's quoted text has no end")
}

/// `UTF-8'LANGUAGE'PERCENT-ENCODED` (RFC 5987).
fn decode(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '\'');
    let (charset, _, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_clients_write_them() {
        let filename = |text: &str| Disposition::parse(text).expect("good").filename;
        assert_eq!(filename(" form-data; name=\"file\""), None);
        assert_eq!(filename("form-data; name=file; filename=a.csv").as_deref(), Some("a.csv"));
        assert_eq!(
            filename("form-data; name=\"file\"; filename=\"a; b=\\\"c\\\\.csv\"").as_deref(),
            Some("a; b=\"c\\.csv")
        );
        assert_eq!(filename("form-data; name=\"file\"; filename=\"a%22b\"").as_deref(), Some("a\"b"));
        assert_eq!(
            filename("Form-Data; filename=\"x\"; name=\"f\"; filename*=utf-8''gr%C3%B6%C3%9Fe").as_deref(),
            Some("größe")
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for bad in [
            "attachment; name=\"file\"",
            "form-data",
            "form-data; name=\"\"",
            "form-data; name",
            "form-data; name=\"file",
            "form-data; name=\"a\" x; filename=\"b\"",
            "form-data; name=\"a\"; name=\"b\"",
            "form-data; name=\"a\"; filename*=latin1''x",
            "form-data; name=\"a\"; filename*=utf-8''%f",
            "form-data; name=\"a\"; filename*=utf-8''%ff",
        ] {
            assert!(Disposition::parse(bad).is_err(), "{bad}");
        }
        assert!(Disposition::parse(&format!("form-data; name={}", "x".repeat(129))).is_err());
    }
}
