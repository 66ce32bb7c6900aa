//! The registry: models that tenants have trained or brought, their versions, and the aliases that lead to them.
//!
//! A version never changes. What requests name is `MODEL` (its alias `production`, or else its newest version),
//! `MODEL@ALIAS` or `MODEL@NUMBER`. Must not know: HTTP, what is in an artefact's files. Start at [`Registry::resolve`].

mod import;
mod info;
mod manifest;
mod publish;
mod selector;

pub use info::{AliasInfo, PartInfo, RouteChange, VersionInfo};
pub use publish::{NewPart, NewVersion};
pub use selector::Selector;

use crate::Error;
use crate::access::Action;
use crate::accounts::{Principal, note, now_ms};
use crate::files::{FileInfo, Files, Reader};
use manifest::Manifest;
use orrery_store::{Alias, ModelVersion, Route, Store, TenantId};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The alias that a model's bare name leads to.
pub const PRODUCTION: &str = "production";
/// How far back a rollback looks.
const HISTORY_MAX: usize = 64;

/// The models of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    files: Files,
}

/// Where a request's name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Whose model it is.
    pub tenant: String,
    pub name: String,
    pub route: Route,
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn Store>, files: Files) -> Self {
        Self { store, files }
    }

    /// All versions of all the tenant's models, or of one: by name, then the newest first.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`: there is no model of that name.
    pub async fn versions(&self, by: &Principal, name: Option<&str>) -> Result<Vec<VersionInfo>, Error> {
        by.check(Action::ReadModels)?;
        let tenant = &by.tenant.id;
        let versions = self.store.model_versions(tenant, name).await?;
        if let (Some(name), true) = (name, versions.is_empty()) {
            return Err(unknown_model(name));
        }
        let aliases = self.store.aliases(tenant, name).await?;
        versions.iter().map(|version| VersionInfo::of(version, &aliases)).collect()
    }

    /// One version: `MODEL`, `MODEL@ALIAS` or `MODEL@NUMBER`.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn version(&self, by: &Principal, text: &str) -> Result<VersionInfo, Error> {
        by.check(Action::ReadModels)?;
        let resolved = self.resolve(&by.tenant.id, text).await?;
        let version = self.store.model_version(&by.tenant.id, &resolved.name, resolved.route.version).await?;
        let aliases = self.store.aliases(&by.tenant.id, Some(&resolved.name)).await?;
        VersionInfo::of(&version, &aliases)
    }

    /// One of a version's files and its content.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn open_part(&self, by: &Principal, text: &str, part: &str) -> Result<(FileInfo, Reader), Error> {
        by.check(Action::ManageModels)?;
        let resolved = self.resolve(&by.tenant.id, text).await?;
        self.open_part_of(&by.tenant.id, &resolved.name, resolved.route.version, part).await
    }

    /// The same for a server that runs the model for its tenant.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn open_part_of(
        &self,
        tenant: &TenantId,
        name: &str,
        version: u32,
        part: &str,
    ) -> Result<(FileInfo, Reader), Error> {
        let manifest = Manifest::of(&self.store.model_version(tenant, name, version).await?)?;
        let named = manifest.files.iter().find(|file| file.name == part).ok_or_else(|| {
            let names: Vec<_> = manifest.files.iter().map(|file| file.name.as_str()).collect();
            let shown = crate::reference::shown(part);
            Error::NotFound(format!("version {version} of `{name}` has no file `{shown}`; it has {}", names.join(", ")))
        })?;
        self.files.open_part(tenant, &named.id).await
    }

    /// A version that can be used, by its number.
    pub(crate) async fn stored(&self, tenant: &TenantId, name: &str, version: u32) -> Result<ModelVersion, Error> {
        self.usable(tenant, name, version).await
    }

    /// All files of a version, in memory.
    pub(crate) async fn parts_of(
        &self,
        tenant: &TenantId,
        version: &ModelVersion,
        bytes_max: usize,
    ) -> Result<BTreeMap<String, Arc<[u8]>>, Error> {
        let mut parts = BTreeMap::new();
        for file in Manifest::of(version)?.files {
            let (_, reader) = self.files.open_part(tenant, &file.id).await?;
            parts.insert(file.name, reader.read(bytes_max).await?.into());
        }
        Ok(parts)
    }

    /// Where a name leads, for a tenant.
    ///
    /// # Errors
    /// `NotFound`: the tenant has no such model, alias or version.
    pub async fn resolve(&self, tenant: &TenantId, text: &str) -> Result<Resolved, Error> {
        let (name, selector) = Selector::read(text).ok_or_else(|| unknown_model(text))?;
        let route = match &selector {
            Selector::Version(version) => Route::to(self.usable(tenant, name, *version).await?.version),
            Selector::Alias(alias) => self.alias(tenant, name, alias).await?.route,
            Selector::Bare => match self.alias(tenant, name, PRODUCTION).await {
                Ok(alias) => alias.route,
                Err(Error::NotFound(_)) => Route::to(self.newest(tenant, name).await?),
                Err(error) => return Err(error),
            },
        };
        Ok(Resolved { tenant: tenant.to_string(), name: name.to_owned(), route })
    }

    /// Leads an alias to one version, all of its requests at once.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Conflict`: the version is archived; `BadInput`: the alias is no name.
    pub async fn promote(&self, by: &Principal, name: &str, alias: &str, version: u32) -> Result<AliasInfo, Error> {
        self.route(by, name, alias, RouteChange { version, canary: None, shadow: None }).await
    }

    /// Leads an alias to a version, a part of its requests to another, and copies of them to a third.
    ///
    /// # Errors
    /// As [`Registry::promote`].
    pub async fn route(
        &self,
        by: &Principal,
        name: &str,
        alias: &str,
        change: RouteChange,
    ) -> Result<AliasInfo, Error> {
        let route = Route { version: change.version, canary: change.canary, shadow: change.shadow };
        self.set(by, name, alias, route, "model.route").await
    }

    /// Leads an alias back to where it led before it led where it does: the last time that all was set otherwise.
    ///
    /// # Errors
    /// As [`Registry::promote`]; `Conflict`: it has never led elsewhere.
    pub async fn roll_back(&self, by: &Principal, name: &str, alias: &str) -> Result<AliasInfo, Error> {
        by.check(Action::ManageModels)?;
        let history = self.store.alias_history(&by.tenant.id, name, alias, HISTORY_MAX).await?;
        let now = history.first().ok_or_else(|| unknown_alias(name, alias))?;
        let before = history.iter().find(|entry| entry.route != now.route).ok_or_else(|| {
            Error::Conflict(format!(
                "the alias `{alias}` of `{name}` has never led elsewhere; promote a version instead"
            ))
        })?;
        self.set(by, name, alias, before.route.clone(), "model.roll_back").await
    }

    /// Takes a version out of use. It can still be downloaded.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Conflict`: an alias leads to it.
    pub async fn archive(&self, by: &Principal, name: &str, version: u32) -> Result<VersionInfo, Error> {
        by.check(Action::ManageModels)?;
        let tenant = &by.tenant.id;
        self.store.model_version(tenant, name, version).await?;
        let details = Map::from_iter([("version".to_owned(), json!(version))]);
        note(self.store.as_ref(), by, "model.archive", Some(tenant), name, details).await?;
        self.store.archive_version(tenant, name, version, now_ms()).await?;
        VersionInfo::of(&self.store.model_version(tenant, name, version).await?, &[])
    }

    async fn set(
        &self,
        by: &Principal,
        name: &str,
        alias: &str,
        route: Route,
        action: &'static str,
    ) -> Result<AliasInfo, Error> {
        by.check(Action::ManageModels)?;
        let tenant = &by.tenant.id;
        // Before it is noted: what cannot be is no action.
        self.store.model_version(tenant, name, route.version).await?;
        let mut details = Map::from_iter([("alias".to_owned(), json!(crate::reference::shown(alias)))]);
        details.insert("version".to_owned(), json!(route.version));
        if let Some((version, percent)) = route.canary {
            details.insert("canary".to_owned(), json!({ "version": version, "percent": percent }));
        }
        if let Some(version) = route.shadow {
            details.insert("shadow".to_owned(), json!(version));
        }
        note(self.store.as_ref(), by, action, Some(tenant), name, details).await?;
        let set = Alias {
            tenant: tenant.clone(),
            name: name.to_owned(),
            alias: alias.to_owned(),
            sequence: 0,
            route,
            at_ms: now_ms(),
            key: by.key.id.clone(),
        };
        self.store.set_alias(&set).await?;
        Ok(self.alias(tenant, name, alias).await?.into())
    }

    async fn alias(&self, tenant: &TenantId, name: &str, alias: &str) -> Result<Alias, Error> {
        let aliases = self.store.aliases(tenant, Some(name)).await?;
        aliases.into_iter().find(|entry| entry.alias == alias).ok_or_else(|| unknown_alias(name, alias))
    }

    async fn newest(&self, tenant: &TenantId, name: &str) -> Result<u32, Error> {
        let versions = self.store.model_versions(tenant, Some(name)).await?;
        let newest = versions.iter().find(|version| version.archived_at_ms.is_none());
        newest.map(|version| version.version).ok_or_else(|| unknown_model(name))
    }

    async fn usable(&self, tenant: &TenantId, name: &str, version: u32) -> Result<ModelVersion, Error> {
        let found = self.store.model_version(tenant, name, version).await?;
        if found.archived_at_ms.is_some() {
            return Err(Error::NotFound(format!("version {version} of the model `{name}` is archived")));
        }
        Ok(found)
    }
}

fn unknown_model(name: &str) -> Error {
    Error::NotFound(format!("there is no model `{}`", crate::reference::shown(name)))
}

fn unknown_alias(name: &str, alias: &str) -> Error {
    let (name, alias) = (crate::reference::shown(name), crate::reference::shown(alias));
    Error::NotFound(format!("the model `{name}` has no alias `{alias}`"))
}
