//! Files in SQL.

use super::sqlite::failed;
use super::tenants::require_live;
use super::{Database, Tx, begin, count, get, hash_of, hex, number, parse};
use crate::blobs::BlobId;
use crate::error::Result;
use crate::files::{FileKind, FileQuery, Files, StoredFile, over_quota, taken_file, unknown_file};
use crate::id::{FileId, TenantId};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const ONE: &str = "SELECT id, tenant, kind, name, purpose, bytes, sha256, blob, created_at_ms, expires_at_ms FROM files \
                   WHERE tenant = $1 AND kind = $2 AND id = $3";
const OLDEST: &str = "SELECT id, tenant, kind, name, purpose, bytes, sha256, blob, created_at_ms, expires_at_ms \
                      FROM files WHERE tenant = $1 AND kind = $2 \
                      AND (created_at_ms > $3 OR (created_at_ms = $3 AND id > $4)) \
                      AND COALESCE(expires_at_ms > $5, 1 = 1) AND ($6 IS NULL OR name = $6) \
                      AND ($7 IS NULL OR purpose = $7) ORDER BY created_at_ms, id LIMIT $8";
const NEWEST: &str = "SELECT id, tenant, kind, name, purpose, bytes, sha256, blob, created_at_ms, expires_at_ms \
                      FROM files WHERE tenant = $1 AND kind = $2 \
                      AND (created_at_ms < $3 OR (created_at_ms = $3 AND id < $4)) \
                      AND COALESCE(expires_at_ms > $5, 1 = 1) AND ($6 IS NULL OR name = $6) \
                      AND ($7 IS NULL OR purpose = $7) ORDER BY created_at_ms DESC, id DESC LIMIT $8";
const EXPIRED: &str = "SELECT id, tenant, kind, name, purpose, bytes, sha256, blob, created_at_ms, expires_at_ms \
                       FROM files WHERE expires_at_ms <= $1 ORDER BY expires_at_ms, id LIMIT $2";
const BLOBS: &str = "SELECT blob FROM files WHERE tenant = $1";
const SUM: &str = "SELECT COALESCE(SUM(bytes), 0) AS bytes FROM files WHERE tenant = $1 AND kind = $2";
const INSERT: &str = "INSERT INTO files (id, tenant, kind, name, purpose, bytes, sha256, blob, created_at_ms, \
                      expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
const DELETE: &str = "DELETE FROM files WHERE tenant = $1 AND kind = $2 AND id = $3";
const SHORTEN: &str = "UPDATE files SET expires_at_ms = created_at_ms + $3 WHERE tenant = $1 AND kind = $2 \
                       AND COALESCE(expires_at_ms > created_at_ms + $3, 1 = 1)";

