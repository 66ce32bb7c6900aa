//! The metadata in SQLite: the file, its connections, and how a transaction is made.
//!
//! One connection writes, a few read. The SQL of each concern stands in its own file and is plain enough for PostgreSQL;
//! what only SQLite knows stands in this file and in `sqlite.rs`.

mod audit;
mod files;
mod jobs;
mod keys;
mod ledger;
mod migrations;
mod prices;
mod registry;
mod secrets;
mod sqlite;
mod tenants;

use crate::changes::Changes;
use crate::error::{Error, Result};
use async_trait::async_trait;
pub use migrations::SCHEMA_VERSION;
use sqlite::failed;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{Connection as _, Row as _, Sqlite, Transaction};
use std::path::{Path, PathBuf};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

/// Reads at one time.
const READERS: u32 = 4;

/// The metadata of a data folder, in one SQLite file. It may be open in several processes at once.
///
/// A write waits for other writers, of other processes too, at most 5 seconds, and is on the disk when it returns.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// `None` until the next write if the last one left its connection in doubt.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
}

impl Database {
    /// Opens the file, or makes it, readable by its owner alone, and brings its schema up to date.
    ///
    /// # Errors
    /// `NewerDatabase`; `Corrupt`: it is damaged, or no database of Orrery; `Full`; `Unavailable`: it cannot be opened.
    pub async fn open(path: &Path) -> Result<Self> {
        sqlite::create_private(path)?;
        let options = sqlite::writer_options(path);
        let mut connection = sqlite::connect(&options).await?;
        migrations::run(&mut connection, path).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(sqlite::reader_options(&options));
        Ok(Self { path: path.to_owned(), options, writer: Mutex::new(Some(connection)), readers })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file and checks that it is whole.
    ///
    /// # Errors
    /// `Corrupt`, with the first faults that were found.
    pub async fn check(&self) -> Result<()> {
        let mut reader = self.readers.acquire().await.map_err(failed("checking the database"))?;
        sqlite::integrity(&mut reader).await
    }

    /// Closes all connections; what the write-ahead log holds goes into the file.
    pub async fn close(self) {
        self.readers.close().await;
        if let Some(writer) = self.writer.into_inner() {
            // What was acknowledged is on the disk already, in the log if not in the file.
            let _ = writer.close().await;
        }
    }

    /// Waits for the one connection that writes. To be followed by [`begin`].
    async fn writer(&self) -> Result<Writer<'_>> {
        let mut slot = self.writer.lock().await;
        if let Some(mut connection) = slot.take() {
            // A transaction that failed or was dropped is rolled back by a command in the connection's queue, which the
            // ping waits for. After some errors (a full disk) SQLite has rolled back by itself, and the driver then
            // believes for ever that the transaction is open: such a connection is of no use any more.
            if connection.ping().await.is_ok() && !connection.is_in_transaction() {
                *slot = Some(connection);
            } else {
                let _ = connection.close().await;
            }
        }
        if slot.is_none() {
            *slot = Some(sqlite::connect(&self.options).await?);
        }
        MutexGuard::try_map(slot, Option::as_mut).map_err(|_| Error::internal("invariant: the writer was just set"))
    }

    /// All rows of a reading statement without values.
    async fn fetch_all(&self, statement: &'static str, doing: &'static str) -> Result<Vec<SqliteRow>> {
        sqlx::query(statement).fetch_all(&self.readers).await.map_err(failed(doing))
    }

    /// Overwrites what was deleted, in the write-ahead log too.
    async fn scrub(&self) -> Result<()> {
        let mut writer = self.writer().await?;
        sqlite::truncate_log(&mut writer).await
    }
}

#[async_trait]
impl Changes for Database {
    async fn changes(&self) -> Result<u64> {
        let doing = "looking for changes";
        let row = sqlx::query("SELECT number FROM changes WHERE id = 1").fetch_one(&self.readers).await;
        count(&row.map_err(failed(doing))?, "number")
    }
}

type Writer<'a> = MappedMutexGuard<'a, SqliteConnection>;
type Tx<'a> = Transaction<'a, Sqlite>;

/// Begins a transaction that writes: it takes the lock at once, so that what it reads stays true until it commits.
async fn begin<'a>(writer: &'a mut SqliteConnection, doing: &'static str) -> Result<Tx<'a>> {
    writer.begin_with(sqlite::BEGIN).await.map_err(failed(doing))
}

/// Commits a change that running servers must hear of.
async fn commit_change(mut tx: Tx<'_>, doing: &'static str) -> Result<()> {
    let next = sqlx::query("UPDATE changes SET number = number + 1 WHERE id = 1").execute(&mut *tx).await;
    next.map_err(failed(doing))?;
    tx.commit().await.map_err(failed(doing))
}

/// A column's value. A wrong type is damage: the schema allows no other.
fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(column).map_err(|error| Error::Corrupt(format!("column {column} of the database: {error}")))
}

/// A column that holds a number which is never negative.
fn count<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T> {
    let value: i64 = get(row, column)?;
    T::try_from(value).map_err(|_| Error::Corrupt(format!("column {column} of the database has {value}")))
}

/// A column that holds a text with a form: an id, or the name of an enum's variant.
fn parse<T: std::str::FromStr<Err = Error>>(row: &SqliteRow, column: &str) -> Result<T> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|error| Error::Corrupt(format!("column {column} of the database: {error}")))
}

/// A number as the database holds it. The callers have checked that it is below 2^63.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column that holds a sha256.
fn hash_of(row: &SqliteRow, column: &str) -> Result<[u8; 32]> {
    let wrong = |_| Error::Corrupt(format!("column {column} of the database is no sha256"));
    unhex(row, column)?.try_into().map_err(wrong)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A column that holds bytes in hexadecimal.
fn unhex(row: &SqliteRow, column: &str) -> Result<Vec<u8>> {
    let text: &str = get(row, column)?;
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| Error::Corrupt(format!("column {column} of the database is not hexadecimal")))
}
