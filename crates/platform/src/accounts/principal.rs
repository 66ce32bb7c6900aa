//! Who makes a request, as a value that has to be held.

use crate::Error;
use crate::access::{Action, allows};
use orrery_store::{Key, KeyId, Role, Tenant, TenantId};
use std::sync::Arc;

/// A key that was checked, and its tenant. Only [`Accounts`](crate::Accounts) makes one.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) key: Arc<Key>,
    /// Who acts, in the audit log.
    pub(crate) actor: Arc<str>,
}

impl Principal {
    pub(crate) fn of_key(tenant: Arc<Tenant>, key: Arc<Key>) -> Self {
        let actor = key.id.as_str().into();
        Self { tenant, key, actor }
    }

    pub fn tenant_id(&self) -> &str {
        self.tenant.id.as_str()
    }

    pub fn key_id(&self) -> &str {
        self.key.id.as_str()
    }

    /// Whether the tenant's requests and answers are kept.
    pub fn retains(&self) -> bool {
        self.tenant.retention_days > 0
    }

    pub(crate) fn role(&self) -> Role {
        self.key.role
    }

    /// # Errors
    /// `Forbidden`: the role does not allow it.
    pub fn check(&self, action: Action) -> Result<(), Error> {
        if allows(self.role(), action) {
            return Ok(());
        }
        let message = format!(
            "a key with the role `{}` may not {}; use one that may, or ask your administrator for one",
            self.role(),
            action.name()
        );
        Err(Error::Forbidden(message))
    }

    /// Everybody but a platform admin sees their own tenant alone: another one is as unknown as one that does not exist.
    pub(crate) fn check_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        if self.role() == Role::PlatformAdmin || self.tenant.id == *tenant {
            return Ok(());
        }
        Err(unknown_tenant(tenant))
    }
}

/// What the store says of a tenant that does not exist.
pub(crate) fn unknown_tenant(tenant: &TenantId) -> Error {
    Error::NotFound(format!("there is no tenant `{tenant}`"))
}

/// What the store says of a key that does not exist.
pub(crate) fn unknown_key(key: &KeyId) -> Error {
    Error::NotFound(format!("there is no key `{key}`"))
}
