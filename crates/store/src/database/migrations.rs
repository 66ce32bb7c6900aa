//! The schema and its versions.
//!
//! A version is one file in `schema/`, numbered from 1. It is never changed once it was released; a change is a new file.
//! `tests/it/fixtures/` keeps a database of each version, and a test brings them up to date.

use super::sqlite::{self, failed};
use super::{begin, get};
use crate::error::{Error, Result};
use sqlx::sqlite::SqliteConnection;
use std::path::Path;

/// The schema, one step for each version.
const STEPS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
];
/// The version that this program writes, and the newest that it reads.
pub const SCHEMA_VERSION: i64 = STEPS.len() as i64;

const DOING: &str = "preparing the database";

/// Brings the schema from whatever version it has to [`SCHEMA_VERSION`], in one transaction: a failure leaves it as it
/// was.
pub(super) async fn run(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let mut tx = begin(connection, DOING).await?;
    let found = version(&mut tx, path).await?;
    let newer = || Error::NewerDatabase { path: path.display().to_string(), found, known: SCHEMA_VERSION };
    let done = usize::try_from(found).ok().filter(|done| *done <= STEPS.len()).ok_or_else(newer)?;
    for step in &STEPS[done..] {
        sqlx::raw_sql(*step).execute(&mut *tx).await.map_err(failed(DOING))?;
    }
    if done < STEPS.len() {
        let set = sqlx::query("UPDATE schema_version SET version = $1").bind(SCHEMA_VERSION);
        set.execute(&mut *tx).await.map_err(failed(DOING))?;
    }
    tx.commit().await.map_err(failed(DOING))
}

/// The version in the file; 0 if it is new.
async fn version(tx: &mut SqliteConnection, path: &Path) -> Result<i64> {
    let tables = sqlite::tables(tx).await.map_err(failed(DOING))?;
    if tables.is_empty() {
        let create = "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (0)";
        sqlx::raw_sql(create).execute(&mut *tx).await.map_err(failed(DOING))?;
    } else if !tables.iter().any(|table| table == "schema_version") {
        let path = path.display();
        return Err(Error::Corrupt(format!("{path} is a database, but not one of Orrery; choose another data folder")));
    }
    let row = sqlx::query("SELECT version FROM schema_version").fetch_one(&mut *tx).await.map_err(failed(DOING))?;
    get(&row, "version")
}
