//! What only a database has: a file, versions, and other processes.

use crate::conformance::secrets::wrapped;
use crate::conformance::{key, key_id, row, tenant, tenant_id};
use orrery_store::{
    Audit as _, AuditVerdict, Changes as _, Database, Error, Files as _, Jobs as _, Key, Keys as _, Ledger as _, Price,
    Prices as _, Registry as _, SCHEMA_VERSION, Secrets as _, Tenants as _, UsageQuery,
};
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

/// A database of each earlier version, as that version wrote it: two tenants, two keys, a price and 50 rows of usage.
#[tokio::test]
async fn earlier_versions_are_brought_up_to_date() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    for version in 1..SCHEMA_VERSION {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("orrery.db");
        std::fs::copy(fixtures.join(format!("v{version}.db")), &path).expect("a frozen database of each version");
        let database = Database::open(&path).await.expect("brought up to date");
        database.check().await.expect("whole");
        assert_eq!(database.tenants().await.expect("listed"), [tenant("default", 1), tenant("ten_b", 2)]);
        let revoked = Key { revoked_at_ms: Some(5), ..key("key_b", "ten_b", 1) };
        assert_eq!(database.keys(None).await.expect("listed"), [key("key_a", "default", 1), revoked]);
        let price = Price { model: "smollm2".into(), input_nano: 150, cached_nano: 15, output_nano: 600 };
        assert_eq!(database.prices().await.expect("listed"), [price]);
        assert_eq!(database.usage(&UsageQuery::default()).await.expect("summed")[0].requests, 50);
        assert_eq!(database.usage_row("r7").await.expect("read"), row("r7", "default", "key_a"));
        // What came later works, and a second opening changes nothing.
        database.append_audit(&crate::conformance::audit::entry("a", None)).await.expect("appended");
        database.add_data_key(&wrapped("default", 1)).await.expect("added");
        database.create_file(&crate::conformance::files::file("file-a", "default", 1), 10).await.expect("added");
        database.create_job(&crate::conformance::jobs::job("job_a", "default", 1)).await.expect("added");
        database.publish_version(&crate::conformance::registry::version("default", "m")).await.expect("added");
        database.close().await;
        let database = Database::open(&path).await.expect("opened");
        assert!(matches!(database.verify_audit().await, Ok(AuditVerdict::Intact(head)) if head.rows == 1));
    }
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

/// How many files of a folder hold the text.
fn files_with(folder: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path());
    let holds = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).expect("read");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(holds).count()
}

#[tokio::test]
async fn what_is_erased_is_in_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let database = Database::open(&folder.path().join("orrery.db")).await.expect("opened");
    let mut gone = tenant("ten_gone", 1);
    gone.name = "zebra-canary-7391".into();
    database.create_tenant(&gone).await.expect("created");
    let mut named = key("key_gone", "ten_gone", 1);
    named.name = "key of zebra-canary-7391".into();
    database.create_key(&named).await.expect("created");
    let mut file = crate::conformance::files::file("file-gone", "ten_gone", 1);
    file.name = "report of zebra-canary-7391.csv".into();
    database.create_file(&file, 10).await.expect("created");
    let mut secret = wrapped("ten_gone", 1);
    secret.wrapped = b"wrapped-canary".to_vec();
    let in_hex = "777261707065642d63616e617279";
    database.add_data_key(&secret).await.expect("added");
    for text in ["zebra-canary-7391", in_hex] {
        assert!(files_with(folder.path(), text) > 0, "the search finds what is there: {text}");
    }
    database.shred_data_keys(&gone.id, 8).await.expect("shredded");
    assert_eq!(files_with(folder.path(), in_hex), 0);
    database.erase_tenant(&gone.id, 9).await.expect("erased");
    assert_eq!(files_with(folder.path(), "zebra-canary-7391"), 0);
}

/// While another process reads, old pages stay in the log: the caller is told, and calls again.
#[tokio::test]
async fn an_erasure_that_is_not_finished_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("orrery.db");
    let database = Database::open(&path).await.expect("opened");
    database.create_tenant(&tenant("ten_gone", 1)).await.expect("created");
    let mut reader = other(&path).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM tenants").execute(&mut reader).await.expect("reads");
    let result = database.erase_tenant(&tenant_id("ten_gone"), 9).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    assert!(database.tenant(&tenant_id("ten_gone")).await.expect("read").erased_at_ms.is_some());
    reader.close().await.expect("closed");
    database.erase_tenant(&tenant_id("ten_gone"), 9).await.expect("finished");
    assert_eq!(files_with(folder.path(), "Tenant ten_gone"), 0);
}
