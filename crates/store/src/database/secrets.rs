//! Wrapped data keys in SQL.

use super::sqlite::failed;
use super::tenants::require_live;
use super::{Database, Tx, begin, count, get, hex, parse, unhex};
use crate::error::Result;
use crate::id::TenantId;
use crate::secrets::{Secrets, WrappedKey, other_master, taken_version, unknown_data_key};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const ALL: &str = "SELECT tenant, version, master, wrapped, created_at_ms FROM data_keys \
                   WHERE shredded_at_ms IS NULL ORDER BY tenant, version";
const BY_TENANT: &str = "SELECT tenant, version, master, wrapped, created_at_ms FROM data_keys \
                         WHERE tenant = $1 AND shredded_at_ms IS NULL ORDER BY version";
const ONE: &str = "SELECT tenant, version, master, wrapped, created_at_ms FROM data_keys \
                   WHERE tenant = $1 AND version = $2 AND shredded_at_ms IS NULL";
const NEWEST: &str = "SELECT tenant, version, master, wrapped, created_at_ms FROM data_keys \
                      WHERE tenant = $1 AND shredded_at_ms IS NULL ORDER BY version DESC LIMIT 1";
const NEXT: &str = "SELECT COALESCE(MAX(version), 0) + 1 AS next FROM data_keys WHERE tenant = $1";
const INSERT: &str = "INSERT INTO data_keys (tenant, version, master, wrapped, created_at_ms) \
                      VALUES ($1, $2, $3, $4, $5)";
const REWRAP: &str = "UPDATE data_keys SET master = $3, wrapped = $4 \
                      WHERE tenant = $1 AND version = $2 AND shredded_at_ms IS NULL AND master = $5";
const SHRED: &str = "UPDATE data_keys SET master = '', wrapped = '', shredded_at_ms = $2 \
                     WHERE tenant = $1 AND shredded_at_ms IS NULL";

#[async_trait]
impl Secrets for Database {
    async fn add_data_key(&self, key: &WrappedKey) -> Result<()> {
        const DOING: &str = "adding a data key";
        key.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &key.tenant).await?;
        let next = sqlx::query(NEXT).bind(key.tenant.as_str()).fetch_one(&mut *tx).await.map_err(failed(DOING))?;
        if count::<u32>(&next, "next")? != key.version {
            return Err(taken_version(key));
        }
        let insert = sqlx::query(INSERT)
            .bind(key.tenant.as_str())
            .bind(key.version)
            .bind(&key.master)
            .bind(hex(&key.wrapped))
            .bind(key.created_at_ms);
        insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn next_data_key(&self, tenant: &TenantId) -> Result<u32> {
        let next = sqlx::query(NEXT).bind(tenant.as_str()).fetch_one(&self.readers).await;
        count(&next.map_err(failed("reading the data keys"))?, "next")
    }

    async fn data_key(&self, tenant: &TenantId, version: Option<u32>) -> Result<WrappedKey> {
        let query = sqlx::query(if version.is_some() { ONE } else { NEWEST }).bind(tenant.as_str());
        let query = if let Some(version) = version { query.bind(version) } else { query };
        let row = query.fetch_optional(&self.readers).await.map_err(failed("reading a data key"))?;
        read(&row.ok_or_else(|| unknown_data_key(tenant, version))?)
    }

    async fn data_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<WrappedKey>> {
        const DOING: &str = "reading the data keys";
        let rows = match tenant {
            None => self.fetch_all(ALL, DOING).await?,
            Some(tenant) => {
                let rows = sqlx::query(BY_TENANT).bind(tenant.as_str()).fetch_all(&self.readers).await;
                rows.map_err(failed(DOING))?
            }
        };
        rows.iter().map(read).collect()
    }

    async fn rewrap_data_key(&self, key: &WrappedKey, from: &str) -> Result<()> {
        const DOING: &str = "wrapping a data key again";
        key.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let rewrap = sqlx::query(REWRAP)
            .bind(key.tenant.as_str())
            .bind(key.version)
            .bind(&key.master)
            .bind(hex(&key.wrapped))
            .bind(from);
        let done = rewrap.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            let there = sqlx::query(ONE).bind(key.tenant.as_str()).bind(key.version);
            let there = there.fetch_optional(&mut *tx).await.map_err(failed(DOING))?;
            return Err(match there {
                Some(_) => other_master(key),
                None => unknown_data_key(&key.tenant, Some(key.version)),
            });
        }
        tx.commit().await.map_err(failed(DOING))
    }

    async fn shred_data_keys(&self, tenant: &TenantId, at_ms: i64) -> Result<usize> {
        const DOING: &str = "shredding data keys";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let shredded = shred(&mut tx, tenant, at_ms).await?;
        tx.commit().await.map_err(failed(DOING))?;
        drop(writer);
        self.scrub().await?;
        Ok(shredded)
    }
}

/// Destroys the data keys of a tenant within a transaction. The caller then scrubs.
pub(super) async fn shred(tx: &mut Tx<'_>, tenant: &TenantId, at_ms: i64) -> Result<usize> {
    let shred = sqlx::query(SHRED).bind(tenant.as_str()).bind(at_ms);
    let done = shred.execute(&mut **tx).await.map_err(failed("shredding data keys"))?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

fn read(row: &SqliteRow) -> Result<WrappedKey> {
    Ok(WrappedKey {
        tenant: parse(row, "tenant")?,
        version: count(row, "version")?,
        master: get(row, "master")?,
        wrapped: unhex(row, "wrapped")?,
        created_at_ms: get(row, "created_at_ms")?,
    })
}
