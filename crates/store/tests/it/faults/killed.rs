//! A process that appends to the ledger is killed at random moments: every row that it acknowledged is there, once.

use super::child::numbered;
use super::{Fault, command, said, spawn};
use orrery_store::{Database, Ledger as _, UsageQuery};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

#[tokio::test]
async fn killed_thirty_times() {
    check(30).await;
}

#[tokio::test]
#[ignore = "it takes minutes"]
async fn killed_a_thousand_times() {
    check(1_000).await;
}

async fn check(kills: u32) {
    // On the disk, unlike the other tests here.
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    let path = folder.path().join("data/orrery.db");
    Database::open(&path).await.expect("opened").close().await;
    let mut acknowledged = 0;
    for kill in 0..kills {
        acknowledged = append_and_kill(folder.path(), acknowledged, kill);
        let database = Database::open(&path).await.expect("opened");
        database.check().await.expect("whole");
        // Rows beyond the acknowledged ones may be there; the next child sends them again.
        let sum = database.usage(&UsageQuery::default()).await.expect("summed").remove(0);
        assert!((acknowledged..=acknowledged + 8).contains(&sum.requests), "{acknowledged} of {}", sum.requests);
        let tokens: u64 = (0..sum.requests).map(|number| number % 1_000).sum();
        assert_eq!(sum.output_tokens, tokens, "each row once");
        // The same closed and open: the next child finds the log as the last one left it.
    }
    let database = Database::open(&path).await.expect("opened");
    for number in 0..acknowledged {
        assert_eq!(database.usage_row(&format!("n{number}")).await.expect("there"), numbered(number));
    }
    assert!(acknowledged > u64::from(kills), "{acknowledged} rows in {kills} lives");
    println!("{kills} kills, {acknowledged} rows acknowledged, each in the ledger once");
}

/// Lets a child append from `first` on, kills it, and returns how many rows were acknowledged up to then.
fn append_and_kill(folder: &Path, first: u64, kill: u32) -> u64 {
    let mut command = command("append", folder, Fault::None);
    command.env_remove("LD_PRELOAD").env("CHILD_FIRST", first.to_string());
    let mut child = spawn(command);
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut numbers =
        lines.map_while(Result::ok).filter_map(|line| said(&line)).filter(|(word, _)| word == "acknowledged");
    // After a random number of rows, and then a random moment more. It is the fault, not a way to wait for something.
    let random = u64::from(kill).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let rows = usize::try_from(random >> 59).expect("small");
    let mut last = numbers.by_ref().take(1 + rows).last();
    std::thread::sleep(Duration::from_micros((random >> 40) & 0xfff));
    child.kill().expect("killed");
    last = numbers.last().or(last);
    child.wait().expect("ended");
    let number = |(_, number): (String, String)| number.parse::<u64>().expect("a number") + 1;
    last.map_or(first, number)
}
