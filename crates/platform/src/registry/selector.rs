//! How a request names a version of a model.

use orrery_store::check_model_name;

/// What stands behind a model's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Nothing: the alias `production`, or the newest version.
    Bare,
    /// `@` and a name.
    Alias(String),
    /// `@` and a number.
    Version(u32),
}

impl Selector {
    /// The model's name and what stands behind it; `None` for what can be no name.
    pub fn read(text: &str) -> Option<(&str, Self)> {
        let (name, rest) = match text.split_once('@') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        check_model_name("model", name).ok()?;
        let selector = match rest {
            None => Self::Bare,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Version(digits.parse().ok().filter(|version| *version > 0)?)
            }
            Some(alias) => {
                check_model_name("alias", alias).ok()?;
                Self::Alias(alias.to_owned())
            }
        };
        Some((name, selector))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_aliases_and_versions() {
        let alias = |name: &str| Selector::Alias(name.to_owned());
        for (text, expected) in [
            ("iris", Some(("iris", Selector::Bare))),
            ("iris@production", Some(("iris", alias("production")))),
            ("iris@3", Some(("iris", Selector::Version(3)))),
            ("iris@v3", Some(("iris", alias("v3")))),
            ("iris@", None),
            ("iris@0", None),
            ("iris@4294967296", None),
            ("@3", None),
            ("../iris", None),
            ("iris@a@b", None),
            ("iris@A", None),
            ("", None),
        ] {
            assert_eq!(Selector::read(text), expected, "{text}");
        }
    }
}
