//! Journals that were cut, or changed, at every byte.

use super::disk::Disk;
use super::{Id, bill, cost, rows_left};
use crate::metering::record::{Closing, Counts, put_begin, put_end, put_progress};
use crate::metering::replay::read;
use crate::metering::segments::Fate;
use orrery_store::{Outcome, UsageRow};
use std::collections::BTreeMap;

/// What a record says, written down a second time without the code under test.
#[derive(Clone, Copy)]
enum Said {
    Begin(u8),
    Progress(u8, u64),
    End(u8, u64),
}

const STORY: [Said; 11] = [
    Said::Begin(1),
    Said::Begin(2),
    Said::Progress(1, 5),
    Said::End(2, 0),
    Said::Begin(3),
    Said::Progress(1, 9),
    Said::Progress(3, 1),
    Said::End(1, 12),
    Said::Begin(4),
    Said::Progress(3, 2),
    Said::End(4, 77),
];

/// The journal, and where each record ends.
fn story() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let counts = |output| Counts { input: 10, cached: 4, output };
    let mut ends = Vec::new();
    for said in STORY {
        match said {
            Said::Begin(id) => put_begin(&mut bytes, Id([id; 16]), &bill(), 1_000 + i64::from(id)),
            Said::Progress(id, output) => put_progress(&mut bytes, Id([id; 16]), counts(output), 2_000),
            Said::End(id, output) => put_end(&mut bytes, Id([id; 16]), &closing(counts(output))),
        }
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn closing(counts: Counts) -> Closing {
    let outcome = Outcome::Completed;
    Closing { counts, queue_us: 1, prefill_us: 2, decode_us: 3, outcome, ended_at_ms: 3_000 }
}

/// Output tokens and outcome of each request, from the records that are left.
fn expected(left: impl Fn(usize) -> bool) -> BTreeMap<String, (u64, Outcome)> {
    let mut begun = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (index, said) in STORY.iter().enumerate().filter(|(index, _)| left(*index)) {
        match *said {
            Said::Begin(id) => drop(begun.insert(id, index)),
            Said::Progress(id, output) => {
                let known = last.entry(id).or_insert((output, Outcome::Interrupted));
                if known.1 == Outcome::Interrupted {
                    known.0 = output;
                }
            }
            Said::End(id, output) => drop(last.insert(id, (output, Outcome::Completed))),
        }
    }
    let row = |id: u8| (Id([id; 16]).to_string(), last.get(&id).copied().unwrap_or((0, Outcome::Interrupted)));
    begun.into_keys().map(row).collect()
}

fn found<'a>(rows: impl IntoIterator<Item = &'a UsageRow>) -> BTreeMap<String, (u64, Outcome)> {
    rows.into_iter().map(|row| (row.id.clone(), (row.output_tokens, row.outcome))).collect()
}

#[test]
fn a_journal_cut_at_any_byte_gives_what_was_whole() {
    let (bytes, ends) = story();
    for cut in 0..=bytes.len() {
        // A file that was laid out has zeros behind the cut; one that was not ends there.
        for zeros in [0, 100] {
            let mut contents = bytes[..cut].to_vec();
            contents.resize(cut + zeros, 0);
            let left = read(&Disk::with(contents)).expect("readable");
            // What is cut off may be zeros that the layout puts back.
            let zeroed = |from: usize| zeros > 0 && bytes[cut.min(from)..from].iter().all(|byte| *byte == 0);
            assert_eq!(
                found(left.rows.iter().map(|(_, row)| row)),
                expected(|index| zeroed(ends[index]) || ends[index] <= cut),
                "cut at {cut}"
            );
            assert_eq!(left.groups[0].fate, Fate::Remove, "cut at {cut}");
            assert!(left.rows.iter().all(|(_, row)| row.cost_nano == cost(row)));
        }
    }
}

#[test]
fn a_flipped_bit_takes_one_record() {
    let (bytes, ends) = story();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut contents = bytes.clone();
            contents[at] ^= 1 << bit;
            let hit = ends.iter().position(|end| at < *end).expect("a record");
            let left = read(&Disk::with(contents)).expect("readable");
            assert_eq!(
                found(left.rows.iter().map(|(_, row)| row)),
                expected(|index| index != hit),
                "bit {bit} of byte {at}"
            );
            // The last record looks like one that was cut off.
            let fate = if hit + 1 == ends.len() { Fate::Remove } else { Fate::KeepAside };
            assert_eq!(left.groups[0].fate, fate, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn foreign_bytes_are_no_records() {
    let mut random = super::Random(9);
    for _ in 0..200 {
        let noise: Vec<u8> = (0..2_000).map(|_| b"\xF5ORJ\0\x01\x29"[random.below(7) as usize]).collect();
        assert_eq!(rows_left(&Disk::with(noise)), []);
    }
}

#[test]
fn records_of_one_request_may_stand_in_several_segments_in_any_order() {
    let (bytes, ends) = story();
    let disk = Disk::default();
    for (index, end) in ends.iter().enumerate().rev() {
        let start = if index == 0 { 0 } else { ends[index - 1] };
        let file = super::disk::File::of(bytes[start..*end].to_vec());
        disk.state().files.insert((ends.len() - index) as u64, file);
    }
    assert_eq!(found(&rows_left(&disk)), expected(|_| true));
}
