//! The audit log in memory.

use super::Memory;
use crate::audit::{Audit, AuditEntry, AuditHead, AuditQuery, AuditRow, AuditVerdict};
use crate::error::Result;
use async_trait::async_trait;

#[async_trait]
impl Audit for Memory {
    async fn append_audit(&self, entry: &AuditEntry) -> Result<AuditRow> {
        entry.check()?;
        let mut state = self.state()?;
        let row = entry.follow(&head(&state.audit));
        state.audit.push(row.clone());
        Ok(row)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>> {
        query.check()?;
        let state = self.state()?;
        let rows = state.audit.iter().rev();
        let rows = rows.filter(|row| query.before.is_none_or(|before| row.sequence < before));
        let rows = rows.filter(|row| query.tenant.is_none() || row.entry.tenant == query.tenant);
        Ok(rows.take(query.rows_max).cloned().collect())
    }

    async fn audit_head(&self) -> Result<AuditHead> {
        Ok(head(&self.state()?.audit))
    }

    async fn verify_audit(&self) -> Result<AuditVerdict> {
        let state = self.state()?;
        let mut at = AuditHead::default();
        for row in &state.audit {
            if let Some(fault) = row.fault(&at) {
                return Ok(AuditVerdict::Broken { sequence: at.rows + 1, fault });
            }
            at = row.head();
        }
        Ok(AuditVerdict::Intact(at))
    }
}

fn head(rows: &[AuditRow]) -> AuditHead {
    rows.last().map_or_else(AuditHead::default, AuditRow::head)
}
