//! The ledger in SQL.

use super::sqlite::failed;
use super::{Database, begin, count, get, number, parse};
use crate::error::Result;
use crate::id::{KeyId, TenantId};
use crate::ledger::{
    DAY_MS, GroupBy, Ledger, Spent, USAGE_GROUPS_MAX, UsageQuery, UsageRow, UsageSum, check_rows, too_many_groups,
    unknown_request,
};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};

/// Rows in one statement. Fewer go one by one, so that there are two statements to keep prepared, not hundreds.
const CHUNK: usize = 32;
const INSERT: &str = "INSERT INTO usage (id, tenant, key_id, model, version, endpoint, input_tokens, cached_tokens, \
                      output_tokens, queue_us, prefill_us, decode_us, cost_nano, outcome, started_at_ms, ended_at_ms) ";
const BY_ID: &str = "SELECT id, tenant, key_id, model, version, endpoint, input_tokens, cached_tokens, output_tokens, \
                     queue_us, prefill_us, decode_us, cost_nano, outcome, started_at_ms, ended_at_ms \
                     FROM usage WHERE id = $1";
/// PostgreSQL sums BIGINT into another type.
const SUMS: &str = "COUNT(*) AS requests, \
                    CAST(COALESCE(SUM(CASE WHEN outcome = 'completed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS completed, \
                    CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens, \
                    CAST(COALESCE(SUM(cached_tokens), 0) AS BIGINT) AS cached_tokens, \
                    CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens, \
                    CAST(COALESCE(SUM(queue_us), 0) AS BIGINT) AS queue_us, \
                    CAST(COALESCE(SUM(prefill_us), 0) AS BIGINT) AS prefill_us, \
                    CAST(COALESCE(SUM(decode_us), 0) AS BIGINT) AS decode_us, \
                    CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) AS cost_nano";
const SPENT_TENANT: &str = "SELECT CAST(COALESCE(SUM(input_tokens + output_tokens), 0) AS BIGINT) AS tokens, \
                            CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) AS cost_nano FROM usage \
                            WHERE tenant = $1 AND started_at_ms >= $2";
const SPENT_KEY: &str = "SELECT CAST(COALESCE(SUM(input_tokens + output_tokens), 0) AS BIGINT) AS tokens, \
                         CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) AS cost_nano FROM usage \
                         WHERE tenant = $1 AND started_at_ms >= $2 AND key_id = $3";

#[async_trait]
impl Ledger for Database {
    async fn append_usage(&self, rows: &[UsageRow]) -> Result<usize> {
        const DOING: &str = "writing the ledger";
        check_rows(rows)?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let mut added = 0;
        let (chunks, rest) = rows.as_chunks::<CHUNK>();
        for chunk in chunks.iter().map(|chunk| &chunk[..]).chain(rest.chunks(1)) {
            added += insert(&mut tx, chunk).await.map_err(failed(DOING))?;
        }
        tx.commit().await.map_err(failed(DOING))?;
        Ok(usize::try_from(added).unwrap_or(rows.len()))
    }