#[async_trait]
impl Files for Database {
    async fn create_file(&self, file: &StoredFile, quota_bytes: u64) -> Result<()> {
        const DOING: &str = "adding a file";
        file.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &file.tenant).await?;
        file.check_kept(retention_days(&mut tx, &file.tenant).await?)?;
        let sum = sqlx::query(SUM).bind(file.tenant.as_str()).bind(file.kind.as_str());
        let used: u64 = count(&sum.fetch_one(&mut *tx).await.map_err(failed(DOING))?, "bytes")?;
        if used.saturating_add(file.bytes) > quota_bytes {
            return Err(over_quota(used, file.bytes, quota_bytes));
        }
        let insert = sqlx::query(INSERT)
            .bind(file.id.as_str())
            .bind(file.tenant.as_str())
            .bind(file.kind.as_str())
            .bind(&file.name)
            .bind(&file.purpose)
            .bind(number(file.bytes))
            .bind(hex(&file.sha256))
            .bind(file.blob.to_string())
            .bind(file.created_at_ms)
            .bind(file.expires_at_ms);
        let done = insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(taken_file(&file.id));
        }
        tx.commit().await.map_err(failed(DOING))
    }

    async fn file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile> {
        let row = sqlx::query(ONE).bind(tenant.as_str()).bind(kind.as_str()).bind(id.as_str());
        let row = row.fetch_optional(&self.readers).await.map_err(failed("reading a file's entry"))?;
        read(&row.ok_or_else(|| unknown_file(id))?)
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<StoredFile>> {
        query.check()?;
        let (mut at_ms, mut id) =
            if query.newest_first { (i64::MAX, String::new()) } else { (i64::MIN, String::new()) };
        if let Some(after) = &query.after {
            let after = self.file(&query.tenant, query.kind, after).await?;
            (at_ms, id) = (after.created_at_ms, after.id.into());
        }
        let rows = sqlx::query(if query.newest_first { NEWEST } else { OLDEST })
            .bind(query.tenant.as_str())
            .bind(query.kind.as_str())
            .bind(at_ms)
            .bind(id)
            .bind(query.live_at_ms)
            .bind(query.name.as_deref())
            .bind(query.purpose.as_deref())
            .bind(number(query.rows_max as u64));
        let rows = rows.fetch_all(&self.readers).await.map_err(failed("listing files"))?;
        rows.iter().map(read).collect()
    }

    async fn delete_file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile> {
        const DOING: &str = "deleting a file";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let row = sqlx::query(ONE).bind(tenant.as_str()).bind(kind.as_str()).bind(id.as_str());
        let row = row.fetch_optional(&mut *tx).await.map_err(failed(DOING))?;
        let file = read(&row.ok_or_else(|| unknown_file(id))?)?;
        let delete = sqlx::query(DELETE).bind(tenant.as_str()).bind(kind.as_str()).bind(id.as_str());
        delete.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))?;
        Ok(file)
    }

    async fn file_bytes(&self, tenant: &TenantId, kind: FileKind) -> Result<u64> {
        let sum = sqlx::query(SUM).bind(tenant.as_str()).bind(kind.as_str()).fetch_one(&self.readers).await;
        count(&sum.map_err(failed("summing files"))?, "bytes")
    }

    async fn expired_files(&self, now_ms: i64, rows_max: usize) -> Result<Vec<StoredFile>> {
        let rows = sqlx::query(EXPIRED).bind(now_ms).bind(number(rows_max as u64)).fetch_all(&self.readers).await;
        rows.map_err(failed("looking for expired files"))?.iter().map(read).collect()
    }

    async fn shorten_files(&self, tenant: &TenantId, kind: FileKind, keep_ms: i64) -> Result<()> {
        const DOING: &str = "shortening how long files are kept";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let shorten = sqlx::query(SHORTEN).bind(tenant.as_str()).bind(kind.as_str()).bind(keep_ms);
        shorten.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn file_blobs(&self, tenant: &TenantId) -> Result<Vec<BlobId>> {
        let rows = sqlx::query(BLOBS).bind(tenant.as_str()).fetch_all(&self.readers).await;
        rows.map_err(failed("listing the blobs of files"))?.iter().map(|row| parse(row, "blob")).collect()
    }
}

async fn retention_days(tx: &mut Tx<'_>, tenant: &TenantId) -> Result<u32> {
    let row = sqlx::query("SELECT retention_days FROM tenants WHERE id = $1").bind(tenant.as_str());
    count(&row.fetch_one(&mut **tx).await.map_err(failed("looking for a tenant"))?, "retention_days")
}

fn read(row: &SqliteRow) -> Result<StoredFile> {
    Ok(StoredFile {
        id: parse(row, "id")?,
        tenant: parse(row, "tenant")?,
        kind: parse(row, "kind")?,
        name: get(row, "name")?,
        purpose: get(row, "purpose")?,
        bytes: count(row, "bytes")?,
        sha256: hash_of(row, "sha256")?,
        blob: parse(row, "blob")?,
        created_at_ms: get(row, "created_at_ms")?,
        expires_at_ms: get(row, "expires_at_ms")?,
    })
}
