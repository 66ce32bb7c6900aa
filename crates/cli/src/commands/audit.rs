//! `orrery audit`: the log of what administrators did.

use super::key::open;
use crate::args::AuditCommand;
use crate::config::Settings;
use crate::table::table;
use crate::time;
use orrery_platform::accounts::{AuditInfo, AuditPage, AuditVerdict};
use std::io::Write as _;

/// # Errors
/// The data folder's database cannot be opened, or the log is not as it was written.
pub async fn run(command: AuditCommand, settings: &Settings) -> anyhow::Result<()> {
    let (accounts, by) = open(settings).await?;
    let mut out = std::io::stdout().lock();
    match command {
        AuditCommand::List { limit, tenant } => {
            let page = AuditPage { tenant, before: None, rows_max: usize::try_from(limit)? };
            let rows = accounts.audit(&by, page).await?;
            let header = ["ROW", "TIME (UTC)", "WHO", "ACTION", "SUBJECT", "DETAILS"].map(str::to_owned);
            let row = |row: &AuditInfo| {
                let details = serde_json::Value::from(row.details.clone()).to_string();
                let details = if row.details.is_empty() { String::new() } else { details };
                let [actor, action, subject] = [&row.actor, &row.action, &row.subject].map(String::clone);
                [row.sequence.to_string(), time::minute(row.at_ms), actor, action, subject, details]
            };
            let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows.iter().map(row)).collect();
            table(&rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        AuditCommand::Verify => match accounts.verify_audit(&by).await? {
            AuditVerdict::Intact { rows, hash } => {
                writeln!(out, "{rows} rows, all as they were written; the last hash is {hash}")?
            }
            AuditVerdict::Broken { sequence, fault } => {
                anyhow::bail!("row {sequence} of the audit log {fault}; everything before it is as it was written")
            }
        },
    }
    Ok(())
}
