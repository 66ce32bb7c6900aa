//! Tenants, keys, prices, usage and the audit log on the wire. Times are seconds since 1970, money is billionths of the
//! operator's currency.

use crate::error::ApiError;
use crate::wire::fields::Fields;
use crate::wire::params::{Flag, Integer};
use orrery_platform::accounts::{
    AuditInfo, KeyChange, KeyInfo, LimitsInfo, NewKey, PriceInfo, TenantChange, TenantInfo, UsageInfo,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Whole numbers up to here are exact in every JSON reader.
const COUNT_MAX: i64 = (1 << 53) - 1;
const COUNT: Integer = Integer { name: "", min: 0, max: COUNT_MAX, default: None, about: "" };
/// Up to the year 9999.
const EXPIRES_AT: Integer = Integer { name: "expires_at", max: 253_402_300_799, ..COUNT };
const SUSPENDED: Flag = Flag { name: "suspended", default: false, about: "" };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitsObject {
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub concurrent_requests: Option<u64>,
    pub queue_share_percent: Option<u64>,
    /// Of a calendar month (UTC).
    pub month_tokens: Option<u64>,
    pub month_cost_nano: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RedactionObject {
    pub request: String,
    pub response: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TenantObject {
    pub object: &'static str,
    pub id: String,
    pub name: String,
    pub created_at: i64,
    pub weight: u32,
    pub kv_floor_percent: u32,
    pub limits: LimitsObject,
    pub redaction: RedactionObject,
    pub retention_days: u32,
    pub suspended: bool,
    pub erased_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyObject {
    pub object: &'static str,
    pub id: String,
    pub tenant: String,
    pub name: String,
    /// The first characters of the key's text.
    pub hint: String,
    pub role: String,
    pub limits: LimitsObject,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub revoked_at: Option<i64>,
    /// The key itself: only in the answer to its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceObject {
    pub object: &'static str,
    pub model: String,
    /// For one token; times 1,000,000 and divided by 1,000,000,000 it is the price of a million in the currency.
    pub input_nano: u64,
    pub cached_nano: u64,
    pub output_nano: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The beginning of the day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<i64>,
    pub requests: u64,
    pub completed: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    pub queue_us: u64,
    pub prefill_us: u64,
    pub decode_us: u64,
    pub cost_nano: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AuditObject {
    pub sequence: u64,
    pub at: i64,
    /// The id of the key that acted, or `operator`.
    pub actor: String,
    pub tenant: Option<String>,
    pub action: String,
    pub subject: String,
    pub details: Map<String, Value>,
    pub hash: String,
}

/// A whole list: there are no pages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct List<T> {
    pub object: &'static str,
    pub data: Vec<T>,
    pub has_more: bool,
}

impl<T> List<T> {
    pub fn whole(data: Vec<T>) -> Self {
        Self { object: "list", data, has_more: false }
    }
}

impl From<LimitsInfo> for LimitsObject {
    fn from(limits: LimitsInfo) -> Self {
        Self {
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            concurrent_requests: limits.concurrent_requests,
            queue_share_percent: limits.queue_share_percent,
            month_tokens: limits.month_tokens,
            month_cost_nano: limits.month_cost_nano,
        }
    }
}

impl From<TenantInfo> for TenantObject {
    fn from(tenant: TenantInfo) -> Self {
        Self {
            object: "tenant",
            id: tenant.id,
            name: tenant.name,
            created_at: tenant.created_at_ms / 1000,
            weight: tenant.weight,
            kv_floor_percent: tenant.kv_floor_percent,
            limits: tenant.limits.into(),
            redaction: RedactionObject { request: tenant.redaction_request, response: tenant.redaction_response },
            retention_days: tenant.retention_days,
            suspended: tenant.suspended,
            erased_at: tenant.erased_at_ms.map(seconds),
        }
    }
}

impl KeyObject {
    pub fn new(key: KeyInfo, text: Option<String>) -> Self {
        Self {
            object: "key",
            id: key.id,
            tenant: key.tenant,
            name: key.name,
            hint: key.hint,
            role: key.role,
            limits: key.limits.into(),
            created_at: seconds(key.created_at_ms),
            expires_at: key.expires_at_ms.map(seconds),
            last_used_at: key.last_used_at_ms.map(seconds),
            revoked_at: key.revoked_at_ms.map(seconds),
            key: text,
        }
    }
}

impl From<PriceInfo> for PriceObject {
    fn from(price: PriceInfo) -> Self {
        let PriceInfo { model, input_nano, cached_nano, output_nano } = price;
        Self { object: "price", model, input_nano, cached_nano, output_nano }
    }
}

impl From<UsageInfo> for UsageObject {
    fn from(sum: UsageInfo) -> Self {
        Self {
            tenant: sum.tenant,
            key: sum.key,
            model: sum.model,
            day: sum.day_ms.map(seconds),
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

impl From<AuditInfo> for AuditObject {
    fn from(row: AuditInfo) -> Self {
        Self {
            sequence: row.sequence,
            at: seconds(row.at_ms),
            actor: row.actor,
            tenant: row.tenant,
            action: row.action,
            subject: row.subject,
            details: row.details,
            hash: row.hash,
        }
    }
}

fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

/// `limits`: every bound that is named; one that is not there, or null, is none.
fn limits(fields: &mut Fields) -> Result<Option<LimitsInfo>, ApiError> {
    let Some(mut limits) = fields.object("limits")? else { return Ok(None) };
    let mut bound = |name: &'static str, max: i64| {
        Ok::<_, ApiError>(limits.integer(&Integer { name, min: 0, max, ..COUNT })?.map(i64::unsigned_abs))
    };
    let info = LimitsInfo {
        requests_per_minute: bound("requests_per_minute", COUNT_MAX)?,
        tokens_per_minute: bound("tokens_per_minute", COUNT_MAX)?,
        concurrent_requests: bound("concurrent_requests", COUNT_MAX)?,
        queue_share_percent: bound("queue_share_percent", 100)?,
        month_tokens: bound("month_tokens", COUNT_MAX)?,
        month_cost_nano: bound("month_cost_nano", COUNT_MAX)?,
    };
    limits.finish()?;
    Ok(Some(info))
}

/// The body of a tenant's making or change.
pub fn tenant_change(mut fields: Fields) -> Result<TenantChange, ApiError> {
    let small = |number: Option<i64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let mut redaction = fields.object("redaction")?.unwrap_or_default();
    let change = TenantChange {
        name: fields.text("name")?,
        weight: small(fields.integer(&Integer { name: "weight", min: 1, max: 1000, ..COUNT })?),
        kv_floor_percent: small(fields.integer(&Integer { name: "kv_floor_percent", min: 0, max: 100, ..COUNT })?),
        limits: limits(&mut fields)?,
        redaction_request: redaction.text("request")?,
        redaction_response: redaction.text("response")?,
        retention_days: small(fields.integer(&Integer { name: "retention_days", min: 0, max: 36_500, ..COUNT })?),
        suspended: match fields.get("suspended") {
            None => None,
            Some(_) => Some(fields.flag(&SUSPENDED)?),
        },
    };
    redaction.finish()?;
    fields.finish()?;
    Ok(change)
}

/// The body of a key's making.
pub fn new_key(mut fields: Fields) -> Result<NewKey, ApiError> {
    let new = NewKey {
        tenant: fields.text("tenant")?,
        name: fields.text("name")?.unwrap_or_default(),
        role: fields.text("role")?.unwrap_or_else(|| "inference".to_owned()),
        limits: limits(&mut fields)?.unwrap_or_default(),
        expires_at_ms: fields.integer(&EXPIRES_AT)?.map(|seconds| seconds * 1000),
    };
    fields.finish()?;
    Ok(new)
}

/// The body of a key's change.
pub fn key_change(mut fields: Fields) -> Result<KeyChange, ApiError> {
    let never = fields.is_null("expires_at");
    let end = fields.integer(&EXPIRES_AT)?.map(|seconds| Some(seconds * 1000));
    let change = KeyChange {
        name: fields.text("name")?,
        role: fields.text("role")?,
        limits: limits(&mut fields)?,
        expires_at_ms: if never { Some(None) } else { end },
    };
    fields.finish()?;
    Ok(change)
}

/// The body of a price.
pub fn price(mut fields: Fields) -> Result<PriceInfo, ApiError> {
    let model = fields.required_text("model")?;
    let mut nano = |name: &'static str| {
        let value = fields.integer(&Integer { name, min: 0, max: 1_000_000_000_000, ..COUNT })?;
        value.map(i64::unsigned_abs).ok_or_else(|| fields.missing(name))
    };
    let price = PriceInfo {
        model,
        input_nano: nano("input_nano")?,
        cached_nano: nano("cached_nano")?,
        output_nano: nano("output_nano")?,
    };
    fields.finish()?;
    Ok(price)
}
