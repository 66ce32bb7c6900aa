//! Versions of models and their aliases in SQL.

use super::sqlite::failed;
use super::tenants::require_live;
use super::{Database, Tx, begin, count, get, number, parse};
use crate::error::Result;
use crate::id::TenantId;
use crate::registry::{
    Alias, ModelVersion, Registry, Route, archived_version, check_alias, check_version, unknown_version, version_in_use,
};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const INSERT: &str = "INSERT INTO model_versions (tenant, name, version, created_at_ms, key_id, task, digest, manifest, \
                      job) SELECT $1, $2, COALESCE(MAX(version), 0) + 1, $3, $4, $5, $6, $7, $8 FROM model_versions \
                      WHERE tenant = $1 AND name = $2";
const LAST: &str = "SELECT tenant, name, version, created_at_ms, key_id, task, digest, manifest, job, archived_at_ms \
                    FROM model_versions WHERE tenant = $1 AND name = $2 ORDER BY version DESC LIMIT 1";
const BY_JOB: &str = "SELECT tenant, name, version, created_at_ms, key_id, task, digest, manifest, job, archived_at_ms \
                      FROM model_versions WHERE job = $1";
const BY_VERSION: &str = "SELECT tenant, name, version, created_at_ms, key_id, task, digest, manifest, job, \
                          archived_at_ms FROM model_versions WHERE tenant = $1 AND name = $2 AND version = $3";
const LIST: &str = "SELECT tenant, name, version, created_at_ms, key_id, task, digest, manifest, job, archived_at_ms \
                    FROM model_versions WHERE tenant = $1 AND (name = $2 OR $2 IS NULL) ORDER BY name, version DESC";
const ARCHIVE: &str = "UPDATE model_versions SET archived_at_ms = COALESCE(archived_at_ms, $4) \
                       WHERE tenant = $1 AND name = $2 AND version = $3";
const SET: &str = "INSERT INTO aliases (tenant, name, alias, sequence, version, canary_version, canary_percent, \
                   shadow_version, at_ms, key_id) SELECT $1, $2, $3, COALESCE(MAX(sequence), 0) + 1, $4, $5, $6, $7, $8, \
                   $9 FROM aliases WHERE tenant = $1 AND name = $2 AND alias = $3";
const ALIASES: &str = "SELECT tenant, name, alias, sequence, version, canary_version, canary_percent, shadow_version, \
                       at_ms, key_id FROM aliases AS this WHERE tenant = $1 AND (name = $2 OR $2 IS NULL) AND sequence = \
                       (SELECT MAX(sequence) FROM aliases AS other WHERE other.tenant = this.tenant AND other.name = \
                       this.name AND other.alias = this.alias) ORDER BY name, alias";
const HISTORY: &str = "SELECT tenant, name, alias, sequence, version, canary_version, canary_percent, shadow_version, \
                       at_ms, key_id FROM aliases WHERE tenant = $1 AND name = $2 AND alias = $3 \
                       ORDER BY sequence DESC LIMIT $4";

