//! Models as they are shown.

use super::manifest::Manifest;
use crate::Error;
use orrery_store::{Alias, ModelVersion};
use serde_json::Value;

/// A version of a model. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionInfo {
    pub name: String,
    pub version: u32,
    pub task: String,
    pub created_at_ms: i64,
    pub archived_at_ms: Option<i64>,
    /// Of all its files together, in hexadecimal.
    pub digest: String,
    pub files: Vec<PartInfo>,
    /// `orrery.json`: inputs, labels, metrics, where it comes from.
    pub description: Value,
    /// The job that made it.
    pub job: Option<String>,
    /// The aliases that lead all or a part of their requests to it.
    pub aliases: Vec<String>,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

impl VersionInfo {
    pub(super) fn of(version: &ModelVersion, aliases: &[Alias]) -> Result<Self, Error> {
        let Manifest { files, description } = Manifest::of(version)?;
        let leads = |alias: &&Alias| {
            let answers = [Some(alias.route.version), alias.route.canary.map(|canary| canary.0)];
            alias.name == version.name && answers.contains(&Some(version.version))
        };
        Ok(Self {
            name: version.name.clone(),
            version: version.version,
            task: version.task.clone(),
            created_at_ms: version.created_at_ms,
            archived_at_ms: version.archived_at_ms,
            digest: version.digest.clone(),
            files: files
                .into_iter()
                .map(|file| PartInfo { name: file.name, bytes: file.bytes, sha256: file.sha256 })
                .collect(),
            description,
            job: version.job.as_ref().map(ToString::to_string),
            aliases: aliases.iter().filter(leads).map(|alias| alias.alias.clone()).collect(),
        })
    }
}

/// An alias as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasInfo {
    pub model: String,
    pub alias: String,
    pub version: u32,
    /// A version and the percentage of the requests that it answers.
    pub canary: Option<(u32, u8)>,
    pub shadow: Option<u32>,
    /// How often it was set.
    pub sequence: u64,
    pub set_at_ms: i64,
}

impl From<Alias> for AliasInfo {
    fn from(alias: Alias) -> Self {
        Self {
            model: alias.name,
            alias: alias.alias,
            version: alias.route.version,
            canary: alias.route.canary,
            shadow: alias.route.shadow,
            sequence: alias.sequence,
            set_at_ms: alias.at_ms,
        }
    }
}

/// Where an alias is to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteChange {
    pub version: u32,
    /// A version and the percentage of the requests that it answers, 1 to 99.
    pub canary: Option<(u32, u8)>,
    pub shadow: Option<u32>,
}
