//! Every call of the disk fails once, in a long story of requests; and after each chapter the process dies, or the power
//! goes. The threads of the meter are played by the test, so that the story is the same each time.

use super::disk::Disk;
use super::{Random, bill, cost, journal, rows_left, timings};
use crate::metering::journal::Journal;
use crate::metering::request::Metered;
use orrery_store::{Outcome, UsageRow};
use std::collections::BTreeMap;
use std::sync::Arc;

const STEPS: usize = 160;

/// A request, as the test knows it.
struct Played {
    /// `None`: it has ended.
    metered: Option<Metered>,
    output: u64,
    /// Of these, told by a write of progress that succeeded.
    written: u64,
    /// Its end was acknowledged with this row.
    acknowledged: Option<UsageRow>,
    /// The end, or the beginning, had come when a sync succeeded.
    end_synced: bool,
    begin_synced: bool,
}

#[derive(Default)]
struct Story {
    requests: BTreeMap<String, Played>,
    ledger: BTreeMap<String, UsageRow>,
    refused: usize,
    /// The generation whose sync failed: it promises nothing more.
    doubtful: Option<u64>,
}

#[test]
fn any_call_of_the_disk_may_fail() {
    let whole = play(None);
    assert!(whole > 100, "the story makes {whole} calls only");
    for call in 1..=whole {
        play(Some(call));
    }
}

/// Returns how many calls the disk had.
fn play(fail_at: Option<usize>) -> usize {
    let disk = Disk::default();
    disk.state().fail_at = fail_at;
    let Ok(journal) = journal(&disk) else {
        assert_eq!(fail_at, Some(1), "only a first segment that cannot be made keeps it from starting");
        return 1;
    };
    let mut story = Story::default();
    let mut random = Random(7);
    for step in 0..STEPS {
        story.step(&journal, &mut random, &disk);
        if step % 4 == 0 {
            story.check(&disk, &format!("call {fail_at:?} fails, step {step}"));
        }
    }
    assert!(story.refused <= 3, "one failure refuses {} requests", story.refused);
    disk.state().calls
}

impl Story {
    fn step(&mut self, journal: &Arc<Journal>, random: &mut Random, disk: &Disk) {
        match random.below(9) {
            0..=2 => self.begin(journal),
            3 => self.tokens(random),
            4 => self.write_progress(journal),
            5 => self.end(random, true),
            6 => self.end(random, false),
            7 => self.upkeep(journal, disk),
            _ => self.move_to_ledger(journal),
        }
    }

    fn begin(&mut self, journal: &Arc<Journal>) {
        match Metered::begin(journal, bill()) {
            Ok(metered) => {
                metered.prompt(10, 4);
                let id = metered.id().to_owned();
                let played = Played {
                    metered: Some(metered),
                    output: 0,
                    written: 0,
                    acknowledged: None,
                    end_synced: false,
                    begin_synced: false,
                };
                self.requests.insert(id, played);
            }
            Err(_) => self.refused += 1,
        }
    }

    /// The running requests.
    fn running(&mut self) -> Vec<&mut Played> {
        self.requests.values_mut().filter(|played| played.metered.is_some()).collect()
    }

    fn tokens(&mut self, random: &mut Random) {
        for played in self.running() {
            let count = random.below(3);
            played.metered.as_ref().expect("it runs").tokens(count);
            played.output += count;
        }
    }

    fn write_progress(&mut self, journal: &Journal) {
        let mut state = journal.state();
        if state.write_progress().is_ok() && !state.crowded {
            self.running().into_iter().for_each(|played| played.written = played.output);
        }
    }

    fn end(&mut self, random: &mut Random, finishes: bool) {
        let mut running = self.running();
        if running.is_empty() {
            return;
        }
        let index = random.below(running.len() as u64) as usize;
        let played = &mut running[index];
        let metered = played.metered.take().expect("it runs");
        if finishes {
            played.acknowledged = metered.finish(Outcome::Completed, timings()).ok();
        }
    }

    fn upkeep(&mut self, journal: &Journal, disk: &Disk) {
        journal.turn_if_wanted();
        let before = disk.state().calls;
        journal.sync_and_clean();
        let failed = disk.state().fail_at;
        let generation = journal.state().segments.generation();
        if failed.is_some_and(|call| call > before && call <= disk.state().calls) {
            self.doubtful = Some(generation);
            self.requests.values_mut().for_each(|played| played.begin_synced = false);
        } else if self.doubtful.is_none_or(|doubtful| generation > doubtful) {
            self.synced();
        }
    }

    /// What ended after its beginning was safe is safe now; before a sync has failed, all is.
    fn synced(&mut self) {
        for played in self.requests.values_mut() {
            let safe = self.doubtful.is_none() || played.begin_synced;
            played.end_synced |= safe && played.acknowledged.is_some();
            played.begin_synced |= self.doubtful.is_none() || played.metered.is_some();
        }
    }

    fn move_to_ledger(&mut self, journal: &Journal) {
        let taken = journal.take();
        let generations: Vec<u64> = taken.iter().map(|ended| ended.generation).collect();
        for ended in taken {
            self.ledger.entry(ended.row.id.clone()).or_insert(ended.row);
        }
        journal.settle(&generations, |_| ());
    }

    /// Dies here, starts again, and looks at the ledger.
    fn check(&self, disk: &Disk, when: &str) {
        let rows = self.ledger_after(&disk.after_death());
        for (id, played) in &self.requests {
            let row = rows.get(id).unwrap_or_else(|| panic!("{when}: a request is lost"));
            played.check(row, when);
        }
        for row in rows.values().filter(|row| !self.requests.contains_key(&row.id)) {
            let nothing = row.outcome == Outcome::Interrupted && row.output_tokens == 0 && row.cost_nano == 0;
            assert!(nothing, "{when}: a request that was refused is billed: {row:?}");
        }
        let rows = self.ledger_after(&disk.after_power_loss());
        for (id, played) in &self.requests {
            assert!(!played.begin_synced || rows.contains_key(id), "{when}: a power loss takes a request");
            if played.end_synced {
                assert_eq!(rows.get(id), played.acknowledged.as_ref(), "{when}: a power loss takes an end");
            }
        }
    }

    fn ledger_after(&self, disk: &Disk) -> BTreeMap<String, UsageRow> {
        let mut rows = self.ledger.clone();
        for row in rows_left(disk) {
            rows.entry(row.id.clone()).or_insert(row);
        }
        rows
    }
}

impl Played {
    fn check(&self, row: &UsageRow, when: &str) {
        assert_eq!(row.cost_nano, cost(row), "{when}");
        if let Some(acknowledged) = &self.acknowledged {
            assert_eq!(row, acknowledged, "{when}");
            assert_eq!(row.output_tokens, self.output, "{when}");
        }
        assert!((self.written..=self.output).contains(&row.output_tokens), "{when}: {row:?}");
        assert!(self.metered.is_none() || row.outcome == Outcome::Interrupted, "{when}");
    }
}