    async fn usage_row(&self, id: &str) -> Result<UsageRow> {
        let row = sqlx::query(BY_ID).bind(id).fetch_optional(&self.readers).await;
        read(&row.map_err(failed("reading the ledger"))?.ok_or_else(|| unknown_request(id))?)
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageSum>> {
        let columns = query.columns();
        let rows = statement(query, &columns).build().fetch_all(&self.readers).await;
        let rows = rows.map_err(failed("summing the ledger"))?;
        if rows.len() > USAGE_GROUPS_MAX {
            return Err(too_many_groups());
        }
        rows.iter().map(|row| read_sum(row, &columns)).collect()
    }

    async fn spent(&self, tenant: &TenantId, key: Option<&KeyId>, since_ms: i64) -> Result<Spent> {
        let query = sqlx::query(if key.is_some() { SPENT_KEY } else { SPENT_TENANT });
        let query = query.bind(tenant.as_str()).bind(since_ms);
        let query = if let Some(key) = key { query.bind(key.as_str()) } else { query };
        let row = query.fetch_one(&self.readers).await.map_err(failed("summing the ledger"))?;
        Ok(Spent { tokens: count(&row, "tokens")?, cost_nano: count(&row, "cost_nano")? })
    }
}

/// One statement. Returns how many rows were new.
async fn insert(connection: &mut SqliteConnection, rows: &[UsageRow]) -> sqlx::Result<u64> {
    let mut builder = QueryBuilder::<Sqlite>::new(INSERT);
    builder.push_values(rows, |mut values, row| {
        values
            .push_bind(&row.id)
            .push_bind(row.tenant.as_str())
            .push_bind(row.key.as_str())
            .push_bind(&row.model)
            .push_bind(&row.version)
            .push_bind(&row.endpoint)
            .push_bind(number(row.input_tokens))
            .push_bind(number(row.cached_tokens))
            .push_bind(number(row.output_tokens))
            .push_bind(number(row.queue_us))
            .push_bind(number(row.prefill_us))
            .push_bind(number(row.decode_us))
            .push_bind(number(row.cost_nano))
            .push_bind(row.outcome.as_str())
            .push_bind(row.started_at_ms)
            .push_bind(row.ended_at_ms);
    });
    builder.push(" ON CONFLICT (id) DO NOTHING");
    Ok(builder.build().execute(connection).await?.rows_affected())
}

/// The statement that sums. Its text is made of constants; all values are bound.
fn statement(query: &UsageQuery, columns: &[GroupBy]) -> QueryBuilder<Sqlite> {
    let names: Vec<&str> = columns.iter().map(|column| expression(*column)).collect();
    let mut builder = QueryBuilder::new("SELECT ");
    for (column, name) in columns.iter().zip(&names) {
        builder.push(format!("{name} AS by_{column}, "));
    }
    builder.push(SUMS).push(" FROM usage WHERE 1 = 1");
    if let Some(tenant) = &query.tenant {
        builder.push(" AND tenant = ").push_bind(tenant.as_str());
    }
    if let Some(key) = &query.key {
        builder.push(" AND key_id = ").push_bind(key.as_str());
    }
    if let Some(model) = &query.model {
        builder.push(" AND model = ").push_bind(model);
    }
    if let Some(since_ms) = query.since_ms {
        builder.push(" AND started_at_ms >= ").push_bind(since_ms);
    }
    if let Some(until_ms) = query.until_ms {
        builder.push(" AND started_at_ms < ").push_bind(until_ms);
    }
    if !names.is_empty() {
        let names = names.join(", ");
        builder.push(format!(" GROUP BY {names} ORDER BY {names} LIMIT {}", USAGE_GROUPS_MAX + 1));
    }
    builder
}

fn expression(column: GroupBy) -> &'static str {
    const { assert!(DAY_MS == 86_400_000) };
    match column {
        GroupBy::Tenant => "tenant",
        GroupBy::Key => "key_id",
        GroupBy::Model => "model",
        GroupBy::Day => "started_at_ms / 86400000 * 86400000",
    }
}

fn read(row: &SqliteRow) -> Result<UsageRow> {
    Ok(UsageRow {
        id: get(row, "id")?,
        tenant: parse(row, "tenant")?,
        key: parse(row, "key_id")?,
        model: get(row, "model")?,
        version: get(row, "version")?,
        endpoint: get(row, "endpoint")?,
        input_tokens: count(row, "input_tokens")?,
        cached_tokens: count(row, "cached_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        queue_us: count(row, "queue_us")?,
        prefill_us: count(row, "prefill_us")?,
        decode_us: count(row, "decode_us")?,
        cost_nano: count(row, "cost_nano")?,
        outcome: parse(row, "outcome")?,
        started_at_ms: get(row, "started_at_ms")?,
        ended_at_ms: get(row, "ended_at_ms")?,
    })
}

fn read_sum(row: &SqliteRow, columns: &[GroupBy]) -> Result<UsageSum> {
    let by = |column| columns.contains(&column);
    Ok(UsageSum {
        tenant: by(GroupBy::Tenant).then(|| parse(row, "by_tenant")).transpose()?,
        key: by(GroupBy::Key).then(|| parse(row, "by_key")).transpose()?,
        model: by(GroupBy::Model).then(|| get(row, "by_model")).transpose()?,
        day_ms: by(GroupBy::Day).then(|| get(row, "by_day")).transpose()?,
        requests: count(row, "requests")?,
        completed: count(row, "completed")?,
        input_tokens: count(row, "input_tokens")?,
        cached_tokens: count(row, "cached_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        queue_us: count(row, "queue_us")?,
        prefill_us: count(row, "prefill_us")?,
        decode_us: count(row, "decode_us")?,
        cost_nano: count(row, "cost_nano")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{AssertSqlSafe, Row as _};

    #[tokio::test]
    async fn a_budget_is_summed_from_an_index_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let database = Database::open(&folder.path().join("orrery.db")).await.expect("opened");
        for (statement, index) in [(SPENT_TENANT, "usage_by_tenant"), (SPENT_KEY, "usage_by_key")] {
            let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            let explain = explain.bind("t").bind(0_i64);
            let explain = if statement == SPENT_KEY { explain.bind("k") } else { explain };
            let steps = explain.fetch_all(&database.readers).await.expect("a plan");
            let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
            assert!(steps.len() == 1 && steps[0].contains("COVERING INDEX"), "{steps:?}");
            assert!(steps[0].contains(index) && steps[0].contains("started_at_ms>?"), "{steps:?}");
        }
    }
}
