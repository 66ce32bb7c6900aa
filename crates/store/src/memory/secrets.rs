//! Wrapped data keys in memory.

use super::{Memory, State};
use crate::error::Result;
use crate::id::TenantId;
use crate::secrets::{Secrets, WrappedKey, other_master, taken_version, unknown_data_key};
use async_trait::async_trait;

#[async_trait]
impl Secrets for Memory {
    async fn add_data_key(&self, key: &WrappedKey) -> Result<()> {
        key.check()?;
        let mut state = self.state()?;
        state.live_tenant(&key.tenant)?;
        if state.next_data_key(&key.tenant) != key.version {
            return Err(taken_version(key));
        }
        state.data_keys.insert((key.tenant.clone(), key.version), Some(key.clone()));
        Ok(())
    }

    async fn next_data_key(&self, tenant: &TenantId) -> Result<u32> {
        Ok(self.state()?.next_data_key(tenant))
    }

    async fn data_key(&self, tenant: &TenantId, version: Option<u32>) -> Result<WrappedKey> {
        let keys = self.data_keys(Some(tenant)).await?;
        let mut keys = keys.into_iter().rev().filter(|key| version.is_none_or(|version| key.version == version));
        keys.next().ok_or_else(|| unknown_data_key(tenant, version))
    }

    async fn data_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<WrappedKey>> {
        let state = self.state()?;
        let live = state.data_keys.values().flatten();
        Ok(live.filter(|key| tenant.is_none_or(|tenant| key.tenant == *tenant)).cloned().collect())
    }

    async fn rewrap_data_key(&self, key: &WrappedKey, from: &str) -> Result<()> {
        key.check()?;
        let mut state = self.state()?;
        let old = state.data_keys.get_mut(&(key.tenant.clone(), key.version)).and_then(Option::as_mut);
        let old = old.ok_or_else(|| unknown_data_key(&key.tenant, Some(key.version)))?;
        if old.master != from {
            return Err(other_master(key));
        }
        old.master.clone_from(&key.master);
        old.wrapped.clone_from(&key.wrapped);
        Ok(())
    }

    async fn shred_data_keys(&self, tenant: &TenantId, _at_ms: i64) -> Result<usize> {
        Ok(self.state()?.shred(tenant))
    }
}

impl State {
    fn next_data_key(&self, tenant: &TenantId) -> u32 {
        let versions = self.data_keys.keys().filter(|(of, _)| of == tenant).map(|(_, version)| *version);
        versions.max().unwrap_or(0) + 1
    }

    pub(super) fn shred(&mut self, tenant: &TenantId) -> usize {
        let live = self.data_keys.iter_mut().filter(|((of, _), key)| of == tenant && key.is_some());
        live.map(|(_, key)| *key = None).count()
    }
}
