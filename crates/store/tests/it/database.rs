//! What only a database has: a file, versions, and other processes.

use crate::conformance::{key, key_id, row, tenant, tenant_id};
use orrery_store::{Changes as _, Database, Error, Keys as _, Ledger as _, SCHEMA_VERSION, Tenants as _, UsageQuery};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;

/// A connection of another program.
async fn other(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.expect("connected")
}

async fn execute(path: &Path, statement: &'static str) {
    let mut connection = other(path).await;
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("executed");
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn what_was_written_outlives_the_process() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    let database = Database::open(&path).await.expect("opened");
    database.create_tenant(&tenant("default", 1)).await.expect("created");
    database.append_usage(&[row("r", "default", "key_a")]).await.expect("appended");
    database.close().await;
    let database = Database::open(&path).await.expect("opened");
    assert_eq!(database.tenants().await.expect("listed"), [tenant("default", 1)]);
    assert_eq!(database.usage_row("r").await.expect("read"), row("r", "default", "key_a"));
}

#[cfg(unix)]
#[tokio::test]
async fn the_owner_alone_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("folder");
    let database = Database::open(&folder.path().join("orrery.db")).await.expect("opened");
    database.create_tenant(&tenant("default", 1)).await.expect("created");
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("listed") {
        let entry = entry.expect("entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log, and its shared memory");
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    Database::open(&path).await.expect("opened").close().await;
    execute(&path, "UPDATE schema_version SET version = 99").await;
    let error = Database::open(&path).await.expect_err("refused");
    assert!(matches!(error, Error::NewerDatabase { found: 99, known: SCHEMA_VERSION, .. }), "{error:?}");
    assert!(error.to_string().contains("orrery.db has schema version 99"), "{error}");
    let kept: i64 = sqlx::query_scalar("SELECT version FROM schema_version")
        .fetch_one(&mut other(&path).await)
        .await
        .expect("read");
    assert_eq!(kept, 99);
}

#[tokio::test]
async fn a_foreign_or_broken_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("foreign.db");
    execute(&path, "CREATE TABLE songs (title TEXT)").await;
    let error = Database::open(&path).await.expect_err("refused");
    assert!(matches!(&error, Error::Corrupt(message) if message.contains("not one of Orrery")), "{error:?}");

    let path = folder.path().join("broken.db");
    std::fs::write(&path, [0x5a; 8192]).expect("written");
    assert!(matches!(Database::open(&path).await, Err(Error::Corrupt(_))));
    let error = Database::open(&folder.path().join("none/orrery.db")).await.expect_err("no folder");
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("none/orrery.db")), "{error:?}");
}

#[tokio::test]
async fn damage_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    let database = Database::open(&path).await.expect("opened");
    let rows: Vec<_> = (0..1_000).map(|index| row(&format!("row{index}"), "default", "key_a")).collect();
    database.append_usage(&rows).await.expect("appended");
    database.check().await.expect("whole");
    database.close().await;
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&path, bytes).expect("written");
    let database = Database::open(&path).await.expect("opened");
    assert!(matches!(database.check().await, Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn another_handle_sees_a_revocation() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    let (server, command) = tokio::join!(Database::open(&path), Database::open(&path));
    let (server, command) = (server.expect("opened"), command.expect("opened"));
    server.create_tenant(&tenant("default", 1)).await.expect("created");
    server.create_key(&key("key_a", "default", 1)).await.expect("created");
    let seen = server.changes().await.expect("changes");
    command.revoke_key(&key_id("key_a"), 5).await.expect("revoked");
    assert!(server.changes().await.expect("changes") > seen);
    assert_eq!(server.key(&key_id("key_a")).await.expect("read").revoked_at_ms, Some(5));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_store_usable() {
    let folder = tempfile::tempdir().expect("folder");
    let database = Database::open(&folder.path().join("orrery.db")).await.expect("opened");
    let rows: Vec<_> = (0..100).map(|index| row(&format!("r{index}"), "default", "key_a")).collect();
    // Polled a growing number of times, so that it is dropped at every point.
    for polls in 0..200 {
        let mut append = std::pin::pin!(database.append_usage(&rows));
        let mut left = polls;
        let done = std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(false);
            }
            left -= 1;
            append.as_mut().poll(context).map(|result| result.is_ok())
        });
        if done.await {
            break;
        }
    }
    database.append_usage(&rows).await.expect("appended");
    let sums = database.usage(&UsageQuery::default()).await.expect("summed");
    assert_eq!(sums[0].requests, 100);
}

#[tokio::test]
async fn an_erased_name_is_in_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let database = Database::open(&folder.path().join("orrery.db")).await.expect("opened");
    let canary = "zebra-canary-7391";
    let mut gone = tenant("ten_gone", 1);
    gone.name = canary.into();
    database.create_tenant(&gone).await.expect("created");
    let mut named = key("key_gone", "ten_gone", 1);
    named.name = format!("key of {canary}");
    database.create_key(&named).await.expect("created");
    let found = || {
        let files = std::fs::read_dir(folder.path()).expect("listed").map(|entry| entry.expect("entry").path());
        files
            .filter(|path| {
                let bytes = std::fs::read(path).expect("read");
                bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
            })
            .count()
    };
    assert!(found() > 0, "the search finds what is there");
    database.erase_tenant(&tenant_id("ten_gone"), 9).await.expect("erased");
    assert_eq!(found(), 0);
}
