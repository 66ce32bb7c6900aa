//! What the child does, by the name of its task. It tries everything again once after a failure, as a server would, and
//! says what it was promised.

use crate::conformance::audit::entry;
use crate::conformance::{row, tenant_id};
use crate::vault::pieces;
use orrery_store::{Audit as _, Blobs, Database, Error, Ledger as _, MasterKey, UsageRow, Vault};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows in one append of the tasks below.
pub const BATCH: usize = 40;

#[test]
#[ignore = "it is the child process of the other tests in this folder"]
fn works() {
    let variable = |name| std::env::var(name).expect("set by the test that starts this process");
    let (task, folder) = (variable("CHILD_TASK"), PathBuf::from(variable("CHILD_FOLDER")));
    // So that the first line begins where a line begins.
    println!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        match task.as_str() {
            "blob" => blob(&folder).await,
            "database" => database(&folder).await,
            "append" => append_for_ever(&folder, variable("CHILD_FIRST").parse().expect("a number")).await,
            "fill" => fill(&folder).await,
            other => panic!("no task {other}"),
        }
    });
}

fn say(word: &str, rest: impl std::fmt::Display) {
    println!("> {word} {rest}");
}

/// Says what kind of error it is, and frees the disk if it is full.
fn failed(folder: &Path, doing: &str, error: &Error) {
    let kind = match error {
        Error::Full(_) => "full",
        Error::Unavailable(_) => "unavailable",
        _ => "other",
    };
    say("failed", format_args!("{kind} {doing} {error}"));
    if kind == "full" {
        std::fs::write(folder.join("freed"), "").expect("freed");
    }
}

/// Does `work` until it succeeds, twice at most.
async fn twice<T>(folder: &Path, doing: &str, mut work: impl AsyncFnMut() -> Result<T, Error>) -> T {
    match work().await {
        Ok(done) => done,
        Err(error) => {
            failed(folder, doing, &error);
            work().await.expect("works the second time")
        }
    }
}

fn vault(folder: &Path, database: &Arc<Database>) -> Vault {
    let blobs = Blobs::local(&folder.join("data/blobs")).expect("blobs");
    Vault::new(blobs, database.clone(), MasterKey::from_bytes([1; 32]), vec![])
}

/// Content of the blobs that the child stores: over one part.
pub fn content(index: u8) -> Vec<u8> {
    vec![index; 6_000_000]
}

/// Stores two blobs with a data key that is there. The database lies outside of the faults.
async fn blob(folder: &Path) {
    let database = Arc::new(Database::open(&folder.join("orrery.db")).await.expect("opened"));
    let a = tenant_id("ten_a");
    for index in 0..2 {
        let stored = twice(folder, "blob", async || {
            // Opening makes the folder, which may be what fails.
            let blobs = Blobs::local(&folder.join("data/blobs"))?;
            let vault = Vault::new(blobs, database.clone(), MasterKey::from_bytes([1; 32]), vec![]);
            vault.put(&a, pieces(&content(index), 1_000_000)).await
        });
        say("stored", format_args!("{index} {}", stored.await.id));
    }
}

pub fn batch(index: usize) -> Vec<UsageRow> {
    (0..BATCH).map(|at| row(&format!("b{index}-{at}"), "ten_a", "key_a")).collect()
}

/// Opens a database of an earlier version, appends to the ledger and to the audit log, and closes it.
async fn database(folder: &Path) {
    let path = folder.join("data/orrery.db");
    let database = twice(folder, "open", async || Database::open(&path).await).await;
    say("opened", "");
    for index in 0..3 {
        let added = twice(folder, "append", async || database.append_usage(&batch(index)).await).await;
        say("appended", format_args!("{index} {added}"));
        twice(folder, "audit", async || database.append_audit(&entry(&index.to_string(), None)).await).await;
        say("audited", index);
    }
    database.close().await;
    say("closed", "");
}

/// One to eight rows at a time from `first` on, until it is killed. The rows of a batch tell which they are.
async fn append_for_ever(folder: &Path, first: u64) {
    let database = Database::open(&folder.join("data/orrery.db")).await.expect("opened");
    let mut next = first;
    loop {
        let end = next + 1 + next % 8;
        let rows: Vec<UsageRow> = (next..end).map(numbered).collect();
        database.append_usage(&rows).await.expect("appended");
        (next..end).for_each(|number| say("acknowledged", number));
        next = end;
    }
}

/// A row whose numbers follow from its id.
pub fn numbered(number: u64) -> UsageRow {
    UsageRow { output_tokens: number % 1_000, ..row(&format!("n{number}"), "ten_a", "key_a") }
}

/// Fills a small disk: first the ledger, then, after some of it was freed, a blob.
async fn fill(folder: &Path) {
    let database = Arc::new(Database::open(&folder.join("data/orrery.db")).await.expect("opened"));
    let mut next = 0;
    loop {
        let result = database.append_usage(&batch(next)).await;
        let Err(error) = result else {
            say("appended", next);
            next += 1;
            continue;
        };
        failed(folder, "append", &error);
        break;
    }
    // What the operator deletes.
    let _ = std::fs::remove_file(folder.join("data/ballast"));
    database.append_usage(&batch(next)).await.expect("works again");
    say("appended", next);

    let vault = vault(folder, &database);
    // Full again, where writes only fail as if it were.
    let _ = std::fs::remove_file(folder.join("freed"));
    let error = vault.put(&tenant_id("ten_a"), pieces(&content(1), 1_000_000)).await.expect_err("over the disk");
    failed(folder, "blob", &error);
    database.append_usage(&batch(next + 1)).await.expect("the failed blob has left no part");
    say("appended", next + 1);
    let stored = vault.put(&tenant_id("ten_a"), pieces(b"small", 5)).await.expect("stored");
    say("stored", format_args!("0 {}", stored.id));
}
