//! An upload: a place among those that run, a content that is stored, then its entry. Until the entry is there nobody sees
//! it, and what is dropped before leaves nothing.

use super::{FileInfo, Files, Purpose};
use crate::Error;
use crate::access::Action;
use crate::accounts::{Principal, now_ms};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use orrery_store::{BlobId, FileId, FileKind, StoredFile, TenantId};
use sha2::{Digest as _, Sha256};
use std::sync::PoisonError;

/// How long a client should wait for another upload's end.
const RETRY_AFTER_S: u64 = 5;

/// What a client says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    pub filename: String,
    pub purpose: Purpose,
    /// It is deleted so long after it was made.
    pub expires_after_ms: Option<i64>,
}

/// An upload that runs. Dropping it gives its place back, and deletes what is stored of it.
#[derive(Debug)]
pub struct Upload {
    files: Files,
    tenant: TenantId,
    content: Option<Content>,
}

/// What is stored and has no entry yet.
#[derive(Debug, Clone, Copy)]
struct Content {
    blob: BlobId,
    bytes: u64,
    sha256: [u8; 32],
}

impl Files {
    /// Begins an upload.
    ///
    /// # Errors
    /// `Forbidden`; `Overloaded`: too many run; `Limited`: the tenant has no room left.
    pub async fn begin(&self, by: &Principal) -> Result<Upload, Error> {
        by.check(Action::ManageFiles)?;
        let tenant = by.tenant.id.clone();
        // The place is taken at once, and given back when this is dropped.
        let upload = self.take_place(tenant)?;
        upload.room().await?;
        Ok(upload)
    }

    /// Stores a content that is there already: an upload in one call.
    ///
    /// # Errors
    /// As [`Files::begin`], [`Upload::receive`] and [`Upload::publish`].
    pub async fn add(
        &self,
        by: &Principal,
        filename: &str,
        purpose: Purpose,
        content: Bytes,
    ) -> Result<FileInfo, Error> {
        let mut upload = self.begin(by).await?;
        upload.receive(futures_util::stream::iter([Ok(content)])).await?;
        upload.publish(NewFile { filename: filename.to_owned(), purpose, expires_after_ms: None }).await
    }

    fn take_place(&self, tenant: TenantId) -> Result<Upload, Error> {
        let (all_max, own_max) = (self.0.settings.uploads_max, self.0.settings.tenant_uploads_max);
        let mut uploads = self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |limit: usize, whose: &str| Error::Overloaded {
            message: format!("{limit} uploads{whose} run, which is the limit; try again in {RETRY_AFTER_S} s"),
            retry_after_s: RETRY_AFTER_S,
        };
        if uploads.values().sum::<usize>() >= all_max {
            return Err(busy(all_max, ""));
        }
        let own = uploads.entry(tenant.clone()).or_default();
        if *own >= own_max {
            return Err(busy(own_max, " of this tenant"));
        }
        *own += 1;
        self.0.running.send_modify(|running| *running += 1);
        Ok(Upload { files: self.clone(), tenant, content: None })
    }
}

impl Upload {
    /// Bytes that the tenant may still store.
    async fn room(&self) -> Result<u64, Error> {
        let used = self.files.0.store.file_bytes(&self.tenant, FileKind::Upload).await?;
        let quota = self.files.0.settings.quota_bytes;
        match quota.saturating_sub(used) {
            0 => Err(over_quota(quota)),
            room => Ok(room),
        }
    }

    /// Encrypts and stores what comes. Once; memory is bounded, whatever comes.
    ///
    /// # Errors
    /// Those of the content; `TooLarge`; `Limited`: the tenant's files would be too large together; `NoSpace`.
    pub async fn receive(
        &mut self,
        content: impl Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    ) -> Result<u64, Error> {
        if self.content.is_some() {
            return Err(Error::internal("an upload received two contents"));
        }
        let (room, most) = (self.room().await?, self.files.0.settings.file_max_bytes);
        let quota = self.files.0.settings.quota_bytes;
        let (mut sha, mut bytes, mut refused) = (Sha256::new(), 0_u64, None);
        let counted = content.map(|piece| {
            let checked = piece.and_then(|piece| {
                bytes += piece.len() as u64;
                match bytes {
                    _ if bytes > most => Err(too_large(most)),
                    _ if bytes > room => Err(over_quota(quota)),
                    _ => Ok(piece),
                }
            });
            checked.inspect(|piece| sha.update(piece)).map_err(|error| {
                refused = Some(error);
                orrery_store::Error::BadInput("the content was refused".into())
            })
        });
        let stored = self.files.0.vault.put(&self.tenant, counted).await;
        if let Some(error) = refused {
            return Err(error);
        }
        let stored = stored?;
        self.content = Some(Content { blob: stored.id, bytes: stored.bytes, sha256: sha.finalize().into() });
        Ok(stored.bytes)
    }

    /// Makes the entry: from now on the file is there.
    ///
    /// # Errors
    /// `BadInput`: a bad name; `Limited`: other uploads were first; `Conflict`: the tenant is erased; `NoSpace`.
    pub async fn publish(mut self, new: NewFile) -> Result<FileInfo, Error> {
        let Some(content) = self.content else { return Err(Error::internal("an upload received no content")) };
        let created_at_ms = now_ms();
        let file = StoredFile {
            id: FileId::random()?,
            tenant: self.tenant.clone(),
            kind: FileKind::Upload,
            name: new.filename,
            purpose: new.purpose.as_str().to_owned(),
            bytes: content.bytes,
            sha256: content.sha256,
            blob: content.blob,
            created_at_ms,
            expires_at_ms: new.expires_after_ms.map(|after_ms| created_at_ms.saturating_add(after_ms)),
        };
        let made = self.files.0.store.create_file(&file, self.files.0.settings.quota_bytes).await;
        made.map_err(|error| match error {
            orrery_store::Error::BadInput(message) => Error::BadInput { param: Some("file"), message },
            error => error.into(),
        })?;
        self.content = None;
        Ok(file.into())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let place = Place { files: self.files.clone(), tenant: self.tenant.clone() };
        // Without a runtime to delete it, a stray is left for the next sweep.
        if let (Some(content), Ok(runtime)) = (self.content.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = place.files.0.vault.blobs().delete(&place.tenant, content.blob).await {
                    tracing::warn!(%error, "the content of an upload that failed is left for the next sweep");
                }
            });
        }
    }
}

/// A place among the uploads that run, given back when it is dropped.
struct Place {
    files: Files,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploads = self.files.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = uploads.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                uploads.remove(&self.tenant);
            }
        }
        self.files.0.running.send_modify(|running| *running -= 1);
    }
}

fn too_large(bytes_max: u64) -> Error {
    Error::TooLarge(format!("the file has more than {bytes_max} bytes, which is the limit; split it"))
}

fn over_quota(quota: u64) -> Error {
    let message = format!("the tenant's files would have more than {quota} bytes, which is the limit; delete some");
    Error::Limited { message, retry_after_ms: None, is_budget: true }
}
