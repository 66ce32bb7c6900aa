//! Models of tenants on the wire. Times are seconds since 1970.

use crate::error::ApiError;
use crate::wire::fields::Fields;
use crate::wire::params::Integer;
use orrery_platform::registry::{AliasInfo, PartInfo, RouteChange, VersionInfo};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

const VERSION: Integer = Integer { name: "version", min: 1, max: 4_294_967_295, default: None, about: "" };
const SHADOW: Integer = Integer { name: "shadow", ..VERSION };
const PERCENT: Integer = Integer { name: "percent", min: 1, max: 99, default: None, about: "" };

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartObject {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

impl From<PartInfo> for PartObject {
    fn from(part: PartInfo) -> Self {
        Self { name: part.name, bytes: part.bytes, sha256: part.sha256 }
    }
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VersionObject {
    /// `MODEL@VERSION`, as requests name it.
    pub id: String,
    pub object: &'static str,
    pub name: String,
    pub version: u32,
    pub task: String,
    pub created_at: i64,
    pub archived_at: Option<i64>,
    /// sha256 over the sha256 and name of each file.
    pub digest: String,
    pub files: Vec<PartObject>,
    /// The aliases that lead to it.
    pub aliases: Vec<String>,
    /// The job that made it.
    pub job: Option<String>,
    /// What `orrery.json` says: inputs, labels, metrics, data, training.
    #[schema(value_type = Object)]
    pub description: Value,
}

impl From<VersionInfo> for VersionObject {
    fn from(version: VersionInfo) -> Self {
        Self {
            id: format!("{}@{}", version.name, version.version),
            object: "model.version",
            name: version.name,
            version: version.version,
            task: version.task,
            created_at: version.created_at_ms / 1000,
            archived_at: version.archived_at_ms.map(|at_ms| at_ms / 1000),
            digest: version.digest,
            files: version.files.into_iter().map(PartObject::from).collect(),
            aliases: version.aliases,
            job: version.job,
            description: version.description,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VersionList {
    pub object: &'static str,
    pub data: Vec<VersionObject>,
}

impl VersionList {
    pub fn new(versions: Vec<VersionInfo>) -> Self {
        Self { object: "list", data: versions.into_iter().map(VersionObject::from).collect() }
    }
}

/// A version that answers a part of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CanaryObject {
    pub version: u32,
    pub percent: u8,
}

/// An alias, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AliasObject {
    /// `MODEL@ALIAS`, as requests name it.
    pub id: String,
    pub object: &'static str,
    pub model: String,
    pub alias: String,
    pub version: u32,
    pub canary: Option<CanaryObject>,
    pub shadow: Option<u32>,
    /// How often it was set.
    pub sequence: u64,
    pub set_at: i64,
}

impl From<AliasInfo> for AliasObject {
    fn from(alias: AliasInfo) -> Self {
        Self {
            id: format!("{}@{}", alias.model, alias.alias),
            object: "model.alias",
            model: alias.model,
            alias: alias.alias,
            version: alias.version,
            canary: alias.canary.map(|(version, percent)| CanaryObject { version, percent }),
            shadow: alias.shadow,
            sequence: alias.sequence,
            set_at: alias.set_at_ms / 1000,
        }
    }
}

/// The body that leads an alias.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for OpenAPI")]
pub struct AliasBody {
    /// The version that answers.
    version: u32,
    /// One that answers a part of the requests instead: `version` and `percent`, 1 to 99.
    #[schema(value_type = Option<Object>)]
    canary: Option<Value>,
    /// Not built yet: one that gets a copy of each request.
    shadow: Option<u32>,
}

/// # Errors
/// A field is missing, out of range, unknown, or not built yet.
pub fn route(mut fields: Fields) -> Result<RouteChange, ApiError> {
    let version = fields.integer(&VERSION)?.ok_or_else(|| fields.missing("version"))?;
    let canary = match fields.object("canary")? {
        None => None,
        Some(mut canary) => {
            let version = canary.integer(&VERSION)?.ok_or_else(|| canary.missing("version"))?;
            let percent = canary.integer(&PERCENT)?.ok_or_else(|| canary.missing("percent"))?;
            canary.finish()?;
            Some((narrow(version), u8::try_from(percent).unwrap_or(u8::MAX)))
        }
    };
    if fields.integer(&SHADOW)?.is_some() {
        return Err(ApiError::unsupported("shadow", "`shadow` is not built yet; leave it out."));
    }
    fields.finish()?;
    Ok(RouteChange { version: narrow(version), canary, shadow: None })
}

fn narrow(version: i64) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}
