//! Versions of models and their aliases in memory.

use super::Memory;
use crate::error::Result;
use crate::id::TenantId;
use crate::registry::{
    Alias, ModelVersion, Registry, archived_version, check_alias, check_version, unknown_version, version_in_use,
};
use async_trait::async_trait;

#[async_trait]
impl Registry for Memory {
    async fn publish_version(&self, version: &ModelVersion) -> Result<ModelVersion> {
        check_version(version)?;
        let mut state = self.state()?;
        state.live_tenant(&version.tenant)?;
        let published = |old: &&ModelVersion| version.job.is_some() && old.job == version.job;
        if let Some(old) = state.versions.iter().find(published) {
            return Ok(old.clone());
        }
        let same = |old: &&ModelVersion| old.tenant == version.tenant && old.name == version.name;
        let last = state.versions.iter().filter(same).map(|old| old.version).max().unwrap_or(0);
        let new = ModelVersion { version: last + 1, archived_at_ms: None, ..version.clone() };
        state.versions.push(new.clone());
        Ok(new)
    }

    async fn model_version(&self, tenant: &TenantId, name: &str, version: u32) -> Result<ModelVersion> {
        let state = self.state()?;
        let this = |old: &&ModelVersion| old.tenant == *tenant && old.name == name && old.version == version;
        state.versions.iter().find(this).cloned().ok_or_else(|| unknown_version(name, version))
    }

    async fn model_versions(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<ModelVersion>> {
        let state = self.state()?;
        let wanted = |old: &&ModelVersion| old.tenant == *tenant && name.is_none_or(|name| old.name == name);
        let mut versions: Vec<_> = state.versions.iter().filter(wanted).cloned().collect();
        versions.sort_by_key(|version| (version.name.clone(), std::cmp::Reverse(version.version)));
        Ok(versions)
    }

    async fn archive_version(&self, tenant: &TenantId, name: &str, version: u32, at_ms: i64) -> Result<()> {
        let used = self.aliases(tenant, Some(name)).await?;
        if let Some(alias) = used.iter().find(|alias| alias.route.versions().any(|used| used == version)) {
            return Err(version_in_use(name, version, &alias.alias));
        }
        let mut state = self.state()?;
        let this = |old: &&mut ModelVersion| old.tenant == *tenant && old.name == name && old.version == version;
        let found = state.versions.iter_mut().find(this).ok_or_else(|| unknown_version(name, version))?;
        found.archived_at_ms.get_or_insert(at_ms);
        Ok(())
    }

    async fn set_alias(&self, alias: &Alias) -> Result<()> {
        check_alias(alias)?;
        for version in alias.route.versions() {
            let found = self.model_version(&alias.tenant, &alias.name, version).await?;
            if found.archived_at_ms.is_some() {
                return Err(archived_version(&alias.name, version));
            }
        }
        let mut state = self.state()?;
        let same = |old: &&Alias| old.tenant == alias.tenant && old.name == alias.name && old.alias == alias.alias;
        let sequence = 1 + state.aliases.iter().filter(same).count() as u64;
        state.aliases.push(Alias { sequence, ..alias.clone() });
        Ok(())
    }

    async fn aliases(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<Alias>> {
        let state = self.state()?;
        let mut found: Vec<Alias> = Vec::new();
        let wanted = |old: &&Alias| old.tenant == *tenant && name.is_none_or(|name| old.name == name);
        for alias in state.aliases.iter().filter(wanted) {
            found.retain(|older| (&older.name, &older.alias) != (&alias.name, &alias.alias));
            found.push(alias.clone());
        }
        found.sort_by_key(|alias| (alias.name.clone(), alias.alias.clone()));
        Ok(found)
    }

    async fn alias_history(&self, tenant: &TenantId, name: &str, alias: &str, rows_max: usize) -> Result<Vec<Alias>> {
        let state = self.state()?;
        let same = |old: &&Alias| old.tenant == *tenant && old.name == name && old.alias == alias;
        Ok(state.aliases.iter().rev().filter(same).take(rows_max).cloned().collect())
    }
}
