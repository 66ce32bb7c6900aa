//! Tenants: who uses the service, with what limits, and what may be kept of what they send.

use crate::error::{Error, Result, check_range, check_text};
use crate::id::TenantId;
use crate::names::names;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The longest name of a tenant or a key, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// The largest fair share.
pub const WEIGHT_MAX: u32 = 1000;
/// The fair share of a new tenant.
pub const WEIGHT_DEFAULT: u32 = 100;
/// The largest count of tokens, microseconds or nano-units in one row: whole numbers up to here are exact in JSON.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// A tenant: a team or a customer. All that belongs to it is named by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Never changes.
    pub id: TenantId,
    /// For people; empty once erased.
    pub name: String,
    /// Milliseconds since 1970, UTC.
    pub created_at_ms: i64,
    /// Its share of the machine beside the others', 1 to 1000.
    pub weight: u32,
    /// The share of KV blocks that is kept for it, in percent of all.
    pub kv_floor_percent: u32,
    /// Over all of its keys.
    pub limits: Limits,
    /// What happens to personal data.
    pub redaction: Redaction,
    /// How long prompts and answers are kept, in days. 0 keeps nothing.
    pub retention_days: u32,
    /// Its keys are refused while this is set.
    pub suspended: bool,
    /// When it was erased. Its row stays, since the ledger names it.
    pub erased_at_ms: Option<i64>,
}

impl Tenant {
    /// A tenant without limits, that keeps nothing.
    pub fn new(id: TenantId, name: impl Into<String>, created_at_ms: i64) -> Self {
        Self {
            id,
            name: name.into(),
            created_at_ms,
            weight: WEIGHT_DEFAULT,
            kv_floor_percent: 0,
            limits: Limits::default(),
            redaction: Redaction::default(),
            retention_days: 0,
            suspended: false,
            erased_at_ms: None,
        }
    }

    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("name", &self.name, NAME_BYTES_MAX)?;
        check_range("weight", self.weight.into(), 1..=WEIGHT_MAX.into())?;
        check_range("kv_floor_percent", self.kv_floor_percent.into(), 0..=100)?;
        check_range("retention_days", self.retention_days.into(), 0..=36_500)?;
        self.limits.check()
    }
}

/// Bounds of a tenant or of one key. `None` is no bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests that begin within a minute.
    pub requests_per_minute: Option<u64>,
    /// Input and output tokens within a minute.
    pub tokens_per_minute: Option<u64>,
    /// Requests at one time.
    pub concurrent_requests: Option<u64>,
    /// Its part of the places in the queue, in percent.
    pub queue_share_percent: Option<u64>,
    /// Input and output tokens within a calendar month (UTC).
    pub month_tokens: Option<u64>,
    /// Cost within a calendar month (UTC), in nano-units of the operator's currency.
    pub month_cost_nano: Option<u64>,
}

impl Limits {
    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        for (field, value, most) in [
            ("requests_per_minute", self.requests_per_minute, COUNT_MAX),
            ("tokens_per_minute", self.tokens_per_minute, COUNT_MAX),
            ("concurrent_requests", self.concurrent_requests, COUNT_MAX),
            ("queue_share_percent", self.queue_share_percent, 100),
            ("month_tokens", self.month_tokens, COUNT_MAX),
            ("month_cost_nano", self.month_cost_nano, COUNT_MAX),
        ] {
            check_range(field, value.unwrap_or(0), 0..=most)?;
        }
        Ok(())
    }
}

/// What happens to personal data on its way in and out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// In what a client sends.
    pub request: RedactionMode,
    /// In what a model answers.
    pub response: RedactionMode,
}

/// One direction of [`Redaction`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedactionMode {
    /// Nothing is looked for.
    #[default]
    Off,
    /// What is found is replaced.
    Mask,
    /// A text with a finding is refused.
    Refuse,
}

names!(RedactionMode, "mode of redaction", Off = "off", Mask = "mask", Refuse = "refuse");

/// The tenants.
///
/// Contract: every call is one transaction, and durable when it returns `Ok`. A change adds to
/// [`Changes::changes`](crate::Changes::changes), as it is seen by every process.
#[async_trait]
pub trait Tenants: std::fmt::Debug + Send + Sync {
    /// Adds a tenant.
    ///
    /// # Errors
    /// `BadInput`: a field is out of bounds. `Conflict`: the id is taken, by an erased tenant too.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()>;

    /// # Errors
    /// `NotFound`.
    async fn tenant(&self, id: &TenantId) -> Result<Tenant>;

    /// All tenants, erased ones too, oldest first.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn tenants(&self) -> Result<Vec<Tenant>>;

    /// Replaces all but `id`, `created_at_ms` and `erased_at_ms`, which keep what they are.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`. `Conflict`: it is erased.
    async fn update_tenant(&self, tenant: &Tenant) -> Result<()>;

    /// Erases what is known about a tenant: its name, limits, keys and files with their names go, and so do its wrapped
    /// data keys, without which its blobs are noise. The bytes are overwritten in the database's file, free pages and
    /// write-ahead log too. The ledger's rows stay: they hold ids and numbers alone. Again is no error.
    ///
    /// # Errors
    /// `NotFound`. `Unavailable`: it is erased, but another process keeps old pages in use; call again.
    async fn erase_tenant(&self, id: &TenantId, at_ms: i64) -> Result<()>;
}

pub(crate) fn unknown_tenant(id: &TenantId) -> Error {
    Error::NotFound(format!("there is no tenant `{id}`"))
}

pub(crate) fn erased_tenant(id: &TenantId) -> Error {
    Error::Conflict(format!("the tenant `{id}` is erased; make a new one"))
}

pub(crate) fn taken_tenant(id: &TenantId) -> Error {
    Error::Conflict(format!("there is a tenant `{id}` already; choose another id"))
}
