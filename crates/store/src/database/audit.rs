//! The audit log in SQL.

use super::sqlite::failed;
use super::{Database, begin, count, get, hash_of, hex, number, parse};
use crate::audit::{Audit, AuditEntry, AuditFault, AuditHead, AuditQuery, AuditRow, AuditVerdict};
use crate::error::{Error, Result};
use async_trait::async_trait;
use serde_json::Value;
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteRow;

/// Rows that a verification reads at a time.
const PAGE: i64 = 1_000;
const HEAD: &str = "SELECT number, hash FROM audit_head WHERE id = 1";
/// In one statement, so that an append in between is in both or in neither.
const HEAD_AND_LAST: &str = "SELECT number, hash, \
                             (SELECT MAX(sequence) FROM audit) AS last FROM audit_head WHERE id = 1";
const SET_HEAD: &str = "UPDATE audit_head SET number = $1, hash = $2 WHERE id = 1";
const COLUMNS: &str = "SELECT sequence, at_ms, actor, tenant, action, subject, details, previous, hash FROM audit";
const WALK: &str = "SELECT sequence, at_ms, actor, tenant, action, subject, details, previous, hash FROM audit \
                    WHERE sequence > $1 ORDER BY sequence LIMIT $2";
const INSERT: &str = "INSERT INTO audit (sequence, at_ms, actor, tenant, action, subject, details, previous, hash) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

#[async_trait]
impl Audit for Database {
    async fn append_audit(&self, entry: &AuditEntry) -> Result<AuditRow> {
        const DOING: &str = "writing the audit log";
        entry.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let head = sqlx::query(HEAD).fetch_one(&mut *tx).await.map_err(failed(DOING))?;
        let row = entry.follow(&read_head(&head)?);
        let insert = sqlx::query(INSERT)
            .bind(number(row.sequence))
            .bind(entry.at_ms)
            .bind(&entry.actor)
            .bind(entry.tenant.as_ref().map(|tenant| tenant.as_str()))
            .bind(&entry.action)
            .bind(&entry.subject)
            .bind(entry.details_text())
            .bind(hex(&row.previous))
            .bind(hex(&row.hash));
        insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        let set = sqlx::query(SET_HEAD).bind(number(row.sequence)).bind(hex(&row.hash));
        set.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))?;
        Ok(row)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        query.check()?;
        let mut builder = QueryBuilder::new(COLUMNS);
        builder.push(" WHERE 1 = 1");
        if let Some(tenant) = &query.tenant {
            builder.push(" AND tenant = ").push_bind(tenant.as_str());
        }
        if let Some(before) = query.before {
            builder.push(" AND sequence < ").push_bind(number(before));
        }
        builder.push(format!(" ORDER BY sequence DESC LIMIT {}", query.rows_max));
        let rows = builder.build().fetch_all(&self.readers).await.map_err(failed("reading the audit log"))?;
        rows.iter().map(read).collect()
    }

    async fn audit_head(&self) -> Result<AuditHead> {
        read_head(&sqlx::query(HEAD).fetch_one(&self.readers).await.map_err(failed("reading the audit log"))?)
    }

    async fn verify_audit(&self) -> Result<AuditVerdict> {
        const DOING: &str = "verifying the audit log";
        let row = sqlx::query(HEAD_AND_LAST).fetch_one(&self.readers).await.map_err(failed(DOING))?;
        let end = read_head(&row)?;
        let last: Option<i64> = get(&row, "last")?;
        let mut at = AuditHead::default();
        while at.rows < end.rows {
            let page = sqlx::query(WALK).bind(number(at.rows)).bind(PAGE).fetch_all(&self.readers).await;
            if let Some(fault) = walk(&page.map_err(failed(DOING))?, &mut at, &end) {
                return Ok(AuditVerdict::Broken { sequence: at.rows + 1, fault });
            }
        }
        if at.hash != end.hash {
            // All rows agree with each other, so it is the end that was changed, or the last row was put in its place.
            return Ok(AuditVerdict::Broken { sequence: at.rows, fault: AuditFault::OutOfOrder });
        }
        if last.is_some_and(|last| last > number(end.rows)) {
            return Ok(AuditVerdict::Broken { sequence: end.rows + 1, fault: AuditFault::BehindEnd });
        }
        Ok(AuditVerdict::Intact(end))
    }
}

/// Goes on from `at` over the next rows, up to `end` at most. Stops before the first row with a fault.
fn walk(page: &[SqliteRow], at: &mut AuditHead, end: &AuditHead) -> Option<AuditFault> {
    if page.is_empty() {
        return Some(AuditFault::Missing);
    }
    for row in page {
        if at.rows == end.rows {
            return None;
        }
        // A row that cannot even be read was not written like that.
        let Ok(row) = read(row) else { return Some(AuditFault::Edited) };
        if let Some(fault) = row.fault(at) {
            return Some(fault);
        }
        *at = row.head();
    }
    None
}

fn read_head(row: &SqliteRow) -> Result<AuditHead> {
    Ok(AuditHead { rows: count(row, "number")?, hash: hash_of(row, "hash")? })
}

fn read(row: &SqliteRow) -> Result<AuditRow> {
    let text: &str = get(row, "details")?;
    let Ok(Value::Object(details)) = serde_json::from_str(text) else {
        return Err(Error::Corrupt("column details of the audit log is no JSON object".into()));
    };
    let tenant: Option<&str> = get(row, "tenant")?;
    let entry = AuditEntry {
        at_ms: get(row, "at_ms")?,
        actor: get(row, "actor")?,
        tenant: tenant.map(|_| parse(row, "tenant")).transpose()?,
        action: get(row, "action")?,
        subject: get(row, "subject")?,
        details,
    };
    // Other text of the same meaning would not show in the hash.
    if entry.details_text() != text {
        return Err(Error::Corrupt("column details of the audit log is not canonical".into()));
    }
    let (previous, hash) = (hash_of(row, "previous")?, hash_of(row, "hash")?);
    Ok(AuditRow { sequence: count(row, "sequence")?, entry, previous, hash })
}
