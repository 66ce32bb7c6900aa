//! Wrapped data keys: what encrypts a tenant's blobs, itself encrypted by a master key that the store never sees.

use crate::error::{Error, Result, check_range, check_text};
use crate::id::TenantId;
use async_trait::async_trait;

/// The longest wrapped key and id of a master key, in bytes.
const BYTES_MAX: usize = 256;

/// One data key of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Whose.
    pub tenant: TenantId,
    /// From 1. New blobs take the newest; older ones stay, for older blobs.
    pub version: u32,
    /// The id of the master key that wraps it.
    pub master: String,
    /// Useless without that master key.
    pub wrapped: Vec<u8>,
    /// Milliseconds since 1970, UTC.
    pub created_at_ms: i64,
}

impl WrappedKey {
    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_range("version", self.version.into(), 1..=i32::MAX as u64)?;
        check_text("master", &self.master, BYTES_MAX)?;
        check_range("bytes of the wrapped key", self.wrapped.len() as u64, 1..=BYTES_MAX as u64)
    }
}

/// Wrapped data keys. Contract as for [`Tenants`](crate::Tenants), but none of it counts as a change.
#[async_trait]
pub trait Secrets: std::fmt::Debug + Send + Sync {
    /// Adds a data key.
    ///
    /// # Errors
    /// `BadInput`. `NotFound`: no such tenant. `Conflict`: the tenant is erased, or the version is not
    /// [`next_data_key`](Secrets::next_data_key) any more: ask for it again.
    async fn add_data_key(&self, key: &WrappedKey) -> Result<()>;

    /// The version that the tenant's next data key must have. It never had another key.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn next_data_key(&self, tenant: &TenantId) -> Result<u32>;

    /// One version of a tenant's data key, or the newest that there is.
    ///
    /// # Errors
    /// `NotFound`: there never was one, or it is shredded.
    async fn data_key(&self, tenant: &TenantId, version: Option<u32>) -> Result<WrappedKey>;

    /// The data keys of a tenant, or of all, by tenant and version, without shredded ones.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn data_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<WrappedKey>>;

    /// Replaces `master` and `wrapped` of the key with this tenant and version, if its master is still `from`.
    ///
    /// # Errors
    /// `BadInput`. `NotFound`: no such key, or it is shredded. `Conflict`: its master is another one.
    async fn rewrap_data_key(&self, key: &WrappedKey, from: &str) -> Result<()>;

    /// Destroys all data keys of a tenant, and returns how many: whatever they encrypt is noise from now on. The bytes
    /// are overwritten in the file, free pages and write-ahead log too.
    ///
    /// # Errors
    /// `Unavailable`: they are gone, but another process keeps old pages in use; call again.
    async fn shred_data_keys(&self, tenant: &TenantId, at_ms: i64) -> Result<usize>;
}

pub(crate) fn unknown_data_key(tenant: &TenantId, version: Option<u32>) -> Error {
    let which = version.map_or_else(|| "a data key".to_owned(), |version| format!("data key {version}"));
    Error::NotFound(format!("tenant `{tenant}` has not {which}: it was shredded, or never made"))
}

pub(crate) fn taken_version(key: &WrappedKey) -> Error {
    let (tenant, version) = (&key.tenant, key.version);
    Error::Conflict(format!("version {version} is not the next data key of tenant `{tenant}`; ask for the next again"))
}

pub(crate) fn other_master(key: &WrappedKey) -> Error {
    let (tenant, version) = (&key.tenant, key.version);
    Error::Conflict(format!("data key {version} of tenant `{tenant}` was wrapped again meanwhile; read it again"))
}
