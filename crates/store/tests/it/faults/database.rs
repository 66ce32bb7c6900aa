//! The k-th call fails while a database of an earlier version is opened, appended to and closed, for every k: it is whole
//! afterwards, and holds what was promised.

use super::child::{BATCH, batch};
use super::{Fault, Outcome, folder, run};
use orrery_store::{Audit as _, AuditVerdict, Database, Ledger as _, Tenants as _, UsageQuery};
use std::path::Path;

/// Rows of usage in the frozen database.
const BEFORE: u64 = 50;

/// Runs the task under a fault and checks what it left.
async fn check(fault: Fault) -> Outcome {
    let folder = folder();
    let path = folder.path().join("data/orrery.db");
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/v1.db");
    std::fs::copy(frozen, &path).expect("copied");
    let outcome = run("database", folder.path(), fault);
    let killed = matches!(fault, Fault::Kill(_));
    assert_eq!(outcome.status.success(), !killed, "{fault:?}: {outcome:?}");
    for failed in outcome.said("failed") {
        let kind = if matches!(fault, Fault::Full(_)) { "full" } else { "unavailable" };
        assert!(failed.starts_with(kind), "{fault:?}: {failed}");
    }

    let database = Database::open(&path).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    database.check().await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    assert_eq!(database.tenants().await.expect("listed").len(), 2, "{fault:?}");
    let appended = outcome.said("appended");
    let mut rows = BEFORE;
    for index in 0..3 {
        let mut found = 0;
        for row in batch(index) {
            found += usize::from(database.usage_row(&row.id).await.is_ok_and(|there| there == row));
        }
        let promised = appended.iter().any(|line| line.starts_with(&format!("{index} ")));
        assert!(found == BATCH || (found == 0 && !promised), "{fault:?}: batch {index} has {found} rows");
        rows += found as u64;
    }
    assert_eq!(database.usage(&UsageQuery::default()).await.expect("summed")[0].requests, rows, "{fault:?}");
    let audited = outcome.said("audited").len() as u64;
    match database.verify_audit().await.expect("verified") {
        // Once more if the row was written and the promise was not.
        AuditVerdict::Intact(head) => assert!((audited..=audited + 1).contains(&head.rows), "{fault:?}: {head:?}"),
        broken => panic!("{fault:?}: {broken:?}"),
    }
    outcome
}

async fn calls() -> usize {
    let outcome = check(Fault::None).await;
    assert_eq!(outcome.said("closed").len(), 1, "{outcome:?}");
    assert_eq!(outcome.said("failed").len(), 0, "{outcome:?}");
    assert!(outcome.calls.len() > 30, "{} calls are counted", outcome.calls.len());
    outcome.calls.len()
}

/// A promise is made after the log was flushed, and not before.
#[tokio::test]
async fn an_append_is_flushed_before_it_is_acknowledged() {
    let outcome = check(Fault::None).await;
    let log = |what: &str| {
        let named = |(call, path): &&(String, std::path::PathBuf)| call == what && path.ends_with("orrery.db-wal");
        outcome.calls.iter().filter(named).count()
    };
    // The migration, three appends to the ledger, three to the audit log.
    assert!(log("fsync") >= 7, "{:?}", outcome.calls);
}

#[tokio::test]
async fn every_call_may_fail() {
    let mut failures = 0;
    for at in 1..=calls().await {
        failures += check(Fault::Error(at)).await.said("failed").len();
    }
    assert!(failures > 20, "{failures} were seen by the caller");
}

#[tokio::test]
async fn the_disk_may_be_full_at_every_call() {
    let mut failures = 0;
    for at in 1..=calls().await {
        failures += check(Fault::Full(at)).await.said("failed").len();
    }
    assert!(failures > 20, "{failures} were seen by the caller");
}

#[tokio::test]
async fn the_process_may_die_at_every_call() {
    for at in 1..=calls().await {
        check(Fault::Kill(at)).await;
    }
}
