//! The whole meter, with its threads, on a disk in memory.

use super::disk::Disk;
use super::ledger::FailingLedger;
use super::{Random, bill, cost, finish, rows_left, settings, timings};
use crate::Error;
use crate::metering::{Meter, MeterSettings, open};
use orrery_store::{Outcome, Price, UsageRow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn start_with(settings: MeterSettings, disk: &Disk, ledger: &Arc<FailingLedger>) -> Meter {
    let journal = open(settings, Box::new(disk.clone()), None).expect("open");
    Meter::run(journal, ledger.clone()).expect("threads")
}

fn start(disk: &Disk, ledger: &Arc<FailingLedger>) -> Meter {
    start_with(settings(), disk, ledger)
}

async fn flushed(meter: &Meter) {
    tokio::time::timeout(PATIENCE, meter.flush()).await.expect("the ledger takes all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_in_the_ledger_once_whatever_the_ledger_does() {
    for seed in 0..12 {
        let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(seed, 5)));
        let meter = Arc::new(start(&disk, &ledger));
        let tasks: Vec<_> =
            (0..8).map(|task| tokio::spawn(serve(meter.clone(), Random(seed * 8 + task + 1), 25))).collect();
        let mut expected = BTreeMap::new();
        for task in tasks {
            expected.extend(task.await.expect("served"));
        }
        flushed(&meter).await;
        let rows = ledger.state().rows.clone();
        assert_eq!(rows.len(), 200, "seed {seed}");
        for (id, (output, outcome)) in expected {
            let row = &rows[&id];
            assert_eq!((row.output_tokens, row.outcome, row.cost_nano), (output, outcome, cost(row)), "seed {seed}");
        }
        assert!(ledger.state().rows_max <= settings().batch_rows);
        let stats = meter.stats();
        assert_eq!((meter.pending(), stats.rows_written + stats.rows_repeated), (0, 200));
        assert!(stats.retries > 0);
        assert_eq!(meter.close(PATIENCE).await, 0);
        assert!(disk.state().files.is_empty(), "all is in the ledger: nothing is left to keep");
    }
}

/// Requests that end in different ways; what became of each.
async fn serve(meter: Arc<Meter>, mut random: Random, count: usize) -> BTreeMap<String, (u64, Outcome)> {
    let mut ends = BTreeMap::new();
    for _ in 0..count {
        let metered = meter.begin(bill()).expect("begun");
        metered.prompt(10, 0);
        let id = metered.id().to_owned();
        let mut output = 0;
        for _ in 0..random.below(20) {
            let tokens = 1 + random.below(3);
            metered.tokens(tokens);
            output += tokens;
            tokio::task::yield_now().await;
        }
        metered.prompt(10, 4);
        let outcome = [Outcome::Completed, Outcome::Failed, Outcome::Cancelled][random.below(3) as usize];
        if outcome == Outcome::Cancelled {
            drop(metered);
        } else {
            let row = metered.finish(outcome, timings()).expect("acknowledged");
            assert_eq!((row.queue_us, row.prefill_us, row.decode_us), (1, 2, 3));
        }
        ends.insert(id, (output, outcome));
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_leaves_all_to_the_next() {
    for seed in 0..12 {
        let (mut disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(seed, 5)));
        let mut acknowledged: BTreeMap<String, UsageRow> = BTreeMap::new();
        let mut running = Vec::new();
        let mut random = Random(seed + 1);
        for _ in 0..6 {
            let meter = start(&disk, &ledger);
            for _ in 0..random.below(30) {
                let metered = meter.begin(bill()).expect("begun");
                if random.below(4) == 0 {
                    running.push(metered.id().to_owned());
                    metered.tokens(3);
                    // As the death of the process would have it: it does not even end.
                    std::mem::forget(metered);
                } else {
                    let row = finish(metered, random.below(9)).expect("acknowledged");
                    acknowledged.insert(row.id.clone(), row);
                }
            }
            // The old process goes on with the old disk; nothing of that reaches the new one.
            disk = disk.after_death();
            drop(meter);
        }
        let meter = start(&disk, &ledger);
        flushed(&meter).await;
        let rows = ledger.state().rows.clone();
        assert_eq!(rows.len(), acknowledged.len() + running.len(), "seed {seed}");
        assert!(acknowledged.iter().all(|(id, row)| rows.get(id) == Some(row)), "seed {seed}");
        assert!(running.iter().all(|id| rows[id].outcome == Outcome::Interrupted), "seed {seed}");
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_is_cancelled_with_what_it_produced() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 0)));
    let meter = start(&disk, &ledger);
    let metered = meter.begin(bill()).expect("begun");
    let id = metered.id().to_owned();
    metered.prompt(10, 4);
    metered.tokens(5);
    metered.tokens(2);
    assert_eq!((meter.pending(), meter.stats().running), (1, 1));
    drop(metered);
    flushed(&meter).await;
    let idle = async {
        while meter.stats().oldest_waiting.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("nothing waits");
    let row = ledger.state().rows[&id].clone();
    assert_eq!((row.input_tokens, row.cached_tokens, row.output_tokens), (10, 4, 7));
    assert_eq!((row.outcome, row.cost_nano), (Outcome::Cancelled, 6 * 7 + 4 * 3 + 7 * 11));
    assert_eq!((row.model.as_str(), row.endpoint.as_str()), ("tiny", "chat.completions"));
}

#[tokio::test]
async fn an_end_is_with_the_disk_before_it_is_acknowledged() {
    // A ledger that never answers: all that is known is in the journal.
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 10)));
    let meter = start(&disk, &ledger);
    for output in 0..50 {
        let row = finish(meter.begin(bill()).expect("begun"), output).expect("acknowledged");
        assert!(rows_left(&disk.after_death()).contains(&row));
    }
    ledger.state().faults = 0;
    flushed(&meter).await;
    assert_eq!(ledger.state().rows.len(), 50);
}

