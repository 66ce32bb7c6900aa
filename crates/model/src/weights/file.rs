//! One file of weights, read by position, and what its first bytes say it is.

use super::SUPPORTED_FILES;
use crate::Error;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// An open file of weights. It stays open while the model loads, so deleting it does no harm; cutting it short is an
/// error of [`WeightFile::read`].
#[derive(Debug)]
pub(super) struct WeightFile {
    path: PathBuf,
    file: Mutex<File>,
    length: u64,
}

impl WeightFile {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let refused = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if !metadata.is_file() {
            let reason = format!("not a regular file; give {SUPPORTED_FILES}");
            return Err(Error::Malformed { path: path.to_owned(), reason });
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), length: metadata.len() })
    }

    /// Bytes in the file when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Exactly `bytes` bytes from `offset`, or an error when the file does not have them (any more).
    pub(super) fn read(&self, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let inside = offset.checked_add(bytes as u64).is_some_and(|end| end <= self.length);
        if !inside || out.try_reserve_exact(bytes).is_err() {
            return Err(self.malformed(format!("{bytes} bytes at {offset} of a file of {} bytes", self.length)));
        }
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut reader = &*file;
        let read = reader.seek(SeekFrom::Start(offset)).and_then(|_| reader.take(bytes as u64).read_to_end(&mut out));
        match read {
            Ok(_) if out.len() == bytes => Ok(out),
            Ok(_) => Err(self.io(std::io::Error::new(
                ErrorKind::UnexpectedEof,
                format!("the file was cut short while it was read: {bytes} bytes at {offset} are gone"),
            ))),
            Err(source) => Err(self.io(source)),
        }
    }

    pub(super) fn malformed(&self, reason: String) -> Error {
        Error::Malformed { path: self.path.clone(), reason }
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    /// Refuses the file for its format, which its first bytes tell, whatever its name. `otherwise` says what is wrong
    /// with a file of no known format.
    pub(super) fn refuse_format(&self, otherwise: &str) -> Error {
        match self.read(0, self.length.min(512) as usize) {
            Err(error) => error,
            Ok(head) => Error::Unsupported {
                what: "model file format",
                found: foreign(&head).unwrap_or(otherwise).to_owned(),
                supported: SUPPORTED_FILES.to_owned(),
            },
        }
    }

    /// Whether the first bytes are those of a pickle or an archive of one.
    pub(super) fn is_pickle(&self) -> Result<bool, Error> {
        let head = self.read(0, self.length.min(512) as usize)?;
        Ok(matches!(foreign(&head), Some(PICKLE | ZIP | TAR)))
    }
}

const PICKLE: &str = "Python pickle (.bin, .pt, .pkl: reading one can run any code; convert it to safetensors)";
const ZIP: &str = "zip archive (PyTorch's .bin and .pt, which hold a pickle; convert it to safetensors)";

const TAR: &str = "tar archive (PyTorch's oldest format, which holds pickles; convert it to safetensors)";

/// The name of a format that is recognised and not read.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let looks_safetensors = head.get(8) == Some(&b'{') && head.get(4..8) == Some(&[0; 4]);
    let ustar = head.get(257..262) == Some(b"ustar");
    match head {
        _ if looks_safetensors => Some("single safetensors file (give the folder that holds it and config.json)"),
        // Protocol 2 and later begin with their number; 0 and 1 begin with an opcode or a GLOBAL line.
        [0x80, 0..=5, ..] => Some(PICKLE),
        [b'(' | b']' | b'}', ..] => Some(PICKLE),
        _ if begins(b"ccopy_reg\n") || begins(b"c__builtin__\n") || begins(b"cposix\n") || begins(b"cos\n") => {
            Some(PICKLE)
        }
        _ if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") => Some(ZIP),
        _ if ustar => Some(TAR),
        _ if begins(b"\x1f\x8b") => Some("gzip archive (unpack it first)"),
        _ if begins(b"\x89HDF") => Some("HDF5 file"),
        _ if begins(b"tjgg") || begins(b"fmgg") || begins(b"lmgg") => Some("GGML file from before GGUF"),
        _ if begins(b"FUGG") => Some("big-endian GGUF file"),
        _ if begins(b"version https://git-lfs") => {
            Some("Git LFS pointer (the weights were not fetched: `git lfs pull`)")
        }
        _ if begins(b"<!") || begins(b"<html") => Some("web page (the download got an error page)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_are_read_are_not_foreign() {
        assert_eq!(foreign(b"GGUF\x03\0\0\0"), None);
        assert_eq!(foreign(b""), None);
    }
}
