//! The journal: what happens to requests, in files, before the ledger has it.
//!
//! A request's beginning and its end are written by the thread that they happen on, its progress by the upkeep's. One
//! lock covers the writes; none of them waits for a sync, since these are made without it. The current segment keeps
//! enough room for the ends of all running requests: a full disk refuses new ones, and cuts off none.
//!
//! Start at [`Journal::begin`] and [`Journal::end`]; `segments.rs` has the rules of the files.

use super::folder::Folder;
use super::record::{
    BEGIN_BYTES_MAX, Closing, Counts, END_BYTES, Id, PROGRESS_BYTES, put_begin, put_end, put_progress, usage_row,
};
use super::replay::Left;
use super::request::Live;
use super::segments::{Fresh, Segments};
use super::{MeterSettings, now_ms};
use crate::Error;
use crate::store::Lock;
use orrery_store::UsageRow;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Gauges, and counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeterStats {
    /// Requests that have begun and not ended.
    pub running: u64,
    /// Requests that have ended and are not in the ledger.
    pub waiting: u64,
    /// How long the first of these has waited.
    pub oldest_waiting: Option<Duration>,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
    /// Rows that the ledger took as new ones.
    pub rows_written: u64,
    /// Rows that it had already.
    pub rows_repeated: u64,
    /// Rows that it will never take; they stand in `refused.jsonl`.
    pub rows_refused: u64,
    /// Attempts at the ledger that failed.
    pub retries: u64,
    /// Writes to the journal that failed.
    pub write_errors: u64,
    /// Syncs of the journal that failed.
    pub sync_errors: u64,
}

/// Shared by the meter, its threads, its writer and every request.
#[derive(Debug)]
pub(super) struct Journal {
    pub settings: MeterSettings,
    pub folder: Box<dyn Folder>,
    state: Mutex<State>,
    /// For the thread that writes progress: a first request runs, or it has to stop.
    pub running: Condvar,
    /// For the thread that syncs: a new segment is wanted, or it has to stop.
    pub wanted: Condvar,
    /// For the writer.
    pub rows: Notify,
    /// How many rows are in the ledger (or put aside), in the order in which they ended.
    settled: watch::Sender<u64>,
    /// Held until the last request is gone.
    _lock: Option<Lock>,
}

#[derive(Debug)]
pub(super) struct State {
    pub segments: Segments,
    live: HashMap<Id, Entry>,
    /// Of these, ended ones whose end could not be written yet.
    unwritten: usize,
    /// Bytes that the beginnings of `live` take.
    begin_bytes: u64,
    queue: VecDeque<Ended>,
    /// When the first of the rows that the writer has taken ended.
    taken: Option<Instant>,
    ended: u64,
    /// Somebody waits for all rows up to this one.
    hurry: u64,
    buffer: Vec<u8>,
    /// Progress did not fit into the current segment.
    pub crowded: bool,
    refusing: bool,
    pub stopping: bool,
    pub failing: bool,
    pub stats: MeterStats,
}

/// A running request.
#[derive(Debug)]
struct Entry {
    live: Arc<Live>,
    /// What the journal has of it; `None`: that is not known.
    written: Option<Counts>,
    closing: Option<Closing>,
    begin_bytes: u64,
}

/// A row on its way to the ledger.
#[derive(Debug)]
pub(super) struct Ended {
    pub generation: u64,
    pub row: UsageRow,
    pub at: Instant,
}

