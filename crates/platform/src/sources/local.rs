//! Copying a model of this machine into staging: a GGUF file, or the files of a safetensors folder.
//!
//! Start at [`copy`].

use super::download::{Received, hexadecimal, remove};
use super::{OnProgress, Progress, Step};
use crate::Error;
use crate::reference::check_name;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const COPY_BYTES: usize = 1 << 20;

/// A staging file, the name that it is to have, and what is in it.
pub(crate) type Copied = (PathBuf, String, Received);

/// Copies the model at `path`; also gives back its absolute path. Blocking.
pub(crate) fn copy(path: &Path, staging: &Path, progress: &OnProgress<'_>) -> Result<(PathBuf, Vec<Copied>), Error> {
    let disk = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("{}: {error}", path.display())),
        _ => Error::disk(&format!("copying {}", path.display()), error),
    };
    let absolute = path.canonicalize().map_err(disk)?;
    let mut copies = Vec::new();
    if absolute.is_file() && !begins_as_gguf(&absolute).map_err(disk)? {
        return Err(Error::bad_input(format!("{} is not a model: {NOT_GGUF}", path.display())));
    }
    for source in model_files(&absolute).map_err(disk)? {
        let name = source.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        check_name(&name)?;
        let target = staging.join(format!("{name}.partial"));
        let received = copy_file(&source, &target, &name, progress).map_err(disk).inspect_err(|_| remove(&target))?;
        copies.push((target, name, received));
    }
    if copies.is_empty() {
        let path = path.display();
        return Err(Error::bad_input(format!("{path} has no model: a folder needs config.json and safetensors")));
    }
    Ok((absolute, copies))
}

/// Why a single file is no model.
pub(crate) const NOT_GGUF: &str = "it does not begin with `GGUF`, as a model in one file does";

/// Whether a file begins like a model in one file. An address often gives a web page instead.
pub(crate) fn begins_as_gguf(path: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut begin)?;
    Ok(begin == b"GGUF")
}

fn model_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| {
        path.is_file() && has_kind(path, &["json", "safetensors", "jinja"]) && !path.ends_with("manifest.json")
    });
    files.sort();
    let is_model = files.iter().any(|path| path.ends_with("config.json"))
        && files.iter().any(|path| has_kind(path, &["safetensors"]));
    Ok(if is_model { files } else { Vec::new() })
}

fn has_kind(path: &Path, kinds: &[&str]) -> bool {
    path.extension().is_some_and(|kind| kinds.iter().any(|wanted| kind == *wanted))
}

fn copy_file(source: &Path, target: &Path, name: &str, progress: &OnProgress<'_>) -> std::io::Result<Received> {
    let mut input = File::open(source)?;
    let total = input.metadata()?.len();
    let mut output = File::create(target)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let count = input.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        output.write_all(part)?;
        hash.update(part);
        bytes += count as u64;
        progress(&Progress { step: Step::Copying, what: name, bytes_done: bytes, bytes_total: Some(total) });
    }
    output.sync_all()?;
    Ok(Received { bytes, sha256: hexadecimal(&hash.finalize()) })
}
