//! The journal's folder: the few things that are done to files, behind a trait, so that tests can make each of them fail.
//!
//! ```text
//! FOLDER/lock                       held by the process that writes
//! FOLDER/NUMBER.journal             a segment: records, then zeros up to its size
//! FOLDER/NUMBER.journal.corrupt     a segment in which something could not be read
//! FOLDER/refused.jsonl              rows that the ledger will never take
//! ```
//!
//! Must not know: records.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SUFFIX: &str = ".journal";
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// One file of the journal.
pub(super) trait Segment: std::fmt::Debug + Send + Sync {
    /// Hands all of `bytes` to the operating system. On an error any part of them may stand in the file.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when what was written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// Where segments lie. They have numbers.
pub(super) trait Folder: std::fmt::Debug + Send + Sync {
    /// Their numbers, in order.
    fn segments(&self) -> io::Result<Vec<u64>>;

    fn read(&self, number: u64) -> io::Result<Vec<u8>>;

    /// A new segment of `bytes` zeros, so that writes within it need no further space. On an error there is none.
    fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>>;

    fn remove(&self, number: u64) -> io::Result<()>;

    /// Gives the segment a name by which it is not read again.
    fn keep_aside(&self, number: u64) -> io::Result<()>;

    /// Returns when the names are on the disk.
    fn sync(&self) -> io::Result<()>;

    /// Adds a line to the file of refused rows; it is on the disk on return.
    fn refuse(&self, line: &str) -> io::Result<()>;
}

/// A folder of the file system, for its owner alone.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016}{SUFFIX}"))
    }
}

impl Folder for Files {
    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path(number))
    }

    fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>> {
        let path = self.path(number);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut left = bytes;
        while left > 0 {
            let chunk = left.min(ZEROS.len() as u64);
            if let Err(error) = file.write_all(&ZEROS[..chunk as usize]) {
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            left -= chunk;
        }
        Ok(Arc::new(file))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path(number))
    }

    fn keep_aside(&self, number: u64) -> io::Result<()> {
        let path = self.path(number);
        fs::rename(&path, path.with_extension("journal.corrupt"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn refuse(&self, line: &str) -> io::Result<()> {
        let path = self.folder.join("refused.jsonl");
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    }
}

impl Segment for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
