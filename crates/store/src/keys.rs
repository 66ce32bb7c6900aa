//! API keys. The store knows a key's hash, never the key.

use crate::error::{Error, Result, check_text};
use crate::id::{KeyId, TenantId};
use crate::names::names;
use crate::tenants::{Limits, NAME_BYTES_MAX};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The longest hint, in bytes.
const HINT_BYTES_MAX: usize = 16;

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Never changes.
    pub id: KeyId,
    /// Never changes.
    pub tenant: TenantId,
    /// For people.
    pub name: String,
    /// sha256 of the key's whole text. Never changes.
    pub hash: [u8; 32],
    /// The first characters of the key, to be shown in lists. Never changes.
    pub hint: String,
    /// What it allows.
    pub role: Role,
    /// In addition to the tenant's.
    pub limits: Limits,
    /// Milliseconds since 1970, UTC. Never changes.
    pub created_at_ms: i64,
    /// From then on it is refused.
    pub expires_at_ms: Option<i64>,
    /// Set by [`Keys::touch_keys`] alone.
    pub last_used_at_ms: Option<i64>,
    /// Set by [`Keys::revoke_key`] alone.
    pub revoked_at_ms: Option<i64>,
}

impl Key {
    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("name", &self.name, NAME_BYTES_MAX)?;
        check_text("hint", &self.hint, HINT_BYTES_MAX)?;
        self.limits.check()
    }
}

/// What a key allows. What each role may do stands in `platform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, over all tenants.
    PlatformAdmin,
    /// Everything within its tenant.
    TenantAdmin,
    /// Models, files and jobs of its tenant.
    Developer,
    /// Calls of models alone.
    Inference,
}

names!(
    Role,
    "role",
    PlatformAdmin = "platform_admin",
    TenantAdmin = "tenant_admin",
    Developer = "developer",
    Inference = "inference",
);

/// The keys. Contract as for [`Tenants`](crate::Tenants), but [`touch_keys`](Keys::touch_keys) is no change.
#[async_trait]
pub trait Keys: std::fmt::Debug + Send + Sync {
    /// Adds a key, not yet used and not revoked, whatever these fields say.
    ///
    /// # Errors
    /// `BadInput`. `NotFound`: no such tenant. `Conflict`: the id or the hash is taken, or the tenant is erased.
    async fn create_key(&self, key: &Key) -> Result<()>;

    /// # Errors
    /// `NotFound`.
    async fn key(&self, id: &KeyId) -> Result<Key>;

    /// The keys of a tenant, or of all, revoked and expired ones too, oldest first.
    ///
    /// # Errors
    /// Those of the database alone; an unknown tenant has no keys.
    async fn keys(&self, tenant: Option<&TenantId>) -> Result<Vec<Key>>;

    /// Replaces `name`, `role`, `limits` and `expires_at_ms`.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`.
    async fn update_key(&self, key: &Key) -> Result<()>;

    /// Revokes a key for good. Again is no error, and keeps the first time.
    ///
    /// # Errors
    /// `NotFound`.
    async fn revoke_key(&self, id: &KeyId, at_ms: i64) -> Result<()>;

    /// Notes when keys were last used; an earlier time than the known one, or an unknown key, is passed over.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()>;
}

pub(crate) fn unknown_key(id: &KeyId) -> Error {
    Error::NotFound(format!("there is no key `{id}`"))
}

pub(crate) fn taken_key(id: &KeyId) -> Error {
    Error::Conflict(format!("there is a key `{id}`, or one with the same text, already; make another"))
}