#[async_trait]
impl Registry for Database {
    async fn publish_version(&self, version: &ModelVersion) -> Result<ModelVersion> {
        const DOING: &str = "publishing a model";
        check_version(version)?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &version.tenant).await?;
        if let Some(job) = &version.job {
            let done = sqlx::query(BY_JOB).bind(job.as_str()).fetch_optional(&mut *tx).await.map_err(failed(DOING))?;
            if let Some(row) = done {
                return read(&row);
            }
        }
        let insert = sqlx::query(INSERT)
            .bind(version.tenant.as_str())
            .bind(&version.name)
            .bind(version.created_at_ms)
            .bind(version.key.as_str())
            .bind(&version.task)
            .bind(&version.digest)
            .bind(&version.manifest)
            .bind(version.job.as_ref().map(crate::JobId::as_str));
        insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        let last = sqlx::query(LAST).bind(version.tenant.as_str()).bind(&version.name).fetch_one(&mut *tx).await;
        let published = read(&last.map_err(failed(DOING))?)?;
        tx.commit().await.map_err(failed(DOING))?;
        Ok(published)
    }

    async fn model_version(&self, tenant: &TenantId, name: &str, version: u32) -> Result<ModelVersion> {
        let row = sqlx::query(BY_VERSION).bind(tenant.as_str()).bind(name).bind(version);
        let row = row.fetch_optional(&self.readers).await.map_err(failed("reading a model"))?;
        read(&row.ok_or_else(|| unknown_version(name, version))?)
    }

    async fn model_versions(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<ModelVersion>> {
        let list = sqlx::query(LIST).bind(tenant.as_str()).bind(name).fetch_all(&self.readers).await;
        list.map_err(failed("reading the models"))?.iter().map(read).collect()
    }

    async fn archive_version(&self, tenant: &TenantId, name: &str, version: u32, at_ms: i64) -> Result<()> {
        const DOING: &str = "archiving a model";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let rows = sqlx::query(ALIASES).bind(tenant.as_str()).bind(name).fetch_all(&mut *tx).await;
        for row in rows.map_err(failed(DOING))? {
            let alias = read_alias(&row)?;
            if alias.route.versions().any(|used| used == version) {
                return Err(version_in_use(name, version, &alias.alias));
            }
        }
        let archive = sqlx::query(ARCHIVE).bind(tenant.as_str()).bind(name).bind(version).bind(at_ms);
        let done = archive.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(unknown_version(name, version));
        }
        tx.commit().await.map_err(failed(DOING))
    }

    async fn set_alias(&self, alias: &Alias) -> Result<()> {
        const DOING: &str = "setting an alias";
        check_alias(alias)?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        for version in alias.route.versions() {
            require_usable(&mut tx, alias, version).await?;
        }
        let set = sqlx::query(SET)
            .bind(alias.tenant.as_str())
            .bind(&alias.name)
            .bind(&alias.alias)
            .bind(alias.route.version)
            .bind(alias.route.canary.map(|canary| canary.0))
            .bind(alias.route.canary.map(|canary| canary.1))
            .bind(alias.route.shadow)
            .bind(alias.at_ms)
            .bind(alias.key.as_str());
        set.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn aliases(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<Alias>> {
        let list = sqlx::query(ALIASES).bind(tenant.as_str()).bind(name).fetch_all(&self.readers).await;
        list.map_err(failed("reading the aliases"))?.iter().map(read_alias).collect()
    }

    async fn alias_history(&self, tenant: &TenantId, name: &str, alias: &str, rows_max: usize) -> Result<Vec<Alias>> {
        let list = sqlx::query(HISTORY).bind(tenant.as_str()).bind(name).bind(alias).bind(number(rows_max as u64));
        let rows = list.fetch_all(&self.readers).await.map_err(failed("reading an alias"))?;
        rows.iter().map(read_alias).collect()
    }
}

/// Deletes the models of a tenant that is erased.
pub(super) async fn erase(tx: &mut Tx<'_>, tenant: &TenantId) -> Result<()> {
    for statement in ["DELETE FROM aliases WHERE tenant = $1", "DELETE FROM model_versions WHERE tenant = $1"] {
        let delete = sqlx::query(statement).bind(tenant.as_str());
        delete.execute(&mut **tx).await.map_err(failed("deleting models"))?;
    }
    Ok(())
}

async fn require_usable(tx: &mut Tx<'_>, alias: &Alias, version: u32) -> Result<()> {
    let row = sqlx::query(BY_VERSION).bind(alias.tenant.as_str()).bind(&alias.name).bind(version);
    let row = row.fetch_optional(&mut **tx).await.map_err(failed("reading a model"))?;
    let found = read(&row.ok_or_else(|| unknown_version(&alias.name, version))?)?;
    if found.archived_at_ms.is_some() { Err(archived_version(&alias.name, version)) } else { Ok(()) }
}

fn read(row: &SqliteRow) -> Result<ModelVersion> {
    let job: Option<&str> = get(row, "job")?;
    Ok(ModelVersion {
        tenant: parse(row, "tenant")?,
        name: get(row, "name")?,
        version: count(row, "version")?,
        created_at_ms: get(row, "created_at_ms")?,
        key: parse(row, "key_id")?,
        task: get(row, "task")?,
        digest: get(row, "digest")?,
        manifest: get(row, "manifest")?,
        job: job.is_some().then(|| parse(row, "job")).transpose()?,
        archived_at_ms: get(row, "archived_at_ms")?,
    })
}

fn read_alias(row: &SqliteRow) -> Result<Alias> {
    let optional = |column: &str| -> Result<Option<u32>> {
        let there: Option<i64> = get(row, column)?;
        there.is_some().then(|| count(row, column)).transpose()
    };
    let canary = match optional("canary_version")? {
        Some(version) => Some((version, count(row, "canary_percent")?)),
        None => None,
    };
    Ok(Alias {
        tenant: parse(row, "tenant")?,
        name: get(row, "name")?,
        alias: get(row, "alias")?,
        sequence: count(row, "sequence")?,
        route: Route { version: count(row, "version")?, canary, shadow: optional("shadow_version")? },
        at_ms: get(row, "at_ms")?,
        key: parse(row, "key_id")?,
    })
}
