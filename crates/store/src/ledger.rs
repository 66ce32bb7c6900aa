//! The ledger: one row for each request that was served, and sums over them.

use crate::error::{Error, Result, check_range, check_text};
use crate::id::{KeyId, TenantId};
use crate::names::names;
use crate::prices::MODEL_BYTES_MAX;
use crate::tenants::COUNT_MAX;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The most rows of one [`Ledger::append`].
pub const APPEND_ROWS_MAX: usize = 1_000;
/// The most groups that [`Ledger::usage`] gives.
pub const USAGE_GROUPS_MAX: usize = 100_000;
/// A day (UTC), in milliseconds.
pub const DAY_MS: i64 = 86_400_000;
/// The longest request id and endpoint, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// One request. Times are milliseconds since 1970 (`_ms`) or durations in microseconds (`_us`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The request's id: ours, unique for ever.
    pub id: String,
    /// Who pays.
    pub tenant: TenantId,
    /// The key that was used; it may be gone by now.
    pub key: KeyId,
    /// The id by which the request named the model.
    pub model: String,
    /// Digest of the model's file; may be empty.
    pub version: String,
    /// The route, such as `chat.completions`.
    pub endpoint: String,
    /// Tokens of the prompt, cached ones too.
    pub input_tokens: u64,
    /// Of these, found in the prefix cache.
    pub cached_tokens: u64,
    /// Tokens that were produced, whether or not the client took them.
    pub output_tokens: u64,
    /// Time in the queue.
    pub queue_us: u64,
    /// Time until the first token, without the queue.
    pub prefill_us: u64,
    /// Time from the first token to the last.
    pub decode_us: u64,
    /// Nano-units of the operator's currency.
    pub cost_nano: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it came. Sums by time go by this.
    pub started_at_ms: i64,
    /// When its last event went out.
    pub ended_at_ms: i64,
}

impl UsageRow {
    /// Both stores call this before they write; whoever makes rows can ask beforehand.
    ///
    /// # Errors
    /// `BadInput`: a field is out of bounds, and the ledger would never take the row.
    pub fn check(&self) -> Result<()> {
        if self.id.is_empty() {
            return Err(Error::BadInput("a row of usage needs the id of its request".into()));
        }
        check_text("id", &self.id, TEXT_BYTES_MAX)?;
        check_text("model", &self.model, MODEL_BYTES_MAX)?;
        check_text("version", &self.version, TEXT_BYTES_MAX)?;
        check_text("endpoint", &self.endpoint, TEXT_BYTES_MAX)?;
        check_range("cached_tokens", self.cached_tokens, 0..=self.input_tokens)?;
        for (field, value) in [
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
            ("queue_us", self.queue_us),
            ("prefill_us", self.prefill_us),
            ("decode_us", self.decode_us),
            ("cost_nano", self.cost_nano),
        ] {
            check_range(field, value, 0..=COUNT_MAX)?;
        }
        // Days are whole quotients, and these round towards zero below it.
        check_range("started_at_ms", self.started_at_ms.try_into().unwrap_or(u64::MAX), 0..=COUNT_MAX)
    }
}

/// Checks the rows of one append, for both stores.
pub(crate) fn check_rows(rows: &[UsageRow]) -> Result<()> {
    check_range("rows", rows.len() as u64, 0..=APPEND_ROWS_MAX as u64)?;
    rows.iter().try_for_each(UsageRow::check)
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The model finished, or a limit on tokens was reached.
    Completed,
    /// The client went away.
    Cancelled,
    /// The service failed.
    Failed,
    /// The service stopped in the middle.
    Interrupted,
}

names!(
    Outcome,
    "outcome",
    Completed = "completed",
    Cancelled = "cancelled",
    Failed = "failed",
    Interrupted = "interrupted",
);

/// A column by which sums are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By tenant.
    Tenant,
    /// By key.
    Key,
    /// By model.
    Model,
    /// By day (UTC) of `started_at_ms`.
    Day,
}

names!(GroupBy, "column to group by", Tenant = "tenant", Key = "key", Model = "model", Day = "day");

/// Which rows are summed, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// Of this tenant alone.
    pub tenant: Option<TenantId>,
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// Of this model alone.
    pub model: Option<String>,
    /// Started at or after.
    pub since_ms: Option<i64>,
    /// Started before.
    pub until_ms: Option<i64>,
    /// Any of the columns, in any order. None gives one sum over all.
    pub group_by: Vec<GroupBy>,
}

impl UsageQuery {
    /// The grouping columns in the order of the result, each once.
    pub(crate) fn columns(&self) -> Vec<GroupBy> {
        let columns: std::collections::BTreeSet<GroupBy> = self.group_by.iter().copied().collect();
        columns.into_iter().collect()
    }
}

/// Sums over the rows of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSum {
    /// Set when grouped by it.
    pub tenant: Option<TenantId>,
    /// Set when grouped by it.
    pub key: Option<KeyId>,
    /// Set when grouped by it.
    pub model: Option<String>,
    /// The beginning of the day (UTC), in milliseconds since 1970. Set when grouped by it.
    pub day_ms: Option<i64>,
    /// Rows.
    pub requests: u64,
    /// Rows that ended as [`Outcome::Completed`].
    pub completed: u64,
    /// Cached ones too.
    pub input_tokens: u64,
    /// Of these, from the prefix cache.
    pub cached_tokens: u64,
    /// Tokens that were produced.
    pub output_tokens: u64,
    /// Sum of the times in the queue.
    pub queue_us: u64,
    /// Sum of the times of prefill.
    pub prefill_us: u64,
    /// Sum of the times of decoding.
    pub decode_us: u64,
    /// Nano-units of the operator's currency.
    pub cost_nano: u64,
}

/// What counts against a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Input (cached ones too) and output tokens.
    pub tokens: u64,
    /// Nano-units of the operator's currency.
    pub cost_nano: u64,
}

/// The ledger. Rows come and stay; nothing changes or removes one.
#[async_trait]
pub trait Ledger: std::fmt::Debug + Send + Sync {
    /// Appends rows in one transaction: all, or on an error none. Durable when it returns. A row whose id is there
    /// already is passed over, so that a caller that does not know whether it was written can send it again. Returns
    /// how many were new. The tenant need not exist: what was served is billed.
    ///
    /// # Errors
    /// `BadInput`: over [`APPEND_ROWS_MAX`] rows, or a field is out of bounds. `Full`, `Unavailable`: send them again.
    async fn append_usage(&self, rows: &[UsageRow]) -> Result<usize>;

    /// # Errors
    /// `NotFound`.
    async fn usage_row(&self, id: &str) -> Result<UsageRow>;

    /// Sums over the rows that `query` selects, in the order of the grouping columns (tenant, key, model, day). Without
    /// grouping it is one sum, of zeros if there are no rows.
    ///
    /// # Errors
    /// `BadInput`: more than [`USAGE_GROUPS_MAX`] groups.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageSum>>;

    /// What a tenant, or one key of it, has spent on requests that started at `since_ms` or later. It reads an index
    /// that holds all it needs.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn spent(&self, tenant: &TenantId, key: Option<&KeyId>, since_ms: i64) -> Result<Spent>;
}

pub(crate) fn unknown_request(id: &str) -> Error {
    Error::NotFound(format!("there is no usage of a request {id:?}"))
}

pub(crate) fn too_many_groups() -> Error {
    Error::BadInput(format!(
        "the sums have over {USAGE_GROUPS_MAX} groups; ask for a shorter time, or group by fewer columns"
    ))
}
