//! The ledger in memory.

use super::Memory;
use crate::error::Result;
use crate::id::{KeyId, TenantId};
use crate::ledger::{
    DAY_MS, GroupBy, Ledger, Outcome, Spent, USAGE_GROUPS_MAX, UsageQuery, UsageRow, UsageSum, check_rows,
    too_many_groups, unknown_request,
};
use async_trait::async_trait;
use std::collections::BTreeMap;

#[async_trait]
impl Ledger for Memory {
    async fn append_usage(&self, rows: &[UsageRow]) -> Result<usize> {
        check_rows(rows)?;
        let mut state = self.state()?;
        let before = state.usage.len();
        for row in rows {
            state.usage.entry(row.id.clone()).or_insert_with(|| row.clone());
        }
        Ok(state.usage.len() - before)
    }

    async fn usage_row(&self, id: &str) -> Result<UsageRow> {
        self.state()?.usage.get(id).cloned().ok_or_else(|| unknown_request(id))
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageSum>> {
        let state = self.state()?;
        let columns = query.columns();
        let by = |column| columns.contains(&column);
        let mut groups = BTreeMap::new();
        for row in state.usage.values().filter(|row| selects(query, row)) {
            let group = (
                by(GroupBy::Tenant).then(|| row.tenant.clone()),
                by(GroupBy::Key).then(|| row.key.clone()),
                by(GroupBy::Model).then(|| row.model.clone()),
                by(GroupBy::Day).then(|| row.started_at_ms / DAY_MS * DAY_MS),
            );
            add(groups.entry(group).or_default(), row);
        }
        if groups.len() > USAGE_GROUPS_MAX {
            return Err(too_many_groups());
        }
        if columns.is_empty() && groups.is_empty() {
            return Ok(vec![UsageSum::default()]);
        }
        let named = |((tenant, key, model, day_ms), sum)| UsageSum { tenant, key, model, day_ms, ..sum };
        Ok(groups.into_iter().map(named).collect())
    }

    async fn spent(&self, tenant: &TenantId, key: Option<&KeyId>, since_ms: i64) -> Result<Spent> {
        let query = UsageQuery {
            tenant: Some(tenant.clone()),
            key: key.cloned(),
            since_ms: Some(since_ms),
            ..UsageQuery::default()
        };
        let state = self.state()?;
        let rows = state.usage.values().filter(|row| selects(&query, row));
        Ok(rows.fold(Spent::default(), |spent, row| Spent {
            tokens: spent.tokens + row.input_tokens + row.output_tokens,
            cost_nano: spent.cost_nano + row.cost_nano,
        }))
    }
}

fn selects(query: &UsageQuery, row: &UsageRow) -> bool {
    query.tenant.as_ref().is_none_or(|tenant| row.tenant == *tenant)
        && query.key.as_ref().is_none_or(|key| row.key == *key)
        && query.model.as_ref().is_none_or(|model| row.model == *model)
        && query.since_ms.is_none_or(|since_ms| row.started_at_ms >= since_ms)
        && query.until_ms.is_none_or(|until_ms| row.started_at_ms < until_ms)
}

fn add(sum: &mut UsageSum, row: &UsageRow) {
    sum.requests += 1;
    sum.completed += u64::from(row.outcome == Outcome::Completed);
    sum.input_tokens += row.input_tokens;
    sum.cached_tokens += row.cached_tokens;
    sum.output_tokens += row.output_tokens;
    sum.queue_us += row.queue_us;
    sum.prefill_us += row.prefill_us;
    sum.decode_us += row.decode_us;
    sum.cost_nano += row.cost_nano;
}
