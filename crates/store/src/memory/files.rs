//! Files in memory.

use super::Memory;
use crate::blobs::BlobId;
use crate::error::Result;
use crate::files::{FileKind, FileQuery, Files, StoredFile, over_quota, taken_file, unknown_file};
use crate::id::{FileId, TenantId};
use async_trait::async_trait;

#[async_trait]
impl Files for Memory {
    async fn create_file(&self, file: &StoredFile, quota_bytes: u64) -> Result<()> {
        file.check()?;
        let mut state = self.state()?;
        file.check_kept(state.live_tenant(&file.tenant)?.retention_days)?;
        let same = state.files.values().filter(|other| (&other.tenant, other.kind) == (&file.tenant, file.kind));
        let used: u64 = same.map(|other| other.bytes).sum();
        if used.saturating_add(file.bytes) > quota_bytes {
            return Err(over_quota(used, file.bytes, quota_bytes));
        }
        if state.files.contains_key(&file.id) {
            return Err(taken_file(&file.id));
        }
        state.files.insert(file.id.clone(), file.clone());
        Ok(())
    }

    async fn file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile> {
        let state = self.state()?;
        let file = state.files.get(id).filter(|file| (&file.tenant, file.kind) == (tenant, kind));
        file.cloned().ok_or_else(|| unknown_file(id))
    }

    async fn files(&self, query: &FileQuery) -> Result<Vec<StoredFile>> {
        query.check()?;
        let after = match &query.after {
            Some(after) => Some(self.file(&query.tenant, query.kind, after).await?),
            None => None,
        };
        let place = |file: &StoredFile| (file.created_at_ms, file.id.clone());
        let state = self.state()?;
        let mut files: Vec<StoredFile> = state
            .files
            .values()
            .filter(|file| (&file.tenant, file.kind) == (&query.tenant, query.kind))
            .filter(|file| file.expires_at_ms.is_none_or(|at_ms| at_ms > query.live_at_ms))
            .filter(|file| query.name.as_ref().is_none_or(|name| file.name == *name))
            .filter(|file| query.purpose.as_ref().is_none_or(|purpose| file.purpose == *purpose))
            .cloned()
            .collect();
        files.sort_by_key(place);
        if query.newest_first {
            files.reverse();
        }
        let skip = after.map_or(0, |after| {
            let before = |file: &StoredFile| match query.newest_first {
                true => place(file) >= place(&after),
                false => place(file) <= place(&after),
            };
            files.iter().take_while(|file| before(file)).count()
        });
        Ok(files.into_iter().skip(skip).take(query.rows_max).collect())
    }

    async fn delete_file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile> {
        let file = self.file(tenant, kind, id).await?;
        self.state()?.files.remove(id);
        Ok(file)
    }

    async fn file_bytes(&self, tenant: &TenantId, kind: FileKind) -> Result<u64> {
        let state = self.state()?;
        let same = state.files.values().filter(|file| (&file.tenant, file.kind) == (tenant, kind));
        Ok(same.map(|file| file.bytes).sum())
    }

    async fn expired_files(&self, now_ms: i64, rows_max: usize) -> Result<Vec<StoredFile>> {
        let state = self.state()?;
        let expired = state.files.values().filter(|file| file.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms));
        let mut files: Vec<StoredFile> = expired.cloned().collect();
        files.sort_by_key(|file| (file.expires_at_ms, file.id.clone()));
        files.truncate(rows_max);
        Ok(files)
    }

    async fn shorten_files(&self, tenant: &TenantId, kind: FileKind, keep_ms: i64) -> Result<()> {
        let mut state = self.state()?;
        for file in state.files.values_mut().filter(|file| (&file.tenant, file.kind) == (tenant, kind)) {
            let last_ms = file.created_at_ms + keep_ms;
            file.expires_at_ms = Some(file.expires_at_ms.map_or(last_ms, |at_ms| at_ms.min(last_ms)));
        }
        Ok(())
    }

    async fn file_blobs(&self, tenant: &TenantId) -> Result<Vec<BlobId>> {
        let state = self.state()?;
        Ok(state.files.values().filter(|file| file.tenant == *tenant).map(|file| file.blob).collect())
    }
}
