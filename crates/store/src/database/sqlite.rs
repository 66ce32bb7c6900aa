//! What only SQLite knows: its settings, its error codes, its pragmas.

use crate::error::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};
use std::path::Path;
use std::time::Duration;

/// How a transaction that writes begins.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(5);
/// Tries to connect while another process makes the file, with a pause of [`CONNECT_PAUSE`] between them.
const CONNECT_TRIES: usize = 50;
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// What SQLite needs to open a database: its file of shared memory.
const PROBE_BYTES: usize = 32 * 1024;
/// What the write-ahead log is cut to after a checkpoint.
const LOG_BYTES: &str = "16777216";
/// Faults that [`integrity`] names.
const FAULTS: &str = "PRAGMA integrity_check(5)";

/// Makes an empty file that its owner alone can read. SQLite gives the files beside it the same rights.
pub(super) fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path);
    opened.map(drop).map_err(|error| Error::disk(&format!("opening the database {}", path.display()), &error))
}

/// Settings of the connection that writes.
///
/// - `synchronous = FULL`: a commit waits until the log is on the disk. With NORMAL the last commits are lost when the
///   power fails, and with them rows that were acknowledged, and revocations.
/// - `secure_delete`: what is deleted is overwritten with zeros.
pub(super) fn writer_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("journal_size_limit", LOG_BYTES)
        .disable_statement_logging()
}

/// Settings of a connection that reads: it cannot write by mistake.
pub(super) fn reader_options(writer: &SqliteConnectOptions) -> SqliteConnectOptions {
    writer.clone().pragma("query_only", "ON")
}

/// Connects. The change to the write-ahead log needs the file for itself, and does not wait for that.
pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    const DOING: &str = "opening the database";
    let mut result = options.connect().await;
    for _ in 1..CONNECT_TRIES {
        match &result {
            Err(error) if is_busy(error) => tokio::time::sleep(CONNECT_PAUSE).await,
            _ => break,
        }
        result = options.connect().await;
    }
    match result {
        Err(error) if may_be_full(&error) && is_full(options.get_filename()).await => Err(Error::full(DOING)),
        result => result.map_err(failed(DOING)),
    }
}

/// Whether SQLite has given another name to what may be a full disk: the files beside the database cannot be made.
fn may_be_full(error: &sqlx::Error) -> bool {
    matches!(code(error) & 0xff, 10 | 14)
}

/// Whether there is no space beside the database, found by taking some.
async fn is_full(path: &Path) -> bool {
    let mut probe = path.as_os_str().to_owned();
    probe.push(".space");
    let taken = tokio::task::spawn_blocking(move || {
        let taken = std::fs::write(&probe, [0; PROBE_BYTES]);
        let _ = std::fs::remove_file(&probe);
        taken
    });
    matches!(taken.await, Ok(Err(error)) if matches!(Error::disk("", &error), Error::Full(_)))
}

/// The names of all tables.
pub(super) async fn tables(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(connection).await
}

/// Reads the whole file.
pub(super) async fn integrity(connection: &mut SqliteConnection) -> Result<()> {
    let doing = "checking the database";
    let rows = sqlx::query(FAULTS).fetch_all(connection).await.map_err(failed(doing))?;
    let faults: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if faults == ["ok"] {
        return Ok(());
    }
    Err(Error::Corrupt(format!("the database is damaged: {}; restore a copy", faults.join("; "))))
}

/// Moves the log into the file and empties it, since it still holds pages as they were before.
pub(super) async fn truncate_log(connection: &mut SqliteConnection) -> Result<()> {
    let doing = "emptying the write-ahead log";
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await.map_err(failed(doing))?;
    match row.try_get::<i64, _>(0) {
        Ok(0) => Ok(()),
        _ => Err(Error::Unavailable(
            "it is deleted, but another process is reading the database, and old pages stay in its log until it has \
             finished; call again"
                .into(),
        )),
    }
}

/// Turns the driver's error into the store's. Messages name no values, since these may be secret.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| match &error {
        sqlx::Error::Database(_) => of_code(doing, &error),
        sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
            Error::Unavailable(format!("{doing}: {error}"))
        }
        _ => Error::Internal { message: format!("{doing}: {error}"), source: Some(Box::new(error)) },
    }
}

/// SQLite's result codes: the low byte is the kind, the rest the detail (<https://www.sqlite.org/rescode.html>).
fn of_code(doing: &str, error: &sqlx::Error) -> Error {
    match code(error) & 0xff {
        13 => Error::full(doing),
        // Busy, locked.
        5 | 6 => Error::Unavailable(format!("{doing}: another process holds the database; try again")),
        // Read-only, a fault of the disk, cannot open.
        8 | 10 | 14 => Error::Unavailable(format!("{doing}: {error}; see to the disk and the file's permissions")),
        // Corrupt, no database.
        11 | 26 => Error::Corrupt(format!("{doing}: {error}; restore a copy")),
        // A constraint: the callers look for the cases that they expect before they write.
        19 => Error::Conflict(format!("{doing}: {error}")),
        _ => Error::Internal { message: format!("{doing}: {error}"), source: None },
    }
}

fn code(error: &sqlx::Error) -> i32 {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error) & 0xff, 5 | 6)
}
