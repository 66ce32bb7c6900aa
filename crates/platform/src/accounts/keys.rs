//! Use cases around keys.

use super::principal::Principal;
use super::tenants::LimitsInfo;
use super::{Accounts, key_text, now_ms};
use crate::Error;
use crate::access::{Action, may_give};
use orrery_store::{Key, KeyId, Role, TenantId};
use serde_json::{Map, json};

/// Keys that one tenant may have, revoked ones included.
pub const KEYS_MAX: usize = 10_000;

/// What a list shows of a key. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    pub id: String,
    pub tenant: String,
    pub name: String,
    /// The first characters of its text.
    pub hint: String,
    pub role: String,
    pub limits: LimitsInfo,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub last_used_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewKey {
    /// Of whoever asks, unless a platform admin says another one.
    pub tenant: Option<String>,
    pub name: String,
    /// `platform_admin`, `tenant_admin`, `developer` or `inference`.
    pub role: String,
    pub limits: LimitsInfo,
    pub expires_at_ms: Option<i64>,
}

/// What is changed of a key; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyChange {
    pub name: Option<String>,
    pub role: Option<String>,
    pub limits: Option<LimitsInfo>,
    /// `Some(None)`: it does not expire.
    pub expires_at_ms: Option<Option<i64>>,
}

impl Accounts {
    /// Makes a key. Its text is given once, and cannot be had again.
    ///
    /// # Errors
    /// `Forbidden`, also when the key would allow more than the one that asks; `NotFound`: no such tenant; `BadInput`.
    pub async fn create_key(&self, by: &Principal, new: NewKey) -> Result<(KeyInfo, String), Error> {
        by.check(Action::ManageKeys)?;
        let tenant: TenantId = match new.tenant {
            Some(tenant) => tenant.parse().map_err(|error| of("tenant", error))?,
            None => by.tenant.id.clone(),
        };
        self.tenant_of(by, &tenant).await?;
        let role = role_to_give(by, &new.role)?;
        let now = now_ms();
        check_expiry(new.expires_at_ms, now)?;
        if self.store.keys(Some(&tenant)).await?.len() >= KEYS_MAX {
            return Err(Error::Conflict(format!("the tenant `{tenant}` has {KEYS_MAX} keys, which is the most")));
        }
        let text = key_text::generate()?;
        let key = Key {
            id: KeyId::random()?,
            tenant: tenant.clone(),
            name: new.name,
            hash: key_text::hash(&text),
            hint: key_text::hint(&text),
            role,
            limits: new.limits.into(),
            created_at_ms: now,
            expires_at_ms: new.expires_at_ms,
            last_used_at_ms: None,
            revoked_at_ms: None,
        };
        let details = Map::from_iter([("role".to_owned(), json!(role.to_string()))]);
        self.note(by, "key.create", Some(&tenant), key.id.as_str(), details).await?;
        self.store.create_key(&key).await?;
        self.changed().await?;
        Ok((key.into(), text))
    }

    /// The keys of a tenant, or of whoever asks; a platform admin that names none sees all.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn keys(&self, by: &Principal, tenant: Option<&str>) -> Result<Vec<KeyInfo>, Error> {
        by.check(Action::ReadKeys)?;
        let tenant = match tenant {
            Some(tenant) => Some(tenant.parse().map_err(|error| of("tenant", error))?),
            None if by.role() == Role::PlatformAdmin => None,
            None => Some(by.tenant.id.clone()),
        };
        if let Some(tenant) = &tenant {
            self.tenant_of(by, tenant).await?;
        }
        Ok(self.store.keys(tenant.as_ref()).await?.into_iter().map(KeyInfo::from).collect())
    }

    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn key(&self, by: &Principal, id: &str) -> Result<KeyInfo, Error> {
        by.check(Action::ReadKeys)?;
        Ok(self.key_of(by, &key_id(id)?).await?.into())
    }

    /// # Errors
    /// `Forbidden`, also for a key that allows more than the one that asks; `NotFound`; `BadInput`.
    pub async fn change_key(&self, by: &Principal, id: &str, change: KeyChange) -> Result<KeyInfo, Error> {
        by.check(Action::ManageKeys)?;
        let mut key = self.key_of(by, &key_id(id)?).await?;
        if !may_give(by.role(), key.role) {
            return Err(above(key.role));
        }
        let mut fields = Vec::new();
        if let Some(name) = change.name {
            key.name = name;
            fields.push("name");
        }
        if let Some(role) = change.role {
            key.role = role_to_give(by, &role)?;
            fields.push("role");
        }
        if let Some(limits) = change.limits {
            key.limits = limits.into();
            fields.push("limits");
        }
        if let Some(expires_at_ms) = change.expires_at_ms {
            check_expiry(expires_at_ms, now_ms())?;
            key.expires_at_ms = expires_at_ms;
            fields.push("expires_at");
        }
        let details = Map::from_iter([("fields".to_owned(), json!(fields))]);
        self.note(by, "key.change", Some(&key.tenant), key.id.as_str(), details).await?;
        self.store.update_key(&key).await?;
        self.changed().await?;
        Ok(key.into())
    }

    /// Revokes a key for good, in this process at once and in others within a second. Again is no error.
    ///
    /// # Errors
    /// `Forbidden`, also for a key that allows more than the one that asks; `NotFound`.
    pub async fn revoke_key(&self, by: &Principal, id: &str) -> Result<KeyInfo, Error> {
        by.check(Action::ManageKeys)?;
        let key = self.key_of(by, &key_id(id)?).await?;
        if !may_give(by.role(), key.role) {
            return Err(above(key.role));
        }
        self.note(by, "key.revoke", Some(&key.tenant), key.id.as_str(), Map::new()).await?;
        self.store.revoke_key(&key.id, now_ms()).await?;
        self.changed().await?;
        Ok(self.store.key(&key.id).await?.into())
    }
}

fn key_id(id: &str) -> Result<KeyId, Error> {
    // What can be no id is as unknown as any other.
    id.parse().map_err(|_| Error::NotFound(format!("there is no key `{}`", crate::reference::shown(id))))
}

fn role_to_give(by: &Principal, role: &str) -> Result<Role, Error> {
    let role: Role = role.parse().map_err(|error| of("role", error))?;
    if may_give(by.role(), role) { Ok(role) } else { Err(above(role)) }
}

fn above(role: Role) -> Error {
    Error::Forbidden(format!("a key with the role `{role}` allows more than yours; ask a platform admin"))
}

fn check_expiry(expires_at_ms: Option<i64>, now: i64) -> Result<(), Error> {
    match expires_at_ms {
        Some(end) if end <= now => Err(Error::BadInput {
            param: Some("expires_at"),
            message: format!("`expires_at` {} lies in the past; give a later time, in seconds since 1970", end / 1000),
        }),
        _ => Ok(()),
    }
}

/// The store's refusal of a value, with the field that it came in.
pub(super) fn of(param: &'static str, error: orrery_store::Error) -> Error {
    match error {
        orrery_store::Error::BadInput(message) => Error::BadInput { param: Some(param), message },
        other => other.into(),
    }
}

impl From<Key> for KeyInfo {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            tenant: key.tenant.to_string(),
            name: key.name,
            hint: key.hint,
            role: key.role.to_string(),
            limits: key.limits.into(),
            created_at_ms: key.created_at_ms,
            expires_at_ms: key.expires_at_ms,
            last_used_at_ms: key.last_used_at_ms,
            revoked_at_ms: key.revoked_at_ms,
        }
    }
}
