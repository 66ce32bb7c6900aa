//! The strict fake: all of the metadata in memory, with every rule that the database has. For tests of what stands on
//! the store, here and in other crates.

mod audit;
mod files;
mod jobs;
mod ledger;
mod registry;
mod secrets;

use crate::audit::AuditRow;
use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::files::StoredFile;
use crate::id::{FileId, JobId, KeyId, TenantId};
use crate::keys::{Key, Keys, taken_key, unknown_key};
use crate::ledger::UsageRow;
use crate::prices::{Price, Prices, unknown_price};
use crate::registry::{Alias, ModelVersion};
use crate::secrets::WrappedKey;
use crate::tenants::{Limits, Tenant, Tenants, erased_tenant, taken_tenant, unknown_tenant};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unavailable: bool,
    changes: u64,
    tenants: BTreeMap<TenantId, Tenant>,
    keys: BTreeMap<KeyId, Key>,
    prices: BTreeMap<String, Price>,
    usage: BTreeMap<String, UsageRow>,
    audit: Vec<AuditRow>,
    files: BTreeMap<FileId, StoredFile>,
    jobs: BTreeMap<JobId, jobs::Kept>,
    versions: Vec<ModelVersion>,
    /// Every setting, in order.
    aliases: Vec<Alias>,
    /// By tenant and version; `None` is shredded.
    data_keys: BTreeMap<(TenantId, u32), Option<WrappedKey>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every call fails with [`Error::Unavailable`], or works again: what a failing disk looks like.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made at once, after all checks: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.unavailable {
            return Err(Error::Unavailable("the store was made unavailable by a test".into()));
        }
        Ok(state)
    }
}

impl State {
    fn live_tenant(&mut self, id: &TenantId) -> Result<&mut Tenant> {
        let tenant = self.tenants.get_mut(id).ok_or_else(|| unknown_tenant(id))?;
        if tenant.erased_at_ms.is_some() { Err(erased_tenant(id)) } else { Ok(tenant) }
    }

    fn key(&mut self, id: &KeyId) -> Result<&mut Key> {
        self.keys.get_mut(id).ok_or_else(|| unknown_key(id))
    }
}

#[async_trait]
impl Tenants for Memory {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()> {
        tenant.check()?;
        let mut state = self.state()?;
        if state.tenants.contains_key(&tenant.id) {
            return Err(taken_tenant(&tenant.id));
        }
        state.tenants.insert(tenant.id.clone(), tenant.clone());
        state.changes += 1;
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Result<Tenant> {
        self.state()?.tenants.get(id).cloned().ok_or_else(|| unknown_tenant(id))
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        let mut tenants: Vec<Tenant> = self.state()?.tenants.values().cloned().collect();
        tenants.sort_by_key(|tenant| tenant.created_at_ms);
        Ok(tenants)
    }

    async fn update_tenant(&self, tenant: &Tenant) -> Result<()> {
        tenant.check()?;
        let mut state = self.state()?;
        let old = state.live_tenant(&tenant.id)?;
        let (created_at_ms, erased_at_ms) = (old.created_at_ms, old.erased_at_ms);
        *old = Tenant { created_at_ms, erased_at_ms, ..tenant.clone() };
        state.changes += 1;
        Ok(())
    }

    async fn erase_tenant(&self, id: &TenantId, at_ms: i64) -> Result<()> {
        let mut state = self.state()?;
        match state.live_tenant(id) {
            Ok(tenant) => {
                tenant.name.clear();
                tenant.limits = Limits::default();
                tenant.erased_at_ms = Some(at_ms);
            }
            Err(Error::Conflict(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        state.shred(id);
        state.jobs.retain(|_, kept| kept.tenant() != id);
        state.versions.retain(|version| version.tenant != *id);
        state.aliases.retain(|alias| alias.tenant != *id);
        state.keys.retain(|_, key| key.tenant != *id);
        state.files.retain(|_, file| file.tenant != *id);
        state.changes += 1;
        Ok(())
    }
}

#[async_trait]
impl Keys for Memory {
    async fn create_key(&self, key: &Key) -> Result<()> {
        key.check()?;
        let mut state = self.state()?;
        state.live_tenant(&key.tenant)?;
        if state.keys.values().any(|other| other.id == key.id || other.hash == key.hash) {
            return Err(taken_key(&key.id));
        }
        let new = Key { last_used_at_ms: None, revoked_at_ms: None, ..key.clone() };
        state.keys.insert(key.id.clone(), new);
        state.changes += 1;
        Ok(())
    }

    async fn key(&self, id: &KeyId) -> Result<Key> {
        self.state()?.key(id).cloned()
    }

    async fn keys(&self, tenant: Option<&TenantId>) -> Result<Vec<Key>> {
        let state = self.state()?;
        let of_tenant = state.keys.values().filter(|key| tenant.is_none_or(|tenant| key.tenant == *tenant));
        let mut keys: Vec<Key> = of_tenant.cloned().collect();
        keys.sort_by_key(|key| key.created_at_ms);
        Ok(keys)
    }

    async fn update_key(&self, key: &Key) -> Result<()> {
        key.check()?;
        let mut state = self.state()?;
        let old = state.key(&key.id)?;
        old.name.clone_from(&key.name);
        old.limits.clone_from(&key.limits);
        (old.role, old.expires_at_ms) = (key.role, key.expires_at_ms);
        state.changes += 1;
        Ok(())
    }

    async fn revoke_key(&self, id: &KeyId, at_ms: i64) -> Result<()> {
        let mut state = self.state()?;
        state.key(id)?.revoked_at_ms.get_or_insert(at_ms);
        state.changes += 1;
        Ok(())
    }

    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()> {
        let mut state = self.state()?;
        for (id, at_ms) in used {
            if let Ok(key) = state.key(id)
                && key.last_used_at_ms.unwrap_or(0) < *at_ms
            {
                key.last_used_at_ms = Some(*at_ms);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Prices for Memory {
    async fn set_price(&self, price: &Price) -> Result<()> {
        price.check()?;
        let mut state = self.state()?;
        state.prices.insert(price.model.clone(), price.clone());
        state.changes += 1;
        Ok(())
    }

    async fn remove_price(&self, model: &str) -> Result<()> {
        let mut state = self.state()?;
        state.prices.remove(model).ok_or_else(|| unknown_price(model))?;
        state.changes += 1;
        Ok(())
    }

    async fn prices(&self) -> Result<Vec<Price>> {
        Ok(self.state()?.prices.values().cloned().collect())
    }
}

#[async_trait]
impl Changes for Memory {
    async fn changes(&self) -> Result<u64> {
        Ok(self.state()?.changes)
    }
}
