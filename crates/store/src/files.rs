//! Files: what is known of a blob that a tenant uploaded, or that is kept for it.

use crate::blobs::BlobId;
use crate::error::{Error, Result, check_range, check_text};
use crate::id::{FileId, TenantId};
use crate::names::names;
use crate::tenants::COUNT_MAX;
use async_trait::async_trait;

/// The longest name of a file, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 512;
/// The longest purpose, in bytes.
pub const PURPOSE_BYTES_MAX: usize = 64;
/// Rows that one [`FileQuery`] may ask for.
pub const FILE_ROWS_MAX: usize = 10_000;

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A client uploaded it.
    Upload,
    /// A request and its answer, which the tenant wants kept for a while.
    Retained,
    /// A part of a model that the tenant made or brought.
    Artefact,
}

names!(FileKind, "kind of file", Upload = "upload", Retained = "retained", Artefact = "artefact");

/// One file. Its content is a blob of its own, which no other file shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Never changes.
    pub id: FileId,
    /// Whose.
    pub tenant: TenantId,
    /// Where it comes from.
    pub kind: FileKind,
    /// What its owner calls it; of what is retained, the model.
    pub name: String,
    /// What it is for; of what is retained, the endpoint.
    pub purpose: String,
    /// Of the content.
    pub bytes: u64,
    /// Of the content, in the clear.
    pub sha256: [u8; 32],
    /// Where the content is.
    pub blob: BlobId,
    /// Milliseconds since 1970, UTC.
    pub created_at_ms: i64,
    /// From then on it is as good as deleted.
    pub expires_at_ms: Option<i64>,
}

impl StoredFile {
    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("filename", &self.name, FILE_NAME_BYTES_MAX)?;
        check_text("purpose", &self.purpose, PURPOSE_BYTES_MAX)?;
        check_range("bytes", self.bytes, 0..=COUNT_MAX)
    }

    /// Whether its tenant, which keeps what is retained for so many days, may have it.
    pub(crate) fn check_kept(&self, retention_days: u32) -> Result<()> {
        let last_ms = self.created_at_ms.saturating_add(i64::from(retention_days) * crate::DAY_MS);
        let kept = self.expires_at_ms.is_some_and(|expires_ms| expires_ms <= last_ms);
        if self.kind != FileKind::Retained || (retention_days > 0 && kept) {
            return Ok(());
        }
        Err(Error::Conflict(format!("tenant `{}` keeps nothing for so long (any more)", self.tenant)))
    }
}

/// Which files, and in which order. A file that has expired is not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of this kind alone.
    pub kind: FileKind,
    /// With this name alone.
    pub name: Option<String>,
    /// For this purpose alone.
    pub purpose: Option<String>,
    /// Those that come after this one.
    pub after: Option<FileId>,
    /// Else oldest first. Those of one moment go by id.
    pub newest_first: bool,
    /// The moment at which they have not expired; milliseconds since 1970.
    pub live_at_ms: i64,
    /// At most so many, 1 to [`FILE_ROWS_MAX`].
    pub rows_max: usize,
}

impl FileQuery {
    /// Both stores call this before they read.
    pub(crate) fn check(&self) -> Result<()> {
        check_range("limit", self.rows_max as u64, 1..=FILE_ROWS_MAX as u64)
    }
}

/// Files. Contract as for [`Tenants`](crate::Tenants), but none of it counts as a change. The blobs are the caller's to
/// write before and to delete after.
#[async_trait]
pub trait Files: std::fmt::Debug + Send + Sync {
    /// Adds a file, if with it the tenant's files of its kind have at most `quota_bytes`.
    ///
    /// # Errors
    /// `BadInput`. `NotFound`: no such tenant. `Conflict`: the tenant is erased, the id is taken, or a retained one is to
    /// stay longer than the tenant's `retention_days`. `OverQuota`.
    async fn create_file(&self, file: &StoredFile, quota_bytes: u64) -> Result<()>;

    /// One file, expired or not.
    ///
    /// # Errors
    /// `NotFound`: the tenant has no such file of this kind.
    async fn file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile>;

    /// # Errors
    /// `BadInput`: too many rows. `NotFound`: there is no file `after`.
    async fn files(&self, query: &FileQuery) -> Result<Vec<StoredFile>>;

    /// Deletes a file, and returns what it was.
    ///
    /// # Errors
    /// `NotFound`: the tenant has no such file of this kind.
    async fn delete_file(&self, tenant: &TenantId, kind: FileKind, id: &FileId) -> Result<StoredFile>;

    /// Bytes of all files of a kind that a tenant has, expired ones too.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn file_bytes(&self, tenant: &TenantId, kind: FileKind) -> Result<u64>;

    /// Files of all tenants that have expired by now, at most so many.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn expired_files(&self, now_ms: i64, rows_max: usize) -> Result<Vec<StoredFile>>;

    /// Has a tenant's files of a kind expire at most so long after they were made.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn shorten_files(&self, tenant: &TenantId, kind: FileKind, keep_ms: i64) -> Result<()>;

    /// All blobs that a tenant's files name. Other blobs of it are left-overs.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn file_blobs(&self, tenant: &TenantId) -> Result<Vec<BlobId>>;
}

pub(crate) fn unknown_file(id: &FileId) -> Error {
    Error::NotFound(format!("there is no file `{id}`"))
}

pub(crate) fn taken_file(id: &FileId) -> Error {
    Error::Conflict(format!("there is a file `{id}` already"))
}

pub(crate) fn over_quota(used: u64, bytes: u64, quota: u64) -> Error {
    Error::OverQuota(format!(
        "{bytes} bytes more than the {used} that are stored would be over the limit of {quota} bytes; delete files"
    ))
}
