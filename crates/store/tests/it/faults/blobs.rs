//! The k-th call fails while a blob is published, for every k: a reader finds the whole blob or none.

use super::child::content;
use super::{Fault, Outcome, folder, run};
use crate::conformance::{tenant, tenant_id};
use crate::vault::{files, read};
use orrery_store::{BlobId, Blobs, Database, MasterKey, Tenants as _, Vault};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A vault with a tenant that has a data key already.
async fn vault(folder: &Path) -> Vault {
    let database = Arc::new(Database::open(&folder.join("orrery.db")).await.expect("opened"));
    if database.tenants().await.expect("listed").is_empty() {
        database.create_tenant(&tenant("ten_a", 1)).await.expect("created");
    }
    let blobs = Blobs::local(&folder.join("data/blobs")).expect("blobs");
    Vault::new(blobs, database, MasterKey::from_bytes([1; 32]), vec![])
}

/// Runs the task under a fault and checks what it left.
async fn check(fault: Fault) -> Outcome {
    let folder = folder();
    vault(folder.path()).await.rotate(&tenant_id("ten_a")).await.expect("a data key");
    std::fs::remove_dir(folder.path().join("data/blobs")).expect("as before the first start");
    let outcome = run("blob", folder.path(), fault);
    let killed = matches!(fault, Fault::Kill(_));
    assert_eq!(outcome.status.success(), !killed, "{fault:?}: {outcome:?}");
    let vault = vault(folder.path()).await;
    for stored in outcome.said("stored") {
        let (index, id) = stored.split_once(' ').expect("two words");
        let found = read(&vault, "ten_a", id.parse().expect("id")).await.expect("what was promised is there");
        assert!(found == content(index.parse().expect("a number")), "{fault:?}: blob {index}");
    }
    let kind = if matches!(fault, Fault::Full(_)) { "full blob" } else { "unavailable blob" };
    for failed in outcome.said("failed") {
        assert!(failed.starts_with(kind), "{fault:?}: {failed}");
    }
    if !killed {
        assert_eq!(outcome.said("stored").len(), 2, "{fault:?}: {outcome:?}");
        assert_eq!(staged(folder.path()), 0, "{fault:?}: partial files are removed");
    }
    // Promised or not: never a part of a blob under a blob's name.
    for path in files(&folder.path().join("data/blobs")) {
        if path.components().any(|part| part.as_os_str() == "staging") {
            continue;
        }
        let name: BlobId = path.file_name().and_then(|name| name.to_str()).expect("name").parse().expect("a blob's id");
        let digest = Sha256::digest(std::fs::read(&path).expect("read"));
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name.to_string(), digest, "{fault:?}");
    }
    vault.blobs().sweep(Duration::ZERO).await.expect("swept");
    assert_eq!(staged(folder.path()), 0, "{fault:?}: what a crash left is swept");
    outcome
}

fn staged(folder: &Path) -> usize {
    let staging = folder.join("data/blobs/staging");
    if staging.exists() { files(&staging).len() } else { 0 }
}

/// The file is on the disk before it has its name, and the name is on the disk before the promise.
#[tokio::test]
async fn a_blob_is_flushed_before_it_is_named() {
    let outcome = check(Fault::None).await;
    let calls: Vec<(&str, &str)> = outcome
        .calls
        .iter()
        .map(|(what, path)| (what.as_str(), path.file_name().and_then(|name| name.to_str()).expect("name")))
        .collect();
    let (_, id) = outcome.said("stored")[0].split_once(' ').expect("two words");
    let named = calls.iter().position(|call| *call == ("rename", id)).expect("renamed to its name");
    let last_write = calls[..named].iter().rposition(|(what, _)| *what == "write").expect("written");
    let file = calls[last_write].1;
    assert!(calls[last_write..named].contains(&("fsync", file)), "{calls:?}");
    assert!(calls[named + 1..].contains(&("fsync", &id[..2])), "{calls:?}");
    // The folder of the first two digits is new: its own name is on the disk too.
    assert!(calls.contains(&("mkdir", &id[..2])) && calls.contains(&("fsync", "ten_a")), "{calls:?}");
}

#[tokio::test]
async fn every_call_may_fail() {
    let calls = check(Fault::None).await.calls.len();
    assert!(calls > 15, "{calls} calls are counted");
    let mut failures = 0;
    for at in 1..=calls {
        failures += check(Fault::Error(at)).await.said("failed").len();
    }
    // Opening the folder syncs nothing that must not fail, so every fault is seen.
    assert_eq!(failures, calls);
}

#[tokio::test]
async fn the_disk_may_be_full_at_every_call() {
    let calls = check(Fault::None).await.calls.len();
    let mut failures = 0;
    for at in 1..=calls {
        failures += check(Fault::Full(at)).await.said("failed").len();
    }
    assert!(failures > calls / 2, "{failures} of {calls}");
}

#[tokio::test]
async fn the_process_may_die_at_every_call() {
    let calls = check(Fault::None).await.calls.len();
    for at in 1..=calls {
        check(Fault::Kill(at)).await;
    }
}
