//! What an earlier process has left in the journal, as rows.

use super::folder::Folder;
use super::record::{Closing, Counts, Id, Record, scan, usage_row};
use super::request::Bill;
use super::segments::{Fate, Group};
use orrery_store::{Outcome, UsageRow};
use std::collections::HashMap;
use std::io;

/// All that was left.
#[derive(Debug)]
pub(super) struct Left {
    /// For the ledger, with the generation of the first file that has a record of it, in the order of these.
    pub rows: Vec<(u64, UsageRow)>,
    /// The files, of generations from 1 on.
    pub groups: Vec<Group>,
    /// A number above those of all files.
    pub next_number: u64,
}

/// What the records say of one request.
#[derive(Debug, Default)]
struct Found {
    /// The first file with a record of it.
    generation: u64,
    begin: Option<(Bill, i64)>,
    counts: Counts,
    last_ms: i64,
    closing: Option<Closing>,
}

/// Reads all segments. The order of records does not matter: counts only grow, and an end is the last word.
pub(super) fn read(folder: &dyn Folder) -> io::Result<Left> {
    let numbers = folder.segments()?;
    let next_number = numbers.last().map_or(1, |last| last + 1);
    let mut found: HashMap<Id, Found> = HashMap::new();
    let mut groups = Vec::new();
    for (generation, number) in (1..).zip(numbers) {
        let contents = folder.read(number)?;
        let scan = scan(&contents);
        groups.push(group(number, contents.len() as u64, scan.damaged));
        for record in scan.records {
            let new = || Found { generation, ..Found::default() };
            found.entry(record.id()).or_insert_with(new).add(record);
        }
    }
    let mut rows: Vec<(u64, UsageRow)> =
        found.into_iter().filter_map(|(id, found)| Some((found.generation, found.row(id)?))).collect();
    rows.sort_by(|(a, row), (b, other)| (a, row.started_at_ms, &row.id).cmp(&(b, other.started_at_ms, &other.id)));
    for group in rows.iter().map(|(generation, _)| *generation as usize - 1) {
        groups[group].unsettled += 1;
    }
    if !rows.is_empty() {
        let interrupted = rows.iter().filter(|(_, row)| row.outcome == Outcome::Interrupted).count();
        tracing::info!(rows = rows.len(), interrupted, "usage of an earlier run goes to the ledger");
    }
    Ok(Left { rows, groups, next_number })
}

fn group(number: u64, bytes: u64, damaged: bool) -> Group {
    if damaged {
        tracing::error!(number, "a segment of the journal of usage is damaged; what can be read of it is used");
    }
    let fate = if damaged { Fate::KeepAside } else { Fate::Remove };
    Group { number, fate, bytes, unsettled: 0, segment: None, unsynced: false, unnamed: false }
}

impl Found {
    fn add(&mut self, record: Record) {
        match record {
            Record::Begin { bill, started_at_ms, .. } => self.begin = Some((bill, started_at_ms)),
            Record::Progress { counts, at_ms, .. } => {
                // The tokens of the prompt may be told more than once, with the cached ones later.
                if at_ms >= self.last_ms && counts.output >= self.counts.output {
                    (self.counts.input, self.counts.cached) = (counts.input, counts.cached);
                }
                self.counts.output = self.counts.output.max(counts.output);
                self.last_ms = self.last_ms.max(at_ms);
            }
            Record::End { closing, .. } => self.closing = Some(closing),
        }
    }

    /// `None`: its beginning was lost, and nobody knows who pays.
    fn row(self, id: Id) -> Option<UsageRow> {
        let Some((bill, started_at_ms)) = self.begin else {
            tracing::error!(request = %id, "the beginning of a request cannot be read; its usage is lost");
            return None;
        };
        let closing = self.closing.unwrap_or(Closing {
            counts: self.counts,
            queue_us: 0,
            prefill_us: 0,
            decode_us: 0,
            outcome: Outcome::Interrupted,
            ended_at_ms: self.last_ms.max(started_at_ms),
        });
        Some(usage_row(id, &bill, started_at_ms, &closing))
    }
}
