//! An artefact: a folder with a model in ONNX's format and `orrery.json`, which says what it is for (docs/artefact.md).
//!
//! It comes from anywhere, so nothing in it is believed: only files that `orrery.json` lists are read, each is a plain
//! file of the folder with the digest that is listed, and the model may name no file beyond them. All is read into memory
//! first and checked there: what is loaded is what was checked. Start at [`Artefact::open`].

mod files;
mod manifest;
mod pipeline;
mod scan;

pub use manifest::{InputKind, InputSpec, Manifest, Task};
pub use pipeline::{Channels, Decoder, Detection, Filter, Image, Layout, Pipeline, Pooling, Resize, TextPipeline};

use crate::error::{Error, Result};
use crate::settings::Settings;
use scan::Scan;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The file of an artefact that says what it is.
pub const MANIFEST_NAME: &str = "orrery.json";
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// An artefact that has been read and checked.
pub struct Artefact {
    manifest: Manifest,
    files: BTreeMap<String, Arc<[u8]>>,
    scan: Scan,
}

impl Artefact {
    /// Reads the folder. Blocking.
    ///
    /// # Errors
    /// [`Error::BadArtefact`] says which field or file is wrong, [`Error::Disk`] which could not be read.
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self> {
        let manifest = files::read(folder, MANIFEST_NAME, MANIFEST_BYTES_MAX)?;
        Self::checked(Manifest::parse(&manifest)?, |name| files::read(folder, name, settings.file_bytes_max))
    }

    /// The same of files that are in memory already, by their names. One that `orrery.json` does not list is passed over.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_parts(parts: &BTreeMap<String, Arc<[u8]>>, settings: &Settings) -> Result<Self> {
        let part = |name: &str, bytes_max: u64| {
            let bytes = parts.get(name).ok_or_else(|| missing(name))?;
            if bytes.len() as u64 > bytes_max {
                let (shown, count) = (crate::error::shown(name), bytes.len());
                let reason =
                    format!("the file `{shown}` has {count} bytes; at most {bytes_max} are read (`file_bytes_max`)");
                return Err(Error::BadArtefact(reason));
            }
            Ok(bytes.clone())
        };
        let manifest = Manifest::parse(&part(MANIFEST_NAME, MANIFEST_BYTES_MAX)?)?;
        Self::checked(manifest, |name| part(name, settings.file_bytes_max))
    }

    fn checked(manifest: Manifest, file: impl Fn(&str) -> Result<Arc<[u8]>>) -> Result<Self> {
        let mut read = BTreeMap::new();
        for (name, sha256) in &manifest.files {
            let bytes = file(name)?;
            files::check_digest(name, &bytes, sha256)?;
            files::check_kind(name, &bytes)?;
            read.insert(name.clone(), bytes);
        }
        let model = read.get(&manifest.model).ok_or_else(|| unlisted(&manifest.model))?;
        let scan = scan::scan(model)?;
        for (location, end) in &scan.external {
            let file = read.get(location).ok_or_else(|| unlisted(location))?;
            if *end > file.len() as u64 {
                let reason = format!("the model wants bytes up to {end} of `{location}`, which has {}", file.len());
                return Err(Error::BadArtefact(reason));
            }
        }
        Ok(Self { manifest, files: read, scan })
    }

    /// What `orrery.json` says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.len() as u64).sum()
    }

    pub(crate) fn model(&self) -> &[u8] {
        self.files.get(&self.manifest.model).map(|bytes| &**bytes).unwrap_or_default()
    }

    pub(crate) fn file(&self, name: &str) -> Result<&Arc<[u8]>> {
        self.files.get(name).ok_or_else(|| unlisted(name))
    }

    /// Files with the model's weights, where it does not hold them itself.
    pub(crate) fn external_files(&self) -> impl Iterator<Item = (&String, &Arc<[u8]>)> {
        self.scan.external.keys().filter_map(|name| self.files.get_key_value(name))
    }

    /// Whether the model works out a scale over all rows of a batch, so that rows would change each other's results.
    pub(crate) const fn couples_rows(&self) -> bool {
        self.scan.couples_rows
    }
}

fn missing(name: &str) -> Error {
    Error::BadArtefact(format!("the file `{}` is missing", crate::error::shown(name)))
}

fn unlisted(name: &str) -> Error {
    let name = crate::error::shown(name);
    Error::BadArtefact(format!("`{name}` is not listed in the `files` of {MANIFEST_NAME}; no other file is read"))
}
