//! How a version comes into the registry: all of its files, then its row. Until the row is there nobody sees it.

use super::manifest::{Manifest, PartEntry};
use super::{Registry, VersionInfo};
use crate::Error;
use crate::accounts::now_ms;
use bytes::Bytes;
use orrery_store::{JobId, KeyId, ModelVersion, TenantId, check_model_name};
use serde_json::Value;

/// Files of one version.
const PARTS_MAX: usize = 64;

/// A version before it is published.
#[derive(Debug, Clone)]
pub struct NewVersion {
    pub(crate) tenant: TenantId,
    pub(crate) key: KeyId,
    pub name: String,
    pub task: String,
    pub description: Value,
    pub parts: Vec<NewPart>,
    pub(crate) job: Option<JobId>,
}

/// A file of a version before it is published.
#[derive(Debug, Clone)]
pub struct NewPart {
    pub name: String,
    pub content: Bytes,
}

impl Registry {
    /// Publishes a version. A job publishes once: again gives the version that it has published.
    ///
    /// # Errors
    /// `BadInput`: the name, or too many files; `Limited`: the tenant's models would be too large; `NoSpace`.
    pub(crate) async fn publish(&self, new: NewVersion) -> Result<VersionInfo, Error> {
        check_model_name("name", &new.name)?;
        if new.parts.is_empty() || new.parts.len() > PARTS_MAX {
            let count = new.parts.len();
            return Err(Error::bad_input(format!("a model has 1 to {PARTS_MAX} files, and this one has {count}")));
        }
        let mut kept = Vec::new();
        let published = self.publish_parts(&new, &mut kept).await;
        let named = |id: &str, version: &ModelVersion| version.manifest.contains(id);
        let strays = kept.iter().filter(|part| !published.as_ref().is_ok_and(|version| named(&part.id, version)));
        for part in strays {
            self.files.drop_part(&new.tenant, &part.id).await;
        }
        VersionInfo::of(&published?, &[])
    }

    async fn publish_parts(&self, new: &NewVersion, kept: &mut Vec<PartEntry>) -> Result<ModelVersion, Error> {
        for part in &new.parts {
            let file = self.files.keep_part(&new.tenant, &part.name, part.content.clone()).await?;
            let (id, bytes, sha256) = (file.id, file.bytes, file.sha256);
            kept.push(PartEntry { name: part.name.clone(), id, bytes, sha256 });
        }
        let manifest = Manifest { files: kept.clone(), description: new.description.clone() };
        let text = serde_json::to_string(&manifest).map_err(|error| Error::internal(format!("a manifest: {error}")))?;
        let version = ModelVersion {
            tenant: new.tenant.clone(),
            name: new.name.clone(),
            version: 0,
            created_at_ms: now_ms(),
            key: new.key.clone(),
            task: new.task.clone(),
            digest: manifest.digest(),
            manifest: text,
            job: new.job.clone(),
            archived_at_ms: None,
        };
        Ok(self.store.publish_version(&version).await?)
    }
}
