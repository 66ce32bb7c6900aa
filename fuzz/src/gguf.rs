//! A GGUF file: container, parameters, tensor table. What becomes of its vocabulary is the target `tokenizer`.
//!
//! The last byte says how many units of 64 zeros follow the rest, so that short inputs can have room for tensors.

use orrery_model::weights::Checkpoint;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use tempfile::TempDir;

const ZEROS: usize = 64;

thread_local! {
    static PLACE: (TempDir, File) = {
        let folder = folder();
        let file = File::create(folder.path().join("model.gguf")).expect("a file");
        (folder, file)
    };
}

/// In memory where the system has such a folder: a file is written for each execution.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder for files")
}

pub fn run(data: &[u8]) {
    let Some((zeros, data)) = data.split_last() else { return };
    PLACE.with(|(folder, file)| {
        let mut writer = file;
        file.set_len(0).expect("cut");
        writer.seek(SeekFrom::Start(0)).expect("at the beginning");
        writer.write_all(data).expect("written");
        file.set_len((data.len() + usize::from(*zeros) * ZEROS) as u64).expect("filled up");
        check(folder);
    });
}

fn check(folder: &TempDir) {
    let Ok(checkpoint) = Checkpoint::open(&folder.path().join("model.gguf")) else { return };
    for tensor in checkpoint.tensors() {
        let bytes = checkpoint.read(&tensor.name).expect("a tensor of an opened file is in the file");
        let count = tensor.shape.iter().product();
        assert_eq!(bytes.len(), tensor.format.bytes(count), "{}", tensor.name);
    }
}
