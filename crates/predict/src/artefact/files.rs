//! Reading one file of an artefact's folder, and nothing outside it.

use crate::error::{Error, Result, shown};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const NAME_BYTES_MAX: usize = 200;

/// Whether `name` is a plain file name: letters, digits, `.`, `_` and `-`, and not hidden. Such a name leads nowhere else.
pub(super) fn is_plain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(letter)
}

/// Reads a file of `folder`. Links, symbolic and hard, are refused: they would lead to files of others.
pub(super) fn read(folder: &Path, name: &str, bytes_max: u64) -> Result<Arc<[u8]>> {
    let refused = |reason: &str| Error::BadArtefact(format!("the file `{}` {reason}", shown(name)));
    if !is_plain(name) {
        return Err(refused("has no plain name: use letters, digits, `.`, `_` and `-`, and no folders"));
    }
    let path = folder.join(name);
    let disk = |error| Error::disk(format!("reading `{name}` of an artefact"), error);
    let entry = path.symlink_metadata().map_err(disk)?;
    if !entry.is_file() {
        return Err(refused("is a link or no file at all; copy the file itself into the folder"));
    }
    let file = File::open(&path).map_err(disk)?;
    // Of the opened file: the name may lead to another one by now.
    let opened = file.metadata().map_err(disk)?;
    if (opened.dev(), opened.ino()) != (entry.dev(), entry.ino()) {
        return Err(refused("changed while it was opened"));
    }
    if opened.nlink() != 1 {
        return Err(refused("is a hard link; copy the file itself into the folder"));
    }
    if opened.len() > bytes_max {
        return Err(refused(&format!("has {} bytes; at most {bytes_max} are read (`file_bytes_max`)", opened.len())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(opened.len()).unwrap_or_default());
    file.take(bytes_max).read_to_end(&mut bytes).map_err(disk)?;
    Ok(bytes.into())
}

/// Holds the bytes against the digest that is listed.
pub(super) fn check_digest(name: &str, bytes: &[u8], sha256: &str) -> Result<()> {
    use std::fmt::Write;
    let digest = Sha256::digest(bytes);
    let found = digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if found.eq_ignore_ascii_case(sha256) {
        return Ok(());
    }
    Err(Error::BadArtefact(format!("the file `{name}` has the sha256 {found}, listed is {sha256}")))
}

/// Refuses Python pickles by their content, bare or in a zip archive (PyTorch's files are such): to load one is to run it.
pub(super) fn check_kind(name: &str, bytes: &[u8]) -> Result<()> {
    let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    if is_zip || is_pickle(bytes) {
        let what = if is_zip { "a zip archive (as PyTorch's files are)" } else { "a Python pickle" };
        return Err(Error::BadArtefact(format!(
            "the file `{name}` is {what}, which is never read; export to ONNX instead"
        )));
    }
    Ok(())
}

/// A pickle of protocol 2 or newer opens with its protocol; all end with a stop.
fn is_pickle(bytes: &[u8]) -> bool {
    let has_protocol = matches!(bytes, [0x80, 2..=5, ..]);
    (has_protocol || is_global(bytes)) && bytes.trim_ascii_end().ends_with(b".")
}

/// `cMODULE\nNAME\n`: an old pickle whose first act is to look a function up.
fn is_global(bytes: &[u8]) -> bool {
    let word = |part: &[u8]| {
        !part.is_empty()
            && part.len() < 100
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let module = lines.next().and_then(|line| line.strip_prefix(b"c"));
    module.is_some_and(word) && lines.next().is_some_and(word) && lines.next().is_some()
}
