//! The journal's two threads: one writes progress, and must be quick; the other waits for the disk.

use super::journal::Journal;
use super::segments::{Fresh, dispose};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Owns the threads.
#[derive(Debug, Clone)]
pub(super) struct Upkeep {
    journal: Arc<Journal>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Upkeep {
    pub(super) fn start(journal: &Arc<Journal>) -> io::Result<Self> {
        let upkeep = Self { journal: journal.clone(), threads: Arc::default() };
        upkeep.spawn("orrery-journal", write_progress)?;
        upkeep.spawn("orrery-sync", sync)?;
        Ok(upkeep)
    }

    fn spawn(&self, name: &str, work: fn(&Journal)) -> io::Result<()> {
        let journal = self.journal.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || work(&journal))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Ends the threads, with what is written on the disk. Files that nothing needs are gone.
    pub(super) fn stop(&self) {
        self.journal.state().stopping = true;
        self.journal.running.notify_all();
        self.journal.wanted.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal of usage has died");
            }
        }
        let _ = self.journal.state().write_progress();
        self.journal.sync_and_clean();
        if let Err(error) = self.journal.clear() {
            tracing::warn!(%error, "the last segment of the journal of usage stays; its rows are in the ledger");
        }
    }
}

fn write_progress(journal: &Journal) {
    let wait = Duration::from_millis(journal.settings.write_ms);
    let mut state = journal.state();
    while !state.stopping {
        if let Err(error) = state.write_progress() {
            state.failed(&error);
        }
        if state.crowded {
            journal.wanted.notify_one();
        }
        state = if state.idle() {
            journal.running.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            journal.running.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

fn sync(journal: &Journal) {
    let wait = Duration::from_millis(journal.settings.sync_ms);
    loop {
        let state = journal.state();
        if state.stopping {
            return;
        }
        drop(journal.wanted.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner));
        journal.turn_if_wanted();
        journal.sync_and_clean();
    }
}

impl Journal {
    /// Begins a new segment, on the disk before it is used, while the current one still has room.
    pub(super) fn turn_if_wanted(&self) {
        let (number, bytes) = {
            let mut state = self.state();
            if !state.wants_segment(&self.settings) {
                return;
            }
            (state.segments.number(), state.next_capacity(&self.settings))
        };
        let turned = self.lay_out(number, bytes).and_then(|fresh| {
            let mut state = self.state();
            self.adopt(&mut state, fresh)
        });
        if let Err(error) = turned {
            self.state().failed(&error);
        }
    }

    fn lay_out(&self, number: u64, bytes: u64) -> io::Result<Fresh> {
        let segment = self.folder.create(number, bytes)?;
        if let Err(error) = segment.sync().and_then(|()| self.folder.sync()) {
            let _ = self.folder.remove(number);
            return Err(error);
        }
        Ok(Fresh { number, segment, bytes, unnamed: false })
    }

    /// Brings what is written to the disk, then removes the segments that nothing needs any more.
    pub(super) fn sync_and_clean(&self) {
        let (generation, files, unnamed) = {
            let mut state = self.state();
            (state.segments.generation(), state.segments.take_unsynced(), state.segments.unnamed())
        };
        let mut all = !unnamed || self.synced(None, || self.folder.sync());
        for (generation, segment) in files {
            all &= self.synced(Some(generation), || segment.sync());
        }
        if !all {
            return;
        }
        let unneeded = {
            let mut state = self.state();
            state.segments.set_synced(generation);
            state.segments.unneeded()
        };
        for (number, fate, generation) in unneeded {
            match dispose(self.folder.as_ref(), number, fate) {
                Ok(()) => self.state().segments.forget(generation),
                Err(error) => tracing::warn!(number, %error, "a segment of the journal of usage cannot be removed yet"),
            }
        }
    }

    fn synced(&self, generation: Option<u64>, sync: impl FnOnce() -> io::Result<()>) -> bool {
        let Err(error) = sync() else { return true };
        tracing::error!(%error, "the journal of usage cannot be brought to the disk; a power loss would take it");
        let mut state = self.state();
        state.stats.sync_errors += 1;
        if let Some(generation) = generation {
            state.segments.sync_failed(generation);
        }
        false
    }
}