impl Journal {
    /// Begins a segment behind those that are `left`.
    pub(super) fn open(
        settings: MeterSettings,
        folder: Box<dyn Folder>,
        left: Left,
        lock: Option<Lock>,
    ) -> io::Result<Self> {
        let bytes = settings.segment_bytes;
        let segment = folder.create(left.next_number, bytes)?;
        let first = Fresh { number: left.next_number, segment, bytes, unnamed: true };
        let now = Instant::now();
        let queue: VecDeque<Ended> =
            left.rows.into_iter().map(|(generation, row)| Ended { generation, row, at: now }).collect();
        let state = State {
            segments: Segments::new(first, left.groups),
            live: HashMap::new(),
            unwritten: 0,
            begin_bytes: 0,
            taken: None,
            ended: queue.len() as u64,
            queue,
            hurry: 0,
            buffer: Vec::new(),
            crowded: false,
            refusing: false,
            stopping: false,
            failing: false,
            stats: MeterStats::default(),
        };
        Ok(Self {
            settings,
            folder,
            state: Mutex::new(state),
            running: Condvar::new(),
            wanted: Condvar::new(),
            rows: Notify::new(),
            settled: watch::Sender::new(0),
            _lock: lock,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left numbers, not half a record: writes count only when they are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, live: &Arc<Live>) -> Result<(), Error> {
        let mut state = self.state();
        if state.refusing {
            return Err(Error::Unavailable("the server is shutting down".into()));
        }
        state.buffer.clear();
        put_begin(&mut state.buffer, live.id, &live.bill, live.started_at_ms);
        let begin_bytes = state.buffer.len() as u64;
        let needed = begin_bytes + END_BYTES as u64;
        let max_bytes = self.settings.journal_max_bytes;
        let bytes = state.segments.bytes();
        let full = needed > state.room();
        if bytes > max_bytes || (full && bytes + state.next_capacity(&self.settings) > max_bytes) {
            return Err(state.too_long(max_bytes));
        }
        if full {
            self.turn_now(&mut state).map_err(|error| state.failed(&error))?;
            state.buffer.clear();
            put_begin(&mut state.buffer, live.id, &live.bill, live.started_at_ms);
        }
        state.append().map_err(|error| state.failed(&error))?;
        let entry = Entry { live: live.clone(), written: Some(Counts::default()), closing: None, begin_bytes };
        state.live.insert(live.id, entry);
        state.begin_bytes += begin_bytes;
        if state.live.len() == 1 {
            self.running.notify_one();
        }
        if state.wants_segment(&self.settings) {
            self.wanted.notify_one();
        }
        Ok(())
    }

    /// The row stands in the queue to the ledger even on an error.
    pub(super) fn end(&self, live: &Live, closing: Closing) -> Result<UsageRow, Error> {
        let row = usage_row(live.id, &live.bill, live.started_at_ms, &closing);
        let mut state = self.state();
        state.buffer.clear();
        put_end(&mut state.buffer, live.id, &closing);
        let written = state.append();
        if written.is_ok() {
            state.remove(live.id);
        } else if let Some(entry) = state.live.get_mut(&live.id) {
            entry.closing = Some(closing);
            state.unwritten += 1;
        }
        let generation = state.segments.generation();
        if let Some(group) = state.segments.group(generation) {
            group.unsettled += 1;
        }
        state.ended += 1;
        state.queue.push_back(Ended { generation, row: row.clone(), at: Instant::now() });
        let waiting = state.queue.len();
        if waiting == 1 || waiting == self.settings.batch_rows {
            self.rows.notify_one();
        }
        written.map(|()| row).map_err(|error| state.failed(&error))
    }

    /// Begins the next segment at once, unsynced: whoever waits for a sync is not a request.
    fn turn_now(&self, state: &mut State) -> io::Result<()> {
        let (number, bytes) = (state.segments.number(), state.next_capacity(&self.settings));
        let segment = self.folder.create(number, bytes)?;
        self.adopt(state, Fresh { number, segment, bytes, unnamed: true })
    }

    pub(super) fn adopt(&self, state: &mut State, fresh: Fresh) -> io::Result<()> {
        let number = fresh.number;
        let adopted = state.adopt(fresh);
        if adopted.is_err() {
            let _ = self.folder.remove(number);
        }
        adopted
    }

    pub(super) fn refuse_requests(&self) {
        self.state().refusing = true;
    }

    pub(super) fn stats(&self) -> MeterStats {
        let state = self.state();
        let waiting = state.ended - *self.settled.borrow();
        let oldest = state.taken.or_else(|| state.queue.front().map(|ended| ended.at));
        MeterStats {
            running: (state.live.len() - state.unwritten) as u64,
            waiting,
            oldest_waiting: oldest.map(|at| at.elapsed()),
            journal_bytes: state.segments.bytes(),
            ..state.stats.clone()
        }
    }

    pub(super) async fn flush(&self) {
        let target = {
            let mut state = self.state();
            state.hurry = state.ended;
            state.ended
        };
        self.rows.notify_one();
        // The sender is a part of this: it cannot be gone.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= target).await;
    }

    /// Waits for a row, and then for enough of them or as long as they may wait.
    pub(super) async fn gather(&self) {
        self.state().taken = None;
        while self.state().queue.is_empty() {
            self.rows.notified().await;
        }
        let enough = async {
            while !self.enough() {
                self.rows.notified().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(self.settings.batch_ms), enough).await;
    }

    fn enough(&self) -> bool {
        let state = self.state();
        state.queue.len() >= self.settings.batch_rows || state.hurry > *self.settled.borrow()
    }

    /// Takes the first rows of the queue; they count as waiting until they are settled.
    pub(super) fn take(&self) -> Vec<Ended> {
        let mut state = self.state();
        let count = state.queue.len().min(self.settings.batch_rows);
        let taken: Vec<Ended> = state.queue.drain(..count).collect();
        state.taken = taken.first().map(|ended| ended.at);
        taken
    }

    /// The rows of these generations are durable outside the journal.
    pub(super) fn settle(&self, generations: &[u64], count: impl FnOnce(&mut MeterStats)) {
        let mut state = self.state();
        for generation in generations {
            if let Some(group) = state.segments.group(*generation) {
                group.unsettled = group.unsettled.saturating_sub(1);
            }
        }
        count(&mut state.stats);
        drop(state);
        self.settled.send_modify(|settled| *settled += generations.len() as u64);
    }

    /// Removes the current segment too, after everything has ended and is in the ledger.
    pub(super) fn clear(&self) -> io::Result<()> {
        let number = {
            let state = self.state();
            let idle = state.refusing && state.live.is_empty() && state.ended == *self.settled.borrow();
            state.segments.last().filter(|_| idle)
        };
        number.map_or(Ok(()), |number| self.folder.remove(number))
    }
}

impl State {
    pub(super) fn idle(&self) -> bool {
        self.live.is_empty()
    }

    /// Bytes that may be written besides the ends of what runs.
    fn room(&self) -> u64 {
        self.segments.room().saturating_sub(self.live.len() as u64 * END_BYTES as u64)
    }

    fn append(&mut self) -> io::Result<()> {
        let done = self.segments.append(&self.buffer);
        if done.is_ok() && std::mem::take(&mut self.failing) {
            tracing::info!("the journal of usage can be written again");
        }
        done
    }

    fn remove(&mut self, id: Id) {
        if let Some(entry) = self.live.remove(&id) {
            self.begin_bytes -= entry.begin_bytes;
            self.unwritten -= usize::from(entry.closing.is_some());
        }
    }

    /// A segment that has room for four times what runs.
    pub(super) fn next_capacity(&self, settings: &MeterSettings) -> u64 {
        let each = (PROGRESS_BYTES + 2 * END_BYTES) as u64;
        let running = self.begin_bytes + BEGIN_BYTES_MAX as u64 + (self.live.len() as u64 + 1) * each;
        settings.segment_bytes.max(4 * running)
    }

    /// Before the current segment is full, so that no request has to wait for a new one.
    pub(super) fn wants_segment(&self, settings: &MeterSettings) -> bool {
        let low = self.room() < self.segments.capacity() / 4;
        let allowed = self.segments.bytes() + self.next_capacity(settings) <= settings.journal_max_bytes;
        self.crowded || self.segments.failing() || (low && allowed)
    }

    /// Takes a new segment into use, with all that runs.
    fn adopt(&mut self, fresh: Fresh) -> io::Result<()> {
        let at_ms = now_ms();
        self.buffer.clear();
        for entry in self.live.values() {
            let live = &entry.live;
            put_begin(&mut self.buffer, live.id, &live.bill, live.started_at_ms);
            put_progress(&mut self.buffer, live.id, live.counts(), at_ms);
        }
        let ends = (self.live.len() as u64 + 1) * END_BYTES as u64;
        if self.buffer.len() as u64 + ends > fresh.bytes {
            return Err(io::Error::other("more requests began than the new segment has room for"));
        }
        self.segments.adopt(fresh, &self.buffer)?;
        self.crowded = false;
        Ok(())
    }

    /// Writes what has changed since the last time, in one write.
    pub(super) fn write_progress(&mut self) -> io::Result<()> {
        let (room, at_ms) = (self.room(), now_ms());
        self.buffer.clear();
        let mut ended = Vec::new();
        for entry in self.live.values_mut() {
            let id = entry.live.id;
            if let Some(closing) = &entry.closing {
                // It has its place in what is kept for ends.
                put_end(&mut self.buffer, id, closing);
                ended.push(id);
                continue;
            }
            let counts = entry.live.counts();
            if entry.written == Some(counts) {
                continue;
            }
            if (self.buffer.len() + PROGRESS_BYTES) as u64 > room {
                self.crowded = true;
                break;
            }
            put_progress(&mut self.buffer, id, counts, at_ms);
            entry.written = Some(counts);
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let done = self.append();
        if done.is_ok() {
            ended.into_iter().for_each(|id| self.remove(id));
        } else {
            self.live.values_mut().for_each(|entry| entry.written = None);
        }
        done
    }

    /// Counts a failure of a write, and says what a client may know of it.
    pub(super) fn failed(&mut self, error: &io::Error) -> Error {
        self.stats.write_errors += 1;
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "the journal of usage cannot be written; no requests are taken until it can");
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace("usage cannot be recorded: the disk is full; free some space and try again".into())
            }
            _ => Error::Unavailable("usage cannot be recorded: the disk fails; the server's log has the cause".into()),
        }
    }

    fn too_long(&self, max_bytes: u64) -> Error {
        let waiting = self.queue.len();
        Error::Unavailable(format!(
            "the ledger takes no usage, and its journal has reached `journal_max_bytes` {max_bytes} with {waiting} \
             requests that wait; see the server's log for why, and try again when it is back"
        ))
    }
}
