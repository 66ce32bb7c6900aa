//! The files of an archive (zip, tar, tar packed by gzip), one after another, under the limits.
//!
//! Nothing is written anywhere. Names that leave the archive's folder, links and devices are refused, and so is an archive
//! that grows out of proportion.

use std::cell::Cell;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use super::{Limits, over_limit, quoted};
use crate::{Error, Result};

/// Bytes that any archive may have unpacked, however small it is.
const SLACK_BYTES: u64 = 1 << 20;
/// Bytes of a name, or of a block of names in a tar.
const NAME_BYTES_MAX: u64 = 4096;

/// What is done with a file: its name and its bytes.
pub(super) type Visit<'a> = dyn FnMut(&str, Vec<u8>) -> Result<()> + 'a;

/// Gives all files to `visit`, in the archive's order. Hidden files and folders are left out.
pub(super) fn each_file(mut source: impl Read + Seek, limits: &Limits, visit: &mut Visit<'_>) -> Result<()> {
    let mut start = Vec::new();
    source.by_ref().take(4).read_to_end(&mut start).map_err(unreadable)?;
    let bytes = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    let budget = Budget { left: Rc::new(Cell::new(bytes.saturating_mul(limits.expansion_max) + SLACK_BYTES)) };
    match start[..] {
        [b'P', b'K', ..] => zip(source, limits, &budget, visit),
        [0x1f, 0x8b, ..] => {
            let unpacked = flate2::read::MultiGzDecoder::new(BufReader::new(source));
            tar(Bounded { source: unpacked, left: budget.left.clone() }, limits, &budget, visit)
        }
        _ => tar(BufReader::new(source), limits, &budget, visit),
    }
}

/// How many bytes may still come out.
struct Budget {
    left: Rc<Cell<u64>>,
}

/// Ends with an error when the budget is used up.
struct Bounded<R> {
    source: R,
    left: Rc<Cell<u64>>,
}

/// The error's inner cause, by which it is known again.
#[derive(Debug, thiserror::Error)]
#[error("the archive grows out of proportion")]
struct Grows;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.left.get().checked_sub(read as u64) {
            Some(left) => self.left.set(left),
            None => return Err(std::io::Error::other(Grows)),
        }
        Ok(read)
    }
}

fn zip(source: impl Read + Seek, limits: &Limits, budget: &Budget, visit: &mut Visit<'_>) -> Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(source)).map_err(broken)?;
    if archive.len() > limits.entries_max {
        let what = format!("the archive has {} entries", archive.len());
        return Err(over_limit(&what, "entries_max", limits.entries_max));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        check_name(&name)?;
        if entry.is_symlink() {
            return Err(no_file(&name, "a link"));
        }
        if entry.is_dir() || is_hidden(&name) {
            continue;
        }
        let bytes = read_entry(&mut Bounded { source: &mut entry, left: budget.left.clone() }, &name, limits)?;
        visit(&name, bytes)?;
    }
    Ok(())
}

/// Long names stand in entries of their own before the one that they belong to. They are read here, since the library would
/// take one of any size into memory.
fn tar(source: impl Read, limits: &Limits, budget: &Budget, visit: &mut Visit<'_>) -> Result<()> {
    let mut archive = tar::Archive::new(source);
    let mut long_name = None;
    for (index, entry) in archive.entries().map_err(unreadable)?.raw(true).enumerate() {
        if index >= limits.entries_max {
            return Err(over_limit("the archive has more entries", "entries_max", limits.entries_max));
        }
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut block = Vec::new();
            entry.by_ref().take(NAME_BYTES_MAX + 1).read_to_end(&mut block).map_err(unreadable)?;
            if block.len() as u64 > NAME_BYTES_MAX {
                return Err(Error::BadData(format!("entry {}: a name of over {NAME_BYTES_MAX} bytes", index + 1)));
            }
            let name = if kind.is_gnu_longname() { Some(trimmed(&block)) } else { pax_path(&block) };
            long_name = name.or(long_name);
            continue;
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = match long_name.take() {
            Some(name) => name,
            None => entry.path_bytes().into_owned(),
        };
        let name = String::from_utf8(name).map_err(|_| {
            Error::BadData(format!("entry {}: the name is not UTF-8; pack the archive again", index + 1))
        })?;
        check_name(&name)?;
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(no_file(&name, "a link or device"));
        }
        if !is_hidden(&name) {
            visit(&name, read_entry(&mut entry, &name, limits)?)?;
        }
    }
    // Unpacking counted what a packed one has; a plain one cannot grow.
    let _ = budget;
    Ok(())
}

fn read_entry(source: &mut impl Read, name: &str, limits: &Limits) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limits.entry_bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits.entry_bytes_max {
        let what = format!("file {} is longer", quoted(name));
        return Err(over_limit(&what, "entry_bytes_max", limits.entry_bytes_max));
    }
    Ok(bytes)
}

fn trimmed(block: &[u8]) -> Vec<u8> {
    block.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

/// The path of an extended header, whose records are `LENGTH KEY=VALUE\n`.
fn pax_path(mut block: &[u8]) -> Option<Vec<u8>> {
    while !block.is_empty() {
        let blank = block.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&block[..blank]).ok()?.parse().ok()?;
        let record = block.get(blank + 1..length)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            return path.strip_suffix(b"\n").map(<[u8]>::to_vec);
        }
        block = block.get(length..)?;
    }
    None
}

/// Names are only compared and shown here, but one that would lead out of a folder has no good purpose.
fn check_name(name: &str) -> Result<()> {
    let leads_out = name.starts_with('/') || name.split('/').any(|part| part == "..");
    let is_odd = name.contains(['\\', '\0', ':']) || name.len() as u64 > NAME_BYTES_MAX;
    if leads_out || is_odd {
        return Err(Error::BadData(format!("file {}: the name leads out of the archive or is none", quoted(name))));
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| (part.starts_with('.') && part != ".") || part == "__MACOSX" || part == "Thumbs.db")
}

fn no_file(name: &str, what: &str) -> Error {
    Error::BadData(format!("entry {} is {what}; pack the files themselves", quoted(name)))
}

fn broken(error: zip::result::ZipError) -> Error {
    match error {
        zip::result::ZipError::Io(error) => unreadable(error),
        error => Error::BadData(format!("the zip archive cannot be read: {error}")),
    }
}

fn unreadable(source: std::io::Error) -> Error {
    if source.get_ref().is_some_and(|inner| inner.is::<Grows>()) {
        return over_limit("the archive grows out of proportion", "expansion_max", "too small for it");
    }
    Error::File { what: "reading the archive".to_owned(), source }
}
