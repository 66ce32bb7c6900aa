//! A disk that is full: the caller is told so, nothing is torn, and after some of it was freed all goes on.

use super::child::{BATCH, batch};
use super::{CHILD, Fault, Outcome, command, folder, outcome, run};
use crate::conformance::{tenant, tenant_id};
use crate::vault::{files, read};
use orrery_store::{Blobs, Database, Ledger as _, MasterKey, Tenants as _, UsageQuery, Vault};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The file on the small disk that the child deletes when the disk is full.
const BALLAST_BYTES: usize = 256 * 1024;
/// What the shell below answers where it may not mount.
const NOT_ALLOWED: i32 = 97;

/// With writes that fail as on a full disk.
#[tokio::test]
async fn a_full_disk_is_told_and_recovered_from() {
    let folder = folder();
    prepare(&folder.path().join("data")).await;
    check(folder.path(), &run("fill", folder.path(), Fault::Full(60)), "data").await;
}

/// On a file system of 1 MB, where this user may mount one in a namespace of the child's own. Where it may not, the disk is
/// full at another call than above.
#[tokio::test]
async fn a_disk_of_a_megabyte_is_told_and_recovered_from() {
    let folder = folder();
    prepare(&folder.path().join("seed")).await;
    std::fs::create_dir(folder.path().join("kept")).expect("made");
    match on_small_disk(folder.path()) {
        Some(outcome) => check(folder.path(), &outcome, "kept").await,
        None => {
            prepare(&folder.path().join("data")).await;
            check(folder.path(), &run("fill", folder.path(), Fault::Full(90)), "data").await;
        }
    }
}

/// A database with a tenant that has a data key, and the ballast.
async fn prepare(data: &Path) {
    std::fs::create_dir_all(data).expect("made");
    let database = Arc::new(Database::open(&data.join("orrery.db")).await.expect("opened"));
    database.create_tenant(&tenant("ten_a", 1)).await.expect("created");
    vault(&Blobs::in_memory(), &database).rotate(&tenant_id("ten_a")).await.expect("a data key");
    Arc::into_inner(database).expect("the last one").close().await;
    std::fs::write(data.join("ballast"), vec![1; BALLAST_BYTES]).expect("written");
}

fn vault(blobs: &Blobs, database: &Arc<Database>) -> Vault {
    Vault::new(blobs.clone(), database.clone(), MasterKey::from_bytes([1; 32]), vec![])
}

/// Runs the child with `data` on a small disk, and copies what is on it to `kept`.
fn on_small_disk(folder: &Path) -> Option<Outcome> {
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs \"$0/data\" || exit {NOT_ALLOWED}\n\
         cp -r \"$0/seed/.\" \"$0/data/\" || exit 98\n\
         program=$1; shift\n\
         \"$program\" \"$@\"; code=$?\n\
         cp -r \"$0/data/.\" \"$0/kept/\" || exit 99\n\
         exit $code"
    );
    let mut shell = Command::new("unshare");
    shell.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(folder);
    shell.arg(std::env::current_exe().expect("this binary")).args(CHILD);
    for (name, value) in command("fill", folder, Fault::None).get_envs() {
        if let (Some(value), true) = (value, name != "LD_PRELOAD") {
            shell.env(name, value);
        }
    }
    // There may be no such program.
    let child = shell.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().ok()?;
    let outcome = outcome(folder, child);
    // `unshare` itself fails with 1, before the child says anything.
    let ran = outcome.status.code() != Some(NOT_ALLOWED) && !outcome.said.is_empty();
    ran.then_some(outcome)
}

async fn check(folder: &Path, outcome: &Outcome, data: &str) {
    assert!(outcome.status.success(), "{outcome:?}");
    let failed = outcome.said("failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].starts_with("full append") && failed[1].starts_with("full blob"), "{failed:?}");
    let data = folder.join(data);
    let database = Arc::new(Database::open(&data.join("orrery.db")).await.expect("opened"));
    database.check().await.expect("whole");
    let appended = outcome.said("appended");
    for index in &appended {
        for row in batch(index.parse().expect("a number")) {
            assert_eq!(database.usage_row(&row.id).await.expect("what was promised is there"), row);
        }
    }
    let rows = database.usage(&UsageQuery::default()).await.expect("summed")[0].requests;
    assert_eq!(rows, (appended.len() * BATCH) as u64);
    assert_eq!(files(&data.join("blobs")).len(), 1, "no part of the failed blob");
    let (_, id) = outcome.said("stored")[0].split_once(' ').expect("two words");
    let vault = vault(&Blobs::local(&data.join("blobs")).expect("blobs"), &database);
    assert_eq!(read(&vault, "ten_a", id.parse().expect("id")).await.expect("read"), b"small");
}
