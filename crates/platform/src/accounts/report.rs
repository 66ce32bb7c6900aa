//! What the ledger and the audit log tell.

use super::Accounts;
use super::keys::of;
use super::principal::Principal;
use crate::Error;
use crate::access::Action;
use orrery_store::{AuditQuery, AuditVerdict as StoreVerdict, GroupBy, KeyId, Role, TenantId, UsageQuery, UsageSum};
use serde_json::{Map, Value};

/// Which usage is summed. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRequest {
    pub tenant: Option<String>,
    pub key: Option<String>,
    pub model: Option<String>,
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
    /// Of `tenant`, `key`, `model` and `day`.
    pub group_by: Vec<String>,
}

/// Sums of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageInfo {
    pub tenant: Option<String>,
    pub key: Option<String>,
    pub model: Option<String>,
    /// The beginning of the day (UTC), in milliseconds since 1970.
    pub day_ms: Option<i64>,
    pub requests: u64,
    pub completed: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    pub queue_us: u64,
    pub prefill_us: u64,
    pub decode_us: u64,
    /// Billionths of the operator's currency.
    pub cost_nano: u64,
}

/// One row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditInfo {
    pub sequence: u64,
    pub at_ms: i64,
    pub actor: String,
    pub tenant: Option<String>,
    pub action: String,
    pub subject: String,
    pub details: Map<String, Value>,
    /// Hexadecimal.
    pub hash: String,
}

/// Which rows of the audit log are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    pub tenant: Option<String>,
    /// Rows with a smaller number alone.
    pub before: Option<u64>,
    pub rows_max: usize,
}

/// Whether the audit log is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// `hash` of the last row, hexadecimal.
    Intact { rows: u64, hash: String },
    /// The first row that is not as it was written, and what is wrong with it.
    Broken { sequence: u64, fault: String },
}

impl Accounts {
    /// Sums of usage. A platform admin sees all; others their tenant's, and who may only call models their own key's.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`: another tenant's; `BadInput`.
    pub async fn usage(&self, by: &Principal, request: UsageRequest) -> Result<Vec<UsageInfo>, Error> {
        by.check(Action::ReadUsage)?;
        let mut query = UsageQuery {
            tenant: parsed::<TenantId>("tenant", request.tenant)?,
            key: parsed::<KeyId>("key", request.key)?,
            model: request.model,
            since_ms: request.since_ms,
            until_ms: request.until_ms,
            group_by: request
                .group_by
                .iter()
                .map(|column| column.parse::<GroupBy>().map_err(|error| of("group_by", error)))
                .collect::<Result<_, _>>()?,
        };
        if let Some(tenant) = &query.tenant {
            by.check_tenant(tenant)?;
        }
        if by.role() != Role::PlatformAdmin {
            query.tenant = Some(by.tenant.id.clone());
        }
        if by.role() == Role::Inference {
            if query.key.as_ref().is_some_and(|key| *key != by.key.id) {
                return Err(Error::Forbidden("this key may see its own usage alone".into()));
            }
            query.key = Some(by.key.id.clone());
        }
        Ok(self.store.usage(&query).await?.into_iter().map(UsageInfo::from).collect())
    }

    /// Rows of the audit log, newest first.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`: another tenant's; `BadInput`.
    pub async fn audit(&self, by: &Principal, page: AuditPage) -> Result<Vec<AuditInfo>, Error> {
        by.check(Action::ReadAudit)?;
        let mut tenant = parsed::<TenantId>("tenant", page.tenant)?;
        if let Some(tenant) = &tenant {
            by.check_tenant(tenant)?;
        }
        if by.role() != Role::PlatformAdmin {
            tenant = Some(by.tenant.id.clone());
        }
        let query = AuditQuery { tenant, before: page.before, rows_max: page.rows_max };
        let info = |row: orrery_store::AuditRow| AuditInfo {
            sequence: row.sequence,
            at_ms: row.entry.at_ms,
            actor: row.entry.actor,
            tenant: row.entry.tenant.map(String::from),
            action: row.entry.action,
            subject: row.entry.subject,
            details: row.entry.details,
            hash: hex(&row.hash),
        };
        Ok(self.store.audit(&query).await?.into_iter().map(info).collect())
    }

    /// Walks the whole audit log.
    ///
    /// # Errors
    /// `Forbidden`: it is the whole service's.
    pub async fn verify_audit(&self, by: &Principal) -> Result<AuditVerdict, Error> {
        by.check(Action::ManageTenants)?;
        Ok(match self.store.verify_audit().await? {
            StoreVerdict::Intact(head) => AuditVerdict::Intact { rows: head.rows, hash: hex(&head.hash) },
            StoreVerdict::Broken { sequence, fault } => AuditVerdict::Broken { sequence, fault: fault.to_string() },
        })
    }
}

fn parsed<T: std::str::FromStr<Err = orrery_store::Error>>(
    param: &'static str,
    text: Option<String>,
) -> Result<Option<T>, Error> {
    text.map(|text| text.parse().map_err(|error| of(param, error))).transpose()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<UsageSum> for UsageInfo {
    fn from(sum: UsageSum) -> Self {
        Self {
            tenant: sum.tenant.map(String::from),
            key: sum.key.map(String::from),
            model: sum.model,
            day_ms: sum.day_ms,
            requests: sum.requests,
            completed: sum.completed,
            input_tokens: sum.input_tokens,
            cached_tokens: sum.cached_tokens,
            output_tokens: sum.output_tokens,
            queue_us: sum.queue_us,
            prefill_us: sum.prefill_us,
            decode_us: sum.decode_us,
            cost_nano: sum.cost_nano,
        }
    }
}
