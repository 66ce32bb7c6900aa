//! Keys in SQL.

use super::sqlite::failed;
use super::tenants::{limits, limits_text, require_live};
use super::{Database, begin, commit_change, get, hash_of, hex, parse};
use crate::error::Result;
use crate::id::{KeyId, TenantId};
use crate::keys::{Key, Keys, taken_key, unknown_key};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const ALL: &str = "SELECT id, tenant, name, hash, hint, role, limits, created_at_ms, expires_at_ms, last_used_at_ms, \
                   revoked_at_ms FROM keys ORDER BY created_at_ms, id";
const BY_TENANT: &str = "SELECT id, tenant, name, hash, hint, role, limits, created_at_ms, expires_at_ms, \
                         last_used_at_ms, revoked_at_ms FROM keys WHERE tenant = $1 ORDER BY created_at_ms, id";
const BY_ID: &str = "SELECT id, tenant, name, hash, hint, role, limits, created_at_ms, expires_at_ms, \
                     last_used_at_ms, revoked_at_ms FROM keys WHERE id = $1";
const INSERT: &str = "INSERT INTO keys (id, tenant, name, hash, hint, role, limits, created_at_ms, expires_at_ms) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE keys SET name = $2, role = $3, limits = $4, expires_at_ms = $5 WHERE id = $1";
const REVOKE: &str = "UPDATE keys SET revoked_at_ms = COALESCE(revoked_at_ms, $2) WHERE id = $1";
const TOUCH: &str = "UPDATE keys SET last_used_at_ms = $2 WHERE id = $1 AND COALESCE(last_used_at_ms, 0) < $2";

#[async_trait]
impl Keys for Database {
    async fn create_key(&self, key: &Key) -> Result<()> {
        const DOING: &str = "adding a key";
        key.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &key.tenant).await?;
        let insert = sqlx::query(INSERT)
            .bind(key.id.as_str())
            .bind(key.tenant.as_str())
            .bind(&key.name)
            .bind(hex(&key.hash))
            .bind(&key.hint)
            .bind(key.role.as_str())
            .bind(limits_text(&key.limits)?)
            .bind(key.created_at_ms)
            .bind(key.expires_at_ms);
        let done = insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(taken_key(&key.id));
        }
        commit_change(tx, DOING).await
    }

    async fn key(&self, id: &KeyId) -> Result<Key> {
        let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(&self.readers).await;
        read(&row.map_err(failed("reading a key"))?.ok_or_else(|| unknown_key(id))?)
    }

    async fn keys(&self, tenant: Option<&TenantId>) -> Result<Vec<Key>> {
        const DOING: &str = "reading the keys";
        let rows = match tenant {
            None => self.fetch_all(ALL, DOING).await?,
            Some(tenant) => {
                let rows = sqlx::query(BY_TENANT).bind(tenant.as_str()).fetch_all(&self.readers).await;
                rows.map_err(failed(DOING))?
            }
        };
        rows.iter().map(read).collect()
    }

    async fn update_key(&self, key: &Key) -> Result<()> {
        const DOING: &str = "changing a key";
        key.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let update = sqlx::query(UPDATE)
            .bind(key.id.as_str())
            .bind(&key.name)
            .bind(key.role.as_str())
            .bind(limits_text(&key.limits)?)
            .bind(key.expires_at_ms);
        let done = update.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(unknown_key(&key.id));
        }
        commit_change(tx, DOING).await
    }

    async fn revoke_key(&self, id: &KeyId, at_ms: i64) -> Result<()> {
        const DOING: &str = "revoking a key";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let revoke = sqlx::query(REVOKE).bind(id.as_str()).bind(at_ms);
        let done = revoke.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(unknown_key(id));
        }
        commit_change(tx, DOING).await
    }

    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()> {
        const DOING: &str = "noting when keys were used";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        for (id, at_ms) in used {
            let touch = sqlx::query(TOUCH).bind(id.as_str()).bind(*at_ms);
            touch.execute(&mut *tx).await.map_err(failed(DOING))?;
        }
        tx.commit().await.map_err(failed(DOING))
    }
}

fn read(row: &SqliteRow) -> Result<Key> {
    Ok(Key {
        id: parse(row, "id")?,
        tenant: parse(row, "tenant")?,
        name: get(row, "name")?,
        hash: hash_of(row, "hash")?,
        hint: get(row, "hint")?,
        role: parse(row, "role")?,
        limits: limits(row)?,
        created_at_ms: get(row, "created_at_ms")?,
        expires_at_ms: get(row, "expires_at_ms")?,
        last_used_at_ms: get(row, "last_used_at_ms")?,
        revoked_at_ms: get(row, "revoked_at_ms")?,
    })
}
