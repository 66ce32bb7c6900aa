//! What the registry keeps of a version beside its row: which files it has, and the description that came with it.

use crate::Error;
use orrery_store::ModelVersion;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// As it stands in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub files: Vec<PartEntry>,
    /// `orrery.json`, as it was published.
    pub description: Value,
}

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartEntry {
    pub name: String,
    /// Of the file that is kept.
    pub id: String,
    pub bytes: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    pub fn of(version: &ModelVersion) -> Result<Self, Error> {
        serde_json::from_str(&version.manifest).map_err(|error| Error::Internal {
            message: format!("the description of version {} of `{}` is damaged", version.version, version.name),
            source: Some(Box::new(error)),
        })
    }

    /// The sha256 over a line for each file, in the order of their names: its own sha256, two spaces and its name. It is what
    /// `sha256sum NAMES | sha256sum` prints.
    pub fn digest(&self) -> String {
        let mut files: Vec<&PartEntry> = self.files.iter().collect();
        files.sort_by(|left, right| left.name.cmp(&right.name));
        let mut sha = Sha256::new();
        for file in files {
            sha.update(format!("{}  {}\n", file.sha256, file.name));
        }
        sha.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf abc > a; printf 123 > b; sha256sum a b | sha256sum`.
    #[test]
    fn the_digest_is_what_common_tools_give() {
        let entry = |name: &str, sha256: &str| PartEntry {
            name: name.into(),
            id: "file-x".into(),
            bytes: 3,
            sha256: sha256.into(),
        };
        let files = vec![
            entry("b", "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"),
            entry("a", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        let manifest = Manifest { files, description: Value::Null };
        assert_eq!(manifest.digest(), "9b9b53490c51c75d5642f653b7bee5624e89208130dd2000ff0c7732852d3bb5");
    }
}
