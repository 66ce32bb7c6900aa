//! Ids of tenants, keys, files and jobs: short texts that are safe in paths, URLs, logs and SQL.

use crate::error::{Error, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 64;
/// Characters of an id's random part: 95 bits.
const RANDOM_CHARS: usize = 16;

/// A tenant's id: `default`, or `ten_` and 16 random letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

/// A key's id: `key_` and 16 random letters and digits. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// A file's id: `file-` and 16 random letters and digits, or the id of the answer that is retained.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileId(String);

/// A job's id: `job_` and 16 random letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// A new random id.
    ///
    /// # Errors
    /// [`Error::Internal`]: the system gives no random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self(format!("job_{}", random_chars()?)))
    }
}

impl TenantId {
    /// The id of the first tenant, which exists from the first start on.
    pub const DEFAULT: &'static str = "default";

    /// A new random id.
    ///
    /// # Errors
    /// [`Error::Internal`]: the system gives no random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self(format!("ten_{}", random_chars()?)))
    }

    /// The first tenant.
    pub fn first() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl FileId {
    /// A new random id.
    ///
    /// # Errors
    /// [`Error::Internal`]: the system gives no random numbers.
    pub fn random() -> Result<Self> {
        Self::with_prefix("file-")
    }

    /// A new random id that begins so.
    ///
    /// # Errors
    /// [`Error::Internal`]: the system gives no random numbers. [`Error::BadInput`]: no id begins so.
    pub fn with_prefix(prefix: &str) -> Result<Self> {
        format!("{prefix}{}", random_chars()?).try_into()
    }
}

impl KeyId {
    /// A new random id.
    ///
    /// # Errors
    /// [`Error::Internal`]: the system gives no random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self(format!("key_{}", random_chars()?)))
    }
}

macro_rules! id {
    ($name:ident, $what:literal) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            /// Takes 1 to 64 ASCII letters, digits, `_` and `-`, else [`Error::BadInput`].
            fn try_from(text: String) -> Result<Self> {
                check(&text, $what)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(TenantId, "tenant");
id!(KeyId, "key");
id!(FileId, "file");
id!(JobId, "job");

fn check(text: &str, what: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(plain) {
        return Ok(());
    }
    let shown: String = text.chars().take(ID_BYTES_MAX).collect();
    let rule = format!("an id has 1 to {ID_BYTES_MAX} letters, digits, `_` and `-`");
    Err(Error::BadInput(format!("{shown:?} is no id of a {what}: {rule}")))
}

fn random_chars() -> Result<String> {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = SystemRandom::new();
    let mut text = String::with_capacity(RANDOM_CHARS);
    let mut bytes = [0; 32];
    while text.len() < RANDOM_CHARS {
        random.fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
        // 248 is the largest multiple of 62 in a byte: what lies above would make the first characters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(*byte % 62)] as char);
        text.extend(fair.take(RANDOM_CHARS - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_in_paths() {
        for good in ["default", "ten_0aZ-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<TenantId>().expect("good").as_str(), good);
        }
        for bad in ["", "..", "a/b", "a\0", "ü", "a b", &"x".repeat(65)] {
            assert!(matches!(bad.parse::<KeyId>(), Err(Error::BadInput(_))), "{bad}");
        }
    }

    #[test]
    fn random_ids_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| KeyId::random().expect("random")).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().len() == 20));
    }
}
