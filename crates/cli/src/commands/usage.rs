//! `orrery usage`: who used what, as a table with bars.

use super::key::open;
use crate::args::UsageArguments;
use crate::config::Settings;
use crate::money;
use crate::table::table;
use crate::time;
use orrery_platform::accounts::{UsageInfo, UsageRequest};
use serde_json::{Value, json};
use std::io::Write as _;

/// Characters of the longest bar.
const BAR: u64 = 24;
const COLUMNS: [&str; 4] = ["tenant", "key", "model", "day"];

/// # Errors
/// The data folder's database cannot be opened, or refuses.
pub async fn run(usage: &UsageArguments, settings: &Settings) -> anyhow::Result<()> {
    let since_ms = usage.since.as_deref().map(time::length_ms).transpose()?.map(|length| time::now_ms() - length);
    let (accounts, by) = open(settings).await?;
    let request = UsageRequest {
        tenant: usage.tenant.clone(),
        key: usage.key.clone(),
        model: usage.model.clone(),
        since_ms,
        until_ms: None,
        group_by: usage.by.clone(),
    };
    let sums = accounts.usage(&by, request).await?;
    let mut out = std::io::stdout().lock();
    if usage.json {
        writeln!(out, "{:#}", Value::from_iter(sums.iter().map(as_json)))?;
    } else if usage.csv {
        writeln!(out, "{},requests,completed,input_tokens,cached_tokens,output_tokens,cost", usage.by.join(","))?;
        for sum in &sums {
            let groups: Vec<String> = usage.by.iter().map(|column| group(sum, column)).collect();
            let UsageInfo { requests, completed, input_tokens, cached_tokens, output_tokens, .. } = sum;
            let cost = money::show(sum.cost_nano);
            writeln!(
                out,
                "{},{requests},{completed},{input_tokens},{cached_tokens},{output_tokens},{cost}",
                groups.join(",")
            )?;
        }
    } else if sums.iter().all(|sum| sum.requests == 0) {
        eprintln!("no requests were metered in this time");
    } else {
        lines(&sums, &usage.by).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(())
}

fn lines(sums: &[UsageInfo], by: &[String]) -> Vec<String> {
    let tokens = |sum: &UsageInfo| sum.input_tokens + sum.output_tokens;
    let most = sums.iter().map(tokens).max().unwrap_or(0).max(1);
    let header = ["GROUP", "REQUESTS", "INPUT", "CACHED", "OUTPUT", "COST", "TOKENS"].map(str::to_owned);
    let row = |sum: &UsageInfo| {
        let groups: Vec<String> = by.iter().map(|column| group(sum, column)).collect();
        // A sum that is not 0 has a bar.
        let length = (tokens(sum) * BAR).div_ceil(most);
        let numbers =
            [sum.requests, sum.input_tokens, sum.cached_tokens, sum.output_tokens].map(|count| count.to_string());
        let [requests, input, cached, output] = numbers;
        let bar = "█".repeat(usize::try_from(length).unwrap_or(0));
        [groups.join(" "), requests, input, cached, output, money::show(sum.cost_nano), bar]
    };
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(sums.iter().map(row)).collect();
    table(&rows)
}

fn group(sum: &UsageInfo, column: &str) -> String {
    let value = match COLUMNS.iter().position(|known| *known == column) {
        Some(0) => sum.tenant.clone(),
        Some(1) => sum.key.clone(),
        Some(2) => sum.model.clone(),
        _ => sum.day_ms.map(time::date),
    };
    value.unwrap_or_default()
}

fn as_json(sum: &UsageInfo) -> Value {
    json!({
        "tenant": sum.tenant, "key": sum.key, "model": sum.model, "day": sum.day_ms.map(time::date),
        "requests": sum.requests, "completed": sum.completed, "input_tokens": sum.input_tokens,
        "cached_tokens": sum.cached_tokens, "output_tokens": sum.output_tokens, "queue_us": sum.queue_us,
        "prefill_us": sum.prefill_us, "decode_us": sum.decode_us, "cost_nano": sum.cost_nano,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        let sum = |model: &str, output_tokens| UsageInfo {
            model: Some(model.to_owned()),
            requests: 1,
            output_tokens,
            ..UsageInfo::default()
        };
        let lines = lines(&[sum("a", 100), sum("b", 50), sum("c", 1), sum("d", 0)], &["model".to_owned()]);
        let bars: Vec<usize> = lines[1..].iter().map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [24, 12, 1, 0]);
    }
}
