//! A disk in memory: calls of it fail when a test says so, and it knows what a power loss would leave.

use crate::metering::folder::{Folder, Segment};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// By number.
    pub files: BTreeMap<u64, File>,
    /// Numbers of segments that were kept aside.
    pub aside: Vec<u64>,
    pub refused: Vec<String>,
    /// Calls that change something.
    pub calls: usize,
    /// The call with this number fails; of a write a half is done.
    pub fail_at: Option<usize>,
    /// Writes and syncs fail.
    pub broken: bool,
    /// Room for all files; `None`: as much as is wanted.
    pub room_bytes: Option<u64>,
    /// Removed or not: what the disk itself has under names that are on it.
    durable: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub written: Vec<u8>,
    synced: Option<Vec<u8>>,
    /// A sync failed; as with a real kernel, later ones succeed and write nothing of it.
    lost: bool,
}

impl Disk {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    /// A disk with one segment.
    pub(super) fn with(contents: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().files.insert(1, File::of(contents));
        disk
    }

    /// What another process finds after this one has died.
    pub(super) fn after_death(&self) -> Self {
        let disk = Self::default();
        for (number, file) in &self.state().files {
            disk.state().files.insert(*number, File::of(file.written.clone()));
        }
        disk
    }

    /// What the next start finds after a power loss, at worst: nothing that was not synced, and removed files again.
    pub(super) fn after_power_loss(&self) -> Self {
        let disk = Self::default();
        for (number, contents) in &self.state().durable {
            disk.state().files.insert(*number, File::of(contents.clone()));
        }
        disk
    }
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.broken || self.fail_at == Some(self.calls) {
            return Err(io::Error::other("made to fail"));
        }
        Ok(())
    }
}

impl Folder for Disk {
    fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.state().files.keys().copied().collect())
    }

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        Ok(self.state().files[&number].written.clone())
    }

    fn create(&self, number: u64, bytes: u64) -> io::Result<Arc<dyn Segment>> {
        let mut state = self.state();
        state.call()?;
        let used: usize = state.files.values().map(|file| file.written.len()).sum();
        if state.room_bytes.is_some_and(|room| used as u64 + bytes > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = File::of(vec![0; bytes as usize]);
        assert!(state.files.insert(number, file).is_none(), "a number is used twice");
        Ok(Arc::new(Open { disk: self.clone(), number }))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.files.remove(&number).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn keep_aside(&self, number: u64) -> io::Result<()> {
        self.remove(number)?;
        self.state().aside.push(number);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let State { files, durable, .. } = &mut *state;
        for (number, file) in files {
            durable.insert(*number, file.synced.clone().unwrap_or_default());
        }
        Ok(())
    }

    fn refuse(&self, line: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.refused.push(line.to_owned());
        Ok(())
    }
}

#[derive(Debug)]
struct Open {
    disk: Disk,
    number: u64,
}

impl Segment for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let called = state.call();
        let done = if called.is_ok() { bytes.len() } else { bytes.len() / 2 };
        if let Some(file) = state.files.get_mut(&self.number) {
            let at = offset as usize;
            file.written[at..at + done].copy_from_slice(&bytes[..done]);
        }
        called
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let called = state.call();
        let State { files, durable, .. } = &mut *state;
        let Some(file) = files.get_mut(&self.number) else { return called };
        file.lost |= called.is_err();
        if !file.lost {
            file.synced = Some(file.written.clone());
            if let Some(contents) = durable.get_mut(&self.number) {
                contents.clone_from(&file.written);
            }
        }
        called
    }
}

impl File {
    pub(super) fn of(written: Vec<u8>) -> Self {
        Self { written, ..Self::default() }
    }
}
