//! `orrery tenant`: the tenants of the data folder.

use super::key::open;
use crate::args::{TenantCommand, TenantFlags};
use crate::config::Settings;
use crate::failure::Usage;
use crate::money;
use crate::table::table;
use orrery_platform::accounts::{LimitsInfo, TenantChange, TenantInfo};
use serde_json::{Value, json};
use std::io::Write as _;

/// # Errors
/// The data folder's database cannot be opened, or refuses.
pub async fn run(command: TenantCommand, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    let mut out = std::io::stdout().lock();
    match command {
        TenantCommand::Create { name, change } => {
            let change = TenantChange { name: Some(name), ..change_of(change, LimitsInfo::default())? };
            let tenant = accounts.create_tenant(&by, change).await?;
            writeln!(out, "{}", tenant.id)?;
        }
        TenantCommand::List { json } => {
            let tenants = accounts.tenants(&by).await?;
            if json {
                writeln!(out, "{:#}", Value::from_iter(tenants.iter().map(as_json)))?;
            } else {
                let header = ["ID", "NAME", "WEIGHT", "LIMITS", "REDACTION", "STATE"].map(str::to_owned);
                let rows: Vec<[String; 6]> = std::iter::once(header).chain(tenants.iter().map(row)).collect();
                table(&rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            }
        }
        TenantCommand::Set { id, name, suspended, change } => {
            // Bounds that are not named stay.
            let before = accounts.tenant(&by, &id).await?.limits;
            let change = TenantChange { name, suspended, ..change_of(change, before)? };
            let tenant = accounts.change_tenant(&by, &id, change).await?;
            writeln!(out, "changed {}", tenant.id)?;
        }
        TenantCommand::Erase { id } => {
            accounts.erase_tenant(&by, &id).await?;
            writeln!(out, "erased {id}")?;
        }
    }
    Ok(())
}

fn change_of(flags: TenantFlags, before: LimitsInfo) -> Result<TenantChange, Usage> {
    let bound = |text: Option<&String>, before: Option<u64>| match text.map(String::as_str) {
        None => Ok(before),
        Some("none") => Ok(None),
        Some(text) => {
            let number = text.parse().map_err(|_| Usage(format!("`{text}` is no bound; write a number, or none")))?;
            Ok(Some(number))
        }
    };
    let limits = LimitsInfo {
        requests_per_minute: bound(flags.requests_per_minute.as_ref(), before.requests_per_minute)?,
        tokens_per_minute: bound(flags.tokens_per_minute.as_ref(), before.tokens_per_minute)?,
        concurrent_requests: bound(flags.concurrent_requests.as_ref(), before.concurrent_requests)?,
        queue_share_percent: bound(flags.queue_share.as_ref(), before.queue_share_percent)?,
        month_tokens: bound(flags.month_tokens.as_ref(), before.month_tokens)?,
        month_cost_nano: match flags.month_cost.as_deref() {
            None => before.month_cost_nano,
            Some("none") => None,
            Some(text) => Some(money::amount(text)?),
        },
    };
    Ok(TenantChange {
        weight: flags.weight,
        kv_floor_percent: flags.kv_floor,
        limits: (limits != before).then_some(limits),
        redaction_request: flags.redact_request,
        redaction_response: flags.redact_response,
        retention_days: flags.retention_days,
        ..TenantChange::default()
    })
}

fn row(tenant: &TenantInfo) -> [String; 6] {
    let limits = tenant.limits;
    let bounds = [
        limits.requests_per_minute.map(|bound| format!("{bound} requests/min")),
        limits.tokens_per_minute.map(|bound| format!("{bound} tokens/min")),
        limits.concurrent_requests.map(|bound| format!("{bound} at once")),
        limits.queue_share_percent.map(|bound| format!("{bound} % of the queue")),
        limits.month_tokens.map(|bound| format!("{bound} tokens/month")),
        limits.month_cost_nano.map(|bound| format!("{}/month", money::show(bound))),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    let bounds = if bounds.is_empty() { "none".to_owned() } else { bounds.join(", ") };
    let redaction = format!("{}/{}", tenant.redaction_request, tenant.redaction_response);
    let state = match (tenant.erased_at_ms, tenant.suspended) {
        (Some(_), _) => "erased",
        (None, true) => "suspended",
        (None, false) => "good",
    };
    [tenant.id.clone(), tenant.name.clone(), tenant.weight.to_string(), bounds, redaction, state.to_owned()]
}

fn as_json(tenant: &TenantInfo) -> Value {
    let limits = tenant.limits;
    json!({
        "id": tenant.id, "name": tenant.name, "created_at_ms": tenant.created_at_ms, "weight": tenant.weight,
        "kv_floor_percent": tenant.kv_floor_percent, "retention_days": tenant.retention_days,
        "suspended": tenant.suspended, "erased_at_ms": tenant.erased_at_ms,
        "redaction": {"request": tenant.redaction_request, "response": tenant.redaction_response},
        "limits": {
            "requests_per_minute": limits.requests_per_minute, "tokens_per_minute": limits.tokens_per_minute,
            "concurrent_requests": limits.concurrent_requests, "queue_share_percent": limits.queue_share_percent,
            "month_tokens": limits.month_tokens, "month_cost_nano": limits.month_cost_nano,
        },
    })
}
