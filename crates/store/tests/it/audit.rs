//! A chain of hashes in a database that somebody edits behind the store's back.

use crate::conformance::audit::entry;
use orrery_store::{Audit as _, AuditFault, AuditVerdict, Database};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;

/// Over one page of a verification.
const ROWS: u64 = 1_050;

async fn tamper(path: &Path, statement: &'static str) {
    let mut other =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.expect("connected");
    sqlx::raw_sql(statement).execute(&mut other).await.expect("executed");
    other.close().await.expect("closed");
}

#[tokio::test]
async fn every_edit_is_named() {
    use AuditFault::{BehindEnd, Edited, Missing, OutOfOrder};
    let folder = tempfile::tempdir().expect("folder");
    let whole = folder.path().join("whole.db");
    let database = Database::open(&whole).await.expect("opened");
    for index in 1..=ROWS {
        database.append_audit(&entry(&index.to_string(), Some("ten_a"))).await.expect("appended");
    }
    database.close().await;
    for (index, (statement, expected)) in [
        ("UPDATE audit SET at_ms = at_ms", None),
        ("UPDATE audit SET actor = 'key_other' WHERE sequence = 7", Some((7, Edited))),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE sequence = 1", Some((1, Edited))),
        ("UPDATE audit SET tenant = NULL WHERE sequence = 1050", Some((1_050, Edited))),
        ("UPDATE audit SET action = 'key.create' WHERE sequence = 1001", Some((1_001, Edited))),
        ("UPDATE audit SET details = '{}' WHERE sequence = 8", Some((8, Edited))),
        // The same meaning in other characters.
        ("UPDATE audit SET details = details || ' ' WHERE sequence = 8", Some((8, Edited))),
        ("UPDATE audit SET details = 'x' WHERE sequence = 8", Some((8, Edited))),
        ("UPDATE audit SET hash = previous WHERE sequence = 9", Some((9, Edited))),
        ("UPDATE audit SET previous = hash WHERE sequence = 9", Some((9, OutOfOrder))),
        ("DELETE FROM audit WHERE sequence = 1", Some((1, Missing))),
        ("DELETE FROM audit WHERE sequence = 1000", Some((1_000, Missing))),
        ("DELETE FROM audit WHERE sequence > 1047", Some((1_048, Missing))),
        ("DELETE FROM audit", Some((1, Missing))),
        (
            "DELETE FROM audit WHERE sequence = 6; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 6",
            Some((6, OutOfOrder)),
        ),
        (
            "UPDATE audit SET sequence = 9999 WHERE sequence = 3; UPDATE audit SET sequence = 3 WHERE sequence = 4; \
             UPDATE audit SET sequence = 4 WHERE sequence = 9999",
            Some((3, OutOfOrder)),
        ),
        // The tail is cut off and the end moved, but without the hash that stands there.
        ("DELETE FROM audit WHERE sequence = 1050; UPDATE audit_head SET number = 1049", Some((1_049, OutOfOrder))),
        (
            "INSERT INTO audit SELECT 1051, at_ms, actor, tenant, action, subject, details, hash, hash FROM audit \
          WHERE sequence = 1050",
            Some((1_051, BehindEnd)),
        ),
        ("UPDATE audit_head SET number = 1051", Some((1_051, Missing))),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("{index}.db"));
        std::fs::copy(&whole, &path).expect("copied");
        tamper(&path, statement).await;
        let database = Database::open(&path).await.expect("opened");
        let found = match database.verify_audit().await.expect("verified") {
            AuditVerdict::Intact(head) => {
                assert_eq!(head.rows, ROWS);
                None
            }
            AuditVerdict::Broken { sequence, fault } => Some((sequence, fault)),
        };
        assert_eq!(found, expected, "{statement}");
    }
}

/// Two handles, as of two processes, append at once: no row is lost, and the chain holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_append_to_one_chain() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    let (a, b) = (Database::open(&path).await.expect("opened"), Database::open(&path).await.expect("opened"));
    let append = async |database: &Database, name: &str| {
        for index in 0..50 {
            database.append_audit(&entry(&format!("{name}{index}"), None)).await.expect("appended");
        }
    };
    tokio::join!(append(&a, "a"), append(&b, "b"));
    let verdict = a.verify_audit().await.expect("verified");
    assert!(matches!(verdict, AuditVerdict::Intact(head) if head.rows == 100), "{verdict:?}");
}