#[tokio::test]
async fn progress_reaches_the_journal_by_itself() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 0)));
    let meter = start(&disk, &ledger);
    let metered = meter.begin(bill()).expect("begun");
    metered.tokens(42);
    let told = async {
        while rows_left(&disk.after_death()).first().is_none_or(|row| row.output_tokens != 42) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("written");
}

#[tokio::test]
async fn past_its_largest_size_the_journal_takes_no_requests() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 10)));
    let meter = start_with(MeterSettings { journal_max_bytes: 24 << 10, ..settings() }, &disk, &ledger);
    let first = meter.begin(bill()).expect("begun");
    let refusal = loop {
        match meter.begin(bill()) {
            Ok(metered) => drop(finish(metered, 1).expect("acknowledged")),
            Err(error) => break error,
        }
    };
    assert!(matches!(&refusal, Error::Unavailable(message) if message.contains("24576")), "{refusal}");
    assert!(meter.stats().journal_bytes <= 24 << 10);
    finish(first, 5).expect("what runs still ends");
    assert!(meter.stats().oldest_waiting.is_some());
    ledger.state().faults = 0;
    flushed(&meter).await;
    let again = async {
        while meter.begin(bill()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("requests are taken again");
}

#[tokio::test]
async fn a_full_disk_refuses_requests_and_cuts_off_none() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 10)));
    disk.state().room_bytes = Some(20 << 10);
    let meter = start(&disk, &ledger);
    let mut running = Vec::new();
    let refusal = loop {
        match meter.begin(bill()) {
            Ok(metered) => running.push(metered),
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, Error::NoSpace(_)), "{refusal}");
    for metered in running {
        // Progress has no room any more; the end tells it all.
        let row = finish(metered, 5).expect("its place was kept");
        assert!(rows_left(&disk.after_death()).contains(&row));
    }
    disk.state().room_bytes = None;
    let again = async {
        while meter.begin(bill()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("requests are taken again");
}

#[tokio::test]
async fn a_broken_disk_kills_no_request() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 0)));
    let meter = start(&disk, &ledger);
    let (one, two) = (meter.begin(bill()).expect("begun"), meter.begin(bill()).expect("begun"));
    let ids = [one.id().to_owned(), two.id().to_owned()];
    disk.state().broken = true;
    one.tokens(3);
    two.tokens(4);
    assert!(matches!(finish(one, 1), Err(Error::Unavailable(_))), "an end that is not written is not acknowledged");
    assert!(matches!(meter.begin(bill()), Err(Error::Unavailable(_))));
    // The ledger has it all the same.
    flushed(&meter).await;
    assert_eq!(ledger.state().rows[&ids[0]].output_tokens, 4);
    disk.state().broken = false;
    let row = loop {
        // The threads need a moment to find that the disk is well.
        if let Ok(metered) = meter.begin(bill()) {
            break finish(metered, 1).expect("acknowledged");
        }
        tokio::task::yield_now().await;
    };
    assert!(rows_left(&disk.after_death()).contains(&row));
    assert_eq!(finish(two, 1).expect("acknowledged").output_tokens, 5);
    assert!(meter.stats().write_errors > 0);
}

#[tokio::test]
async fn a_row_that_the_ledger_refuses_is_put_aside_alone() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 0)));
    ledger.state().refuses = Some("bad".into());
    let meter = start(&disk, &ledger);
    for model in ["good", "bad", "fine"] {
        let price = Price { model: model.into(), ..bill().price };
        finish(meter.begin(crate::metering::Bill { price, ..bill() }).expect("begun"), 1).expect("acknowledged");
    }
    flushed(&meter).await;
    let models: Vec<String> = ledger.state().rows.values().map(|row| row.model.clone()).collect();
    assert!(models.len() == 2 && !models.contains(&"bad".to_owned()), "{models:?}");
    assert_eq!(meter.stats().rows_refused, 1);
    assert!(disk.state().refused[0].contains("\"bad\""));
}

#[tokio::test]
async fn a_bill_that_the_ledger_would_refuse_is_refused_at_once() {
    let meter = start(&Disk::default(), &Arc::new(FailingLedger::new(1, 0)));
    let long = crate::metering::Bill { endpoint: "x".repeat(200), ..bill() };
    let error = meter.begin(long).expect_err("too long");
    assert!(matches!(&error, Error::BadInput { message, .. } if message.contains("endpoint")), "{error}");
    // A cost beyond all bounds is cut, not lost.
    let price = Price { output_nano: u64::MAX, ..bill().price };
    let row = finish(meter.begin(crate::metering::Bill { price, ..bill() }).expect("begun"), 9).expect("ended");
    assert_eq!(row.cost_nano, orrery_store::COUNT_MAX);
}

#[tokio::test]
async fn a_long_request_holds_no_segment_back() {
    let (disk, ledger) = (Disk::default(), Arc::new(FailingLedger::new(1, 0)));
    let meter = start(&disk, &ledger);
    let long = meter.begin(bill()).expect("begun");
    long.tokens(1);
    let few = async {
        let mut served = 0;
        while served < 1_000 || disk.state().files.len() > 3 {
            finish(meter.begin(bill()).expect("begun"), 1).expect("acknowledged");
            served += 1;
            meter.flush().await;
        }
    };
    tokio::time::timeout(PATIENCE, few).await.expect("segments go");
    // Its beginning moved along.
    let id = long.id().to_owned();
    assert!(rows_left(&disk.after_death()).iter().any(|row| row.id == id && row.output_tokens == 1));
}
