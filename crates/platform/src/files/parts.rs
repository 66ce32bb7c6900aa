//! Parts of models: files that belong to a version of the registry, kept in the vault like all others.

use super::{FileInfo, Files, Reader};
use crate::Error;
use crate::accounts::now_ms;
use bytes::Bytes;
use futures_util::stream;
use orrery_store::{FileId, FileKind, StoredFile, TenantId};
use sha2::{Digest as _, Sha256};

impl Files {
    /// Keeps a part of a model. Until a version names it, it is nobody's; see [`Files::drop_part`].
    ///
    /// # Errors
    /// `Limited`: the tenant's models would be too large together; `NoSpace`; `Conflict`: the tenant is erased.
    pub(crate) async fn keep_part(&self, tenant: &TenantId, name: &str, content: Bytes) -> Result<FileInfo, Error> {
        let (bytes, sha256) = (content.len() as u64, Sha256::digest(&content).into());
        let pieces = stream::iter([Ok::<_, orrery_store::Error>(content)]);
        let stored = self.0.vault.put(tenant, pieces).await?;
        let file = StoredFile {
            id: FileId::random()?,
            tenant: tenant.clone(),
            kind: FileKind::Artefact,
            name: name.to_owned(),
            purpose: "model".to_owned(),
            bytes,
            sha256,
            blob: stored.id,
            created_at_ms: now_ms(),
            expires_at_ms: None,
        };
        if let Err(error) = self.0.store.create_file(&file, self.0.settings.models_quota_bytes).await {
            // A stray that cannot be deleted now is left for the next sweep.
            let _ = self.0.vault.blobs().delete(tenant, stored.id).await;
            return Err(error.into());
        }
        Ok(file.into())
    }

    /// A part of a model and its content in the clear.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn open_part(&self, tenant: &TenantId, id: &str) -> Result<(FileInfo, Reader), Error> {
        let file = self.live(tenant, FileKind::Artefact, id).await?;
        let reader = self.reader(&file).await?;
        Ok((file.into(), reader))
    }

    /// Deletes a part that no version names, where it can be done; else it stays until the tenant is erased.
    pub(crate) async fn drop_part(&self, tenant: &TenantId, id: &str) {
        let dropped = async { self.remove(&self.live(tenant, FileKind::Artefact, id).await?).await };
        if let Err(error) = dropped.await {
            tracing::warn!(%error, "a part of a model that was not published is left");
        }
    }
}
