//! The artefact: a folder with `model.onnx` and `orrery.json`, complete or not there at all.

use crate::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Name of the graph's file.
pub const MODEL_FILE: &str = "model.onnx";
/// Name of the description beside it.
pub const DESCRIPTION_FILE: &str = "orrery.json";
/// Version of the description.
pub const FORMAT: u32 = 1;

/// One file of an artefact.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its name, without folders.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Writes `parts` into a new folder `folder`. They stand in a neighbouring folder until the last one is on the disk; then that
/// one is renamed.
///
/// # Errors
/// [`Error::File`], also when `folder` is there and not empty. What was begun is removed.
pub fn publish(folder: &Path, parts: &[Part]) -> Result<()> {
    let mut staging = folder.as_os_str().to_owned();
    staging.push(".staging");
    let staging = Path::new(&staging);
    let written = write_all(staging, parts).and_then(|()| {
        fs::rename(staging, folder).map_err(file("could not be put in its place", folder))?;
        folder.parent().map_or(Ok(()), synchronise)
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(staging); // the first error is the one to tell
    }
    written
}

fn write_all(staging: &Path, parts: &[Part]) -> Result<()> {
    if staging.exists() {
        fs::remove_dir_all(staging).map_err(file("could not be removed", staging))?;
    }
    fs::create_dir_all(staging).map_err(file("could not be made", staging))?;
    for part in parts {
        write_synchronised(&staging.join(part.name), part.bytes)?;
    }
    synchronise(staging)
}

/// Writes a file and waits until it is on the disk.
///
/// # Errors
/// [`Error::File`], or [`Error::LimitReached`] when the disk is full.
pub fn write_synchronised(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(file("could not be written", path))
}

/// Waits until a folder's names are on the disk.
///
/// # Errors
/// [`Error::File`].
pub fn synchronise(folder: &Path) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file("could not be synchronised", folder))
}

/// Makes a file's error one of ours. Only the last part of a path is told: messages go to tenants.
pub fn file(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    move |source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::LimitReached(format!("{name} {what}: the disk is full; make room and start the job again"))
        }
        _ => Error::File { what: format!("{name} {what}"), source },
    }
}

/// SHA-256 in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON for people: indented, keys in the order in which they were put.
pub fn readable(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("invariant: a value");
    bytes.push(b'\n');
    bytes
}
