//! When a segment may go.

use super::disk::Disk;
use super::{Metered, bill, journal, timings};
use crate::metering::folder::Folder as _;
use crate::metering::replay::read;
use crate::metering::segments::{Fate, Fresh, Group, Segments};
use orrery_store::Outcome;

fn fresh(disk: &Disk, number: u64) -> Fresh {
    Fresh { number, segment: disk.create(number, 100).expect("made"), bytes: 100, unnamed: false }
}

fn left(number: u64, unsettled: usize) -> Group {
    Group { number, fate: Fate::Remove, bytes: 1, unsettled, segment: None, unsynced: false, unnamed: false }
}

/// Numbers of the files that may go.
fn unneeded(segments: &Segments) -> Vec<u64> {
    segments.unneeded().into_iter().map(|(number, ..)| number).collect()
}

#[test]
fn a_segment_goes_after_the_next_one_is_on_the_disk() {
    let disk = Disk::default();
    let mut segments = Segments::new(fresh(&disk, 1), Vec::new());
    segments.set_synced(1);
    segments.adopt(fresh(&disk, 2), b"what runs").expect("written");
    assert!(unneeded(&segments).is_empty());
    segments.set_synced(2);
    assert_eq!(unneeded(&segments), [1]);
    segments.group(1).expect("the first").unsettled = 1;
    assert!(unneeded(&segments).is_empty());
}

#[test]
fn a_sync_that_failed_is_not_made_good_by_the_next() {
    let disk = Disk::default();
    let mut segments = Segments::new(fresh(&disk, 1), Vec::new());
    segments.adopt(fresh(&disk, 2), b"what runs").expect("written");
    segments.sync_failed(2);
    assert!(segments.failing(), "another file is wanted");
    segments.set_synced(2);
    assert!(unneeded(&segments).is_empty());
    segments.adopt(fresh(&disk, 3), b"what runs").expect("written");
    segments.set_synced(3);
    assert_eq!(unneeded(&segments), [1, 2]);
}

#[test]
fn what_was_left_goes_in_order() {
    let mut segments = Segments::new(fresh(&Disk::default(), 9), vec![left(4, 0), left(6, 1), left(7, 0)]);
    segments.set_synced(4);
    assert_eq!(unneeded(&segments), [4], "the request of 6 may have its end in 7");
    segments.group(2).expect("6").unsettled = 0;
    assert_eq!(unneeded(&segments), [4, 6, 7]);
}

#[test]
fn what_a_failed_write_left_is_cleared() {
    let disk = Disk::default();
    let journal = journal(&disk).expect("journal");
    let mut running: Vec<_> = (0..8).map(|_| Metered::begin(&journal, bill()).expect("begun")).collect();
    running.iter().for_each(|metered| metered.tokens(1));
    let call = disk.state().calls + 1;
    disk.state().fail_at = Some(call);
    journal.state().write_progress().expect_err("half of it is written");
    // Shorter than what stands there.
    running.remove(0).finish(Outcome::Completed, timings()).expect("acknowledged");
    let left = read(&disk.after_death()).expect("readable");
    assert_eq!((left.rows.len(), left.groups[0].fate), (8, Fate::Remove));
}
