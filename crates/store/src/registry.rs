//! The registry of models that tenants have made or brought: versions that never change, and names for them that do.

use crate::error::{Error, Result, check_text};
use crate::id::{JobId, KeyId, TenantId};
use async_trait::async_trait;

/// The longest name of a model and of an alias, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 64;
/// The longest manifest of a version, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// One version of a model. It never changes, but for being archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// Whose it is.
    pub tenant: TenantId,
    /// The model's name, one in each tenant.
    pub name: String,
    /// From 1, in the order in which they were published; given by the store.
    pub version: u32,
    /// When it was published, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// The key that published it.
    pub key: KeyId,
    /// The hub's name of what it is for.
    pub task: String,
    /// Digest of all its files: the sha256 of the manifest's list.
    pub digest: String,
    /// Its files, where they are, and its description: JSON that the store does not read.
    pub manifest: String,
    /// The job that made it.
    pub job: Option<JobId>,
    /// Since when it is out of use.
    pub archived_at_ms: Option<i64>,
}

/// Which versions answer to an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The one that answers.
    pub version: u32,
    /// One that answers a part of the requests instead, and how many in a hundred.
    pub canary: Option<(u32, u8)>,
    /// One that gets a copy of each request; its answers are compared and dropped.
    pub shadow: Option<u32>,
}

impl Route {
    /// All requests to one version.
    pub fn to(version: u32) -> Self {
        Self { version, canary: None, shadow: None }
    }

    /// Every version that it names.
    pub fn versions(&self) -> impl Iterator<Item = u32> + '_ {
        [Some(self.version), self.canary.map(|canary| canary.0), self.shadow].into_iter().flatten()
    }
}

/// A name for versions of a model, as it was set at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Whose it is.
    pub tenant: TenantId,
    /// The model.
    pub name: String,
    /// The alias, such as `production`.
    pub alias: String,
    /// From 1 for each alias: how often it was set.
    pub sequence: u64,
    /// Where it leads.
    pub route: Route,
    /// When it was set.
    pub at_ms: i64,
    /// By whom.
    pub key: KeyId,
}

/// Models of tenants. Contract as for [`Tenants`](crate::Tenants); erasing a tenant deletes its models.
#[async_trait]
pub trait Registry: std::fmt::Debug + Send + Sync {
    /// Adds the next version of a model, whatever number it holds, and gives it as it is kept. A job publishes once: again
    /// gives the version that it has published.
    ///
    /// # Errors
    /// `BadInput`; `NotFound`: there is no such tenant; `Conflict`: it was erased.
    async fn publish_version(&self, version: &ModelVersion) -> Result<ModelVersion>;

    /// # Errors
    /// `NotFound`.
    async fn model_version(&self, tenant: &TenantId, name: &str, version: u32) -> Result<ModelVersion>;

    /// All versions of all models of a tenant, or of one model; by name, then the newest first.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn model_versions(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<ModelVersion>>;

    /// Takes a version out of use. Again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`: an alias leads to it.
    async fn archive_version(&self, tenant: &TenantId, name: &str, version: u32, at_ms: i64) -> Result<()>;

    /// Sets an alias, whatever sequence it holds. What it was before stays on record.
    ///
    /// # Errors
    /// `BadInput`; `NotFound`: there is no such version; `Conflict`: one of them is archived.
    async fn set_alias(&self, alias: &Alias) -> Result<()>;

    /// The aliases of a tenant as they are now, or of one of its models; by model and alias.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn aliases(&self, tenant: &TenantId, name: Option<&str>) -> Result<Vec<Alias>>;

    /// How an alias was set, the newest first, at most `rows_max`.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn alias_history(&self, tenant: &TenantId, name: &str, alias: &str, rows_max: usize) -> Result<Vec<Alias>>;
}

/// Whether a text can name a model or an alias: 1 to 64 small letters, digits, `.`, `_` and `-`, beginning with a letter
/// or digit.
///
/// # Errors
/// `BadInput`, which names `field`.
pub fn check_model_name(field: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || matches!(byte, b'.' | b'_' | b'-');
    if name.len() <= MODEL_NAME_BYTES_MAX && name.bytes().next().is_some_and(plain) && name.bytes().all(inner) {
        return Ok(());
    }
    let shown: String = name.chars().take(MODEL_NAME_BYTES_MAX).collect();
    Err(Error::BadInput(format!(
        "`{field}` {shown:?}: a name has 1 to {MODEL_NAME_BYTES_MAX} small letters, digits, `.`, `_` and `-`, and begins \
         with a letter or digit"
    )))
}

/// Both stores call these before they write.
pub(crate) fn check_version(version: &ModelVersion) -> Result<()> {
    check_model_name("name", &version.name)?;
    check_text("task", &version.task, 64)?;
    check_text("digest", &version.digest, 80)?;
    if version.manifest.len() > MANIFEST_BYTES_MAX {
        let bytes = version.manifest.len();
        return Err(Error::BadInput(format!(
            "the description of the model has {bytes} bytes, and at most {MANIFEST_BYTES_MAX} are allowed"
        )));
    }
    Ok(())
}

pub(crate) fn check_alias(alias: &Alias) -> Result<()> {
    check_model_name("alias", &alias.alias)?;
    if alias.alias.bytes().all(|byte| byte.is_ascii_digit()) {
        let alias = &alias.alias;
        return Err(Error::BadInput(format!("`alias` {alias:?}: digits alone name a version; add a letter")));
    }
    match alias.route.canary {
        Some((_, percent @ (0 | 100..))) => Err(Error::BadInput(format!(
            "`canary.percent` {percent} is not in the range 1 to 99; to send all requests to a version, promote it"
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn unknown_version(name: &str, version: u32) -> Error {
    Error::NotFound(format!("there is no version {version} of the model {name:?}"))
}

pub(crate) fn archived_version(name: &str, version: u32) -> Error {
    Error::Conflict(format!("version {version} of the model {name:?} is archived; choose another"))
}

pub(crate) fn version_in_use(name: &str, version: u32, alias: &str) -> Error {
    Error::Conflict(format!(
        "version {version} of the model {name:?} is in use: the alias {alias:?} leads to it; lead it to another first"
    ))
}
