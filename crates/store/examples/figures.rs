//! Measures the store on the disk of the current folder: appends to the ledger in batches of 32, and the sum for a budget
//! over a million rows.
//!
//! `cargo run --release -p orrery-store --example figures`

use orrery_store::{
    Audit as _, AuditEntry, Changes as _, Database, GroupBy, Ledger as _, Outcome, Result, TenantId, UsageQuery,
    UsageRow,
};
use std::time::{Duration, Instant};

const BATCH: u64 = 32;
const ROWS: u64 = 1_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let rows = ROWS;
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let database = Database::open(&folder.path().join("orrery.db")).await?;
    let mut times = Vec::new();
    let start = Instant::now();
    for batch in 0..rows / BATCH {
        let rows: Vec<UsageRow> = (batch * BATCH..(batch + 1) * BATCH).map(row).collect();
        let begin = Instant::now();
        database.append_usage(&rows).await?;
        times.push(begin.elapsed());
    }
    let rows_per_s = rows as f64 / start.elapsed().as_secs_f64();
    println!("append, batches of {BATCH}: {rows_per_s:.0} rows/s; a batch {}", spread(&mut times));

    let tenant: TenantId = "ten_1".parse()?;
    let key = "key_1".parse()?;
    let since_ms = row(rows / 2).started_at_ms;
    println!(
        "spent, a tenant's half month of {rows} rows: {}",
        time(20, async || database.spent(&tenant, None, since_ms).await.map(drop)).await?
    );
    println!(
        "spent, one key of it: {}",
        time(20, async || database.spent(&tenant, Some(&key), since_ms).await.map(drop)).await?
    );
    let all = UsageQuery { group_by: vec![GroupBy::Tenant, GroupBy::Day], ..UsageQuery::default() };
    println!("usage of all by tenant and day: {}", time(3, async || database.usage(&all).await.map(drop)).await?);
    println!("changes: {}", time(1_000, async || database.changes().await.map(drop)).await?);
    let entry = AuditEntry {
        at_ms: 1,
        actor: "operator".into(),
        tenant: None,
        action: "key.create".into(),
        subject: "key_1".into(),
        details: serde_json::Map::new(),
    };
    println!("audit, one row: {}", time(200, async || database.append_audit(&entry).await.map(drop)).await?);
    let bytes = std::fs::metadata(database.path()).map(|metadata| metadata.len()).unwrap_or(0);
    println!("the file: {} bytes a row", bytes / rows);
    database.close().await;
    Ok(())
}

/// Ten tenants with ten keys each, over thirty days.
fn row(number: u64) -> UsageRow {
    let tenant = number % 10;
    let id = |text: String| text.parse().expect("an id");
    UsageRow {
        id: format!("req_{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        tenant: format!("ten_{tenant}").parse().expect("an id"),
        key: id(format!("key_{}", tenant + number / 10 % 10 * 10)),
        model: "smollm2-135m".into(),
        version: "sha256:0123456789abcdef".into(),
        endpoint: "chat.completions".into(),
        input_tokens: 500,
        cached_tokens: 100,
        output_tokens: 200,
        queue_us: 100,
        prefill_us: 10_000,
        decode_us: 1_000_000,
        cost_nano: 123_456,
        outcome: Outcome::Completed,
        started_at_ms: 1_700_000_000_000 + i64::try_from(number).unwrap_or(0) * 2_592,
        ended_at_ms: 1_700_000_000_000,
    }
}

async fn time(count: usize, mut work: impl AsyncFnMut() -> Result<()>) -> Result<String> {
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        work().await?;
        times.push(begin.elapsed());
    }
    Ok(spread(&mut times))
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("p50 {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100))
}
