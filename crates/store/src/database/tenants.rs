//! Tenants in SQL.

use super::secrets::shred;
use super::sqlite::failed;
use super::{Database, Tx, begin, commit_change, count, get, parse};
use crate::error::{Error, Result};
use crate::id::TenantId;
use crate::tenants::{Limits, Redaction, Tenant, Tenants, erased_tenant, taken_tenant, unknown_tenant};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const COLUMNS: &str = "SELECT id, name, created_at_ms, weight, kv_floor_percent, limits, redact_request, \
                       redact_response, retention_days, suspended, erased_at_ms FROM tenants ORDER BY created_at_ms, id";
const BY_ID: &str = "SELECT id, name, created_at_ms, weight, kv_floor_percent, limits, redact_request, \
                     redact_response, retention_days, suspended, erased_at_ms FROM tenants WHERE id = $1";
const INSERT: &str = "INSERT INTO tenants (id, name, created_at_ms, weight, kv_floor_percent, limits, redact_request, \
                      redact_response, retention_days, suspended, erased_at_ms) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE tenants SET name = $2, weight = $3, kv_floor_percent = $4, limits = $5, \
                      redact_request = $6, redact_response = $7, retention_days = $8, suspended = $9 WHERE id = $1";
const ERASE: &str = "UPDATE tenants SET name = '', limits = '{}', erased_at_ms = $2 WHERE id = $1";

#[async_trait]
impl Tenants for Database {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()> {
        const DOING: &str = "adding a tenant";
        tenant.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let insert = sqlx::query(INSERT)
            .bind(tenant.id.as_str())
            .bind(&tenant.name)
            .bind(tenant.created_at_ms)
            .bind(tenant.weight)
            .bind(tenant.kv_floor_percent)
            .bind(limits_text(&tenant.limits)?)
            .bind(tenant.redaction.request.as_str())
            .bind(tenant.redaction.response.as_str())
            .bind(tenant.retention_days)
            .bind(i64::from(tenant.suspended))
            .bind(tenant.erased_at_ms);
        let done = insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(taken_tenant(&tenant.id));
        }
        commit_change(tx, DOING).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Tenant> {
        let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(&self.readers).await;
        read(&row.map_err(failed("reading a tenant"))?.ok_or_else(|| unknown_tenant(id))?)
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.fetch_all(COLUMNS, "reading the tenants").await?.iter().map(read).collect()
    }

    async fn update_tenant(&self, tenant: &Tenant) -> Result<()> {
        const DOING: &str = "changing a tenant";
        tenant.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &tenant.id).await?;
        let update = sqlx::query(UPDATE)
            .bind(tenant.id.as_str())
            .bind(&tenant.name)
            .bind(tenant.weight)
            .bind(tenant.kv_floor_percent)
            .bind(limits_text(&tenant.limits)?)
            .bind(tenant.redaction.request.as_str())
            .bind(tenant.redaction.response.as_str())
            .bind(tenant.retention_days)
            .bind(i64::from(tenant.suspended));
        update.execute(&mut *tx).await.map_err(failed(DOING))?;
        commit_change(tx, DOING).await
    }

    async fn erase_tenant(&self, id: &TenantId, at_ms: i64) -> Result<()> {
        const DOING: &str = "erasing a tenant";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        match require_live(&mut tx, id).await {
            Ok(()) => {
                let keys = sqlx::query("DELETE FROM keys WHERE tenant = $1").bind(id.as_str());
                keys.execute(&mut *tx).await.map_err(failed(DOING))?;
                let files = sqlx::query("DELETE FROM files WHERE tenant = $1").bind(id.as_str());
                files.execute(&mut *tx).await.map_err(failed(DOING))?;
                shred(&mut tx, id, at_ms).await?;
                super::jobs::erase(&mut tx, id).await?;
                super::registry::erase(&mut tx, id).await?;
                let erase = sqlx::query(ERASE).bind(id.as_str()).bind(at_ms);
                erase.execute(&mut *tx).await.map_err(failed(DOING))?;
                commit_change(tx, DOING).await?;
            }
            // It is erased; the log may still be to empty.
            Err(Error::Conflict(_)) => drop(tx),
            Err(error) => return Err(error),
        }
        drop(writer);
        self.scrub().await
    }
}

/// Refuses an unknown tenant (`NotFound`) and an erased one (`Conflict`).
pub(super) async fn require_live(tx: &mut Tx<'_>, id: &TenantId) -> Result<()> {
    let row = sqlx::query("SELECT erased_at_ms FROM tenants WHERE id = $1").bind(id.as_str());
    let row = row.fetch_optional(&mut **tx).await.map_err(failed("looking for a tenant"))?;
    let erased: Option<i64> = get(&row.ok_or_else(|| unknown_tenant(id))?, "erased_at_ms")?;
    if erased.is_some() { Err(erased_tenant(id)) } else { Ok(()) }
}

pub(super) fn limits_text(limits: &Limits) -> Result<String> {
    serde_json::to_string(limits).map_err(|error| Error::internal(format!("limits as JSON: {error}")))
}

pub(super) fn limits(row: &SqliteRow) -> Result<Limits> {
    let text: &str = get(row, "limits")?;
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("column limits of the database: {error}")))
}

fn read(row: &SqliteRow) -> Result<Tenant> {
    Ok(Tenant {
        id: parse(row, "id")?,
        name: get(row, "name")?,
        created_at_ms: get(row, "created_at_ms")?,
        weight: count(row, "weight")?,
        kv_floor_percent: count(row, "kv_floor_percent")?,
        limits: limits(row)?,
        redaction: Redaction { request: parse(row, "redact_request")?, response: parse(row, "redact_response")? },
        retention_days: count(row, "retention_days")?,
        suspended: get::<i64>(row, "suspended")? != 0,
        erased_at_ms: get(row, "erased_at_ms")?,
    })
}
