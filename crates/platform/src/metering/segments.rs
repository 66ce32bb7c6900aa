//! The segments of the journal: the one that is written, and those before it.
//!
//! Every segment stands alone: when a new one is begun, all requests that run are written into it again. So a segment
//! before it is needed only for the rows of requests that ended in it, and goes when these are in the ledger, in
//! whatever order, and the running requests of the newer one are on the disk.

use super::folder::{Folder, Segment};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What happens to a file when it is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Remove,
    /// Something in it could not be read; somebody may want to look.
    KeepAside,
}

/// A file, and how many rows keep it.
#[derive(Debug)]
pub(super) struct Group {
    pub number: u64,
    pub fate: Fate,
    pub bytes: u64,
    /// Ended requests that are not in the ledger.
    pub unsettled: usize,
    pub segment: Option<Arc<dyn Segment>>,
    /// Something was written since the last sync.
    pub unsynced: bool,
    /// Its name may not be on the disk.
    pub unnamed: bool,
}

/// A new file, before it is taken into use.
#[derive(Debug)]
pub(super) struct Fresh {
    pub number: u64,
    pub segment: Arc<dyn Segment>,
    pub bytes: u64,
    pub unnamed: bool,
}

#[derive(Debug)]
pub(super) struct Segments {
    current: Group,
    current_file: Arc<dyn Segment>,
    /// Where the next record goes.
    offset: u64,
    /// Bytes behind `offset` that a failed write may have touched.
    torn: u64,
    /// How many have been taken into use; names the current group.
    generation: u64,
    /// Groups below this one have their running requests in a segment that is on the disk.
    synced: u64,
    /// A sync of this one failed: what it holds may be lost without another error, whatever later syncs say.
    doubtful: u64,
    /// Generations up to this one are what an earlier process has left.
    left: u64,
    /// By generation.
    closed: BTreeMap<u64, Group>,
    next_number: u64,
}

impl Segments {
    pub(super) fn new(first: Fresh, left: Vec<Group>) -> Self {
        let next_number = first.number + 1;
        let current_file = first.segment.clone();
        let closed: BTreeMap<u64, Group> = (1..).zip(left).collect();
        let left = closed.len() as u64;
        let (current, generation) = (group(first), left + 1);
        Self {
            current,
            current_file,
            offset: 0,
            torn: 0,
            generation,
            synced: 0,
            doubtful: 0,
            left,
            closed,
            next_number,
        }
    }

    /// Of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.current.bytes + self.closed.values().map(|group| group.bytes).sum::<u64>()
    }

    /// Of the current file.
    pub(super) fn capacity(&self) -> u64 {
        self.current.bytes
    }

    /// Bytes left in the current file.
    pub(super) fn room(&self) -> u64 {
        self.current.bytes.saturating_sub(self.offset)
    }

    /// The last write failed, or a sync: another file may do better.
    pub(super) fn failing(&self) -> bool {
        self.torn > 0 || self.doubtful == self.generation
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    pub(super) fn group(&mut self, generation: u64) -> Option<&mut Group> {
        if generation == self.generation { Some(&mut self.current) } else { self.closed.get_mut(&generation) }
    }

    /// Appends. On an error nothing counts as written, and the next call clears what stands there before it writes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.room() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the segment is full"));
        }
        if self.torn > 0 {
            // Else a part of what was refused could be read as records some day.
            self.current_file.write_at(&vec![0; self.torn as usize], self.offset)?;
            self.torn = 0;
        }
        self.current.unsynced = true;
        if let Err(error) = self.current_file.write_at(bytes, self.offset) {
            self.torn = bytes.len() as u64;
            return Err(error);
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Takes a new file into use, which begins with `carried`: the requests that run.
    pub(super) fn adopt(&mut self, fresh: Fresh, carried: &[u8]) -> io::Result<()> {
        fresh.segment.write_at(carried, 0)?;
        self.current_file = fresh.segment.clone();
        let before = std::mem::replace(&mut self.current, group(fresh));
        self.closed.insert(self.generation, before);
        self.generation += 1;
        self.offset = carried.len() as u64;
        self.torn = 0;
        Ok(())
    }

    /// What has to be synced now, by generation; it counts as synced unless [`sync_failed`](Self::sync_failed) says no.
    pub(super) fn take_unsynced(&mut self) -> Vec<(u64, Arc<dyn Segment>)> {
        let mut files = Vec::new();
        let current = std::iter::once((self.generation, &mut self.current));
        for (generation, group) in self.closed.iter_mut().map(|(key, group)| (*key, group)).chain(current) {
            if let Some(segment) = group.segment.as_ref().filter(|_| group.unsynced) {
                files.push((generation, segment.clone()));
                group.unsynced = false;
            }
        }
        files
    }

    pub(super) fn sync_failed(&mut self, generation: u64) {
        self.doubtful = self.doubtful.max(generation);
        if let Some(group) = self.group(generation) {
            group.unsynced = true;
        }
    }

    /// Names of files are not on the disk.
    pub(super) fn unnamed(&self) -> bool {
        self.current.unnamed
    }

    /// All up to `generation` are on the disk, with their names.
    pub(super) fn set_synced(&mut self, generation: u64) {
        if generation > self.doubtful {
            self.synced = self.synced.max(generation);
        }
        if generation == self.generation {
            self.current.unnamed = false;
        }
    }

    /// Files that nothing needs any more. Of those that were left, a request may have records in several, and counts in
    /// the first: so they go in order.
    pub(super) fn unneeded(&self) -> Vec<(u64, Fate, u64)> {
        let left = self.closed.range(..=self.left).take_while(|(_, group)| group.unsettled == 0);
        let own = self.closed.range(self.left + 1..).filter(|(_, group)| group.unsettled == 0);
        let safe = left.chain(own).filter(|(generation, _)| **generation < self.synced);
        safe.map(|(generation, group)| (group.number, group.fate, *generation)).collect()
    }

    pub(super) fn forget(&mut self, generation: u64) {
        self.closed.remove(&generation);
    }

    /// After the last request has ended and is in the ledger, the current one is not needed either.
    pub(super) fn last(&self) -> Option<u64> {
        (self.current.unsettled == 0 && self.closed.is_empty()).then_some(self.current.number)
    }
}

fn group(fresh: Fresh) -> Group {
    Group {
        number: fresh.number,
        fate: Fate::Remove,
        bytes: fresh.bytes,
        unsettled: 0,
        segment: Some(fresh.segment),
        // What is carried over is written when it is taken into use.
        unsynced: true,
        unnamed: fresh.unnamed,
    }
}

/// Removes a file, or gives it the name by which it is kept aside.
pub(super) fn dispose(folder: &dyn Folder, number: u64, fate: Fate) -> io::Result<()> {
    let done = match fate {
        Fate::Remove => folder.remove(number),
        Fate::KeepAside => folder.keep_aside(number),
    };
    match done {
        // It went in an attempt before this one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
