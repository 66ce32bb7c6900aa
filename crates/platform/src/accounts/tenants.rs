//! Use cases around tenants.

use super::Accounts;
use super::keys::of;
use super::now_ms;
use super::principal::Principal;
use crate::Error;
use crate::access::Action;
use orrery_store::{Limits, Redaction, RedactionMode, Role, Tenant, TenantId};
use serde_json::{Map, json};

/// Tenants that one service may have, erased ones included.
pub const TENANTS_MAX: usize = 10_000;

/// Bounds of a tenant or a key; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsInfo {
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub concurrent_requests: Option<u64>,
    pub queue_share_percent: Option<u64>,
    pub month_tokens: Option<u64>,
    /// Billionths of the operator's currency.
    pub month_cost_nano: Option<u64>,
}

/// A tenant, as it is shown. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantInfo {
    pub id: String,
    pub name: String,
    pub created_at_ms: i64,
    pub weight: u32,
    pub kv_floor_percent: u32,
    pub limits: LimitsInfo,
    /// `off`, `mask` or `refuse`.
    pub redaction_request: String,
    pub redaction_response: String,
    pub retention_days: u32,
    pub suspended: bool,
    pub erased_at_ms: Option<i64>,
}

/// What is set of a tenant; `None` stays, or has its default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantChange {
    pub name: Option<String>,
    pub weight: Option<u32>,
    pub kv_floor_percent: Option<u32>,
    pub limits: Option<LimitsInfo>,
    pub redaction_request: Option<String>,
    pub redaction_response: Option<String>,
    pub retention_days: Option<u32>,
    pub suspended: Option<bool>,
}

impl Accounts {
    /// Makes a tenant. It has no keys yet.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`; `Conflict`: there are as many as there may be.
    pub async fn create_tenant(&self, by: &Principal, change: TenantChange) -> Result<TenantInfo, Error> {
        by.check(Action::ManageTenants)?;
        if self.store.tenants().await?.len() >= TENANTS_MAX {
            return Err(Error::Conflict(format!("there are {TENANTS_MAX} tenants, which is the most")));
        }
        let name = change.name.clone().unwrap_or_default();
        if name.is_empty() {
            return Err(Error::BadInput {
                param: Some("name"),
                message: "`name` is missing; name the tenant, such as \"research\"".into(),
            });
        }
        let mut tenant = Tenant::new(TenantId::random()?, name, now_ms());
        let fields = apply(&mut tenant, change)?;
        let details = Map::from_iter([("fields".to_owned(), json!(fields))]);
        self.note(by, "tenant.create", Some(&tenant.id), tenant.id.as_str(), details).await?;
        self.store.create_tenant(&tenant).await?;
        self.changed().await?;
        Ok(tenant.into())
    }

    /// The tenants that `by` may see: all, or their own.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn tenants(&self, by: &Principal) -> Result<Vec<TenantInfo>, Error> {
        by.check(Action::ReadTenant)?;
        let mut tenants = self.store.tenants().await?;
        tenants.retain(|tenant| by.role() == Role::PlatformAdmin || tenant.id == by.tenant.id);
        Ok(tenants.into_iter().map(TenantInfo::from).collect())
    }

    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn tenant(&self, by: &Principal, id: &str) -> Result<TenantInfo, Error> {
        by.check(Action::ReadTenant)?;
        Ok(self.tenant_of(by, &tenant_id(id)?).await?.into())
    }

    /// # Errors
    /// `Forbidden`, `NotFound`, `BadInput`.
    pub async fn change_tenant(&self, by: &Principal, id: &str, change: TenantChange) -> Result<TenantInfo, Error> {
        by.check(Action::ManageTenants)?;
        let mut tenant = self.tenant_of(by, &tenant_id(id)?).await?;
        if tenant.id == by.tenant.id && change.suspended == Some(true) {
            return Err(Error::Conflict("this is the tenant of the key that you use; nobody could undo it".into()));
        }
        let fields = apply(&mut tenant, change)?;
        let details = Map::from_iter([("fields".to_owned(), json!(fields))]);
        self.note(by, "tenant.change", Some(&tenant.id), tenant.id.as_str(), details).await?;
        self.store.update_tenant(&tenant).await?;
        self.changed().await?;
        if fields.contains(&"retention_days") {
            self.files.keep_for(&tenant.id, tenant.retention_days).await?;
        }
        Ok(tenant.into())
    }

    /// Erases what is known of a tenant, its files included; the ledger keeps ids and numbers. Again is no error.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Conflict`: it is the tenant of whoever asks, or the first one.
    pub async fn erase_tenant(&self, by: &Principal, id: &str) -> Result<(), Error> {
        by.check(Action::ManageTenants)?;
        let id = tenant_id(id)?;
        let tenant = self.store.tenant(&id).await?;
        if tenant.id == by.tenant.id || tenant.id == TenantId::first() {
            return Err(Error::Conflict(format!(
                "the tenant `{id}` cannot be erased: it is the one that manages others"
            )));
        }
        self.note(by, "tenant.erase", Some(&id), id.as_str(), Map::new()).await?;
        self.store.erase_tenant(&id, now_ms()).await?;
        self.changed().await?;
        self.files.shred(&id).await
    }
}

fn tenant_id(id: &str) -> Result<TenantId, Error> {
    // What can be no id is as unknown as any other.
    id.parse().map_err(|_| Error::NotFound(format!("there is no tenant `{}`", crate::reference::shown(id))))
}

/// Sets what is to be set; the names of the fields, for the audit log.
fn apply(tenant: &mut Tenant, change: TenantChange) -> Result<Vec<&'static str>, Error> {
    let mut fields = Vec::new();
    let mode = |param, text: String| text.parse::<RedactionMode>().map_err(|error| of(param, error));
    let Redaction { mut request, mut response } = tenant.redaction;
    if let Some(text) = change.redaction_request {
        request = mode("redaction.request", text)?;
        fields.push("redaction");
    }
    if let Some(text) = change.redaction_response {
        response = mode("redaction.response", text)?;
        fields.push("redaction");
    }
    tenant.redaction = Redaction { request, response };
    let mut set = |name, is_set: bool| is_set.then(|| fields.push(name));
    set("name", change.name.is_some());
    set("weight", change.weight.is_some());
    set("kv_floor_percent", change.kv_floor_percent.is_some());
    set("limits", change.limits.is_some());
    set("retention_days", change.retention_days.is_some());
    set("suspended", change.suspended.is_some());
    tenant.name = change.name.unwrap_or(std::mem::take(&mut tenant.name));
    tenant.weight = change.weight.unwrap_or(tenant.weight);
    tenant.kv_floor_percent = change.kv_floor_percent.unwrap_or(tenant.kv_floor_percent);
    tenant.limits = change.limits.map_or_else(|| tenant.limits.clone(), Limits::from);
    tenant.retention_days = change.retention_days.unwrap_or(tenant.retention_days);
    tenant.suspended = change.suspended.unwrap_or(tenant.suspended);
    Ok(fields)
}

impl From<Tenant> for TenantInfo {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            created_at_ms: tenant.created_at_ms,
            weight: tenant.weight,
            kv_floor_percent: tenant.kv_floor_percent,
            limits: tenant.limits.into(),
            redaction_request: tenant.redaction.request.to_string(),
            redaction_response: tenant.redaction.response.to_string(),
            retention_days: tenant.retention_days,
            suspended: tenant.suspended,
            erased_at_ms: tenant.erased_at_ms,
        }
    }
}

impl From<Limits> for LimitsInfo {
    fn from(limits: Limits) -> Self {
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

impl From<LimitsInfo> for Limits {
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
