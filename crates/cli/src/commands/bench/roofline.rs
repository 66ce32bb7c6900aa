//! `orrery bench roofline`: what this machine can do at best.

use crate::args::BenchRoofline;
use crate::config::Settings;
use orrery_platform::measure;
use serde_json::json;
use std::io::Write as _;

pub async fn run(bench: &BenchRoofline, settings: Settings) -> anyhow::Result<()> {
    let limits = measure::roofline(&settings.platform).await?;
    let mut out = std::io::stdout().lock();
    if bench.json {
        let mut json = json!({"isa": limits.isa, "threads": limits.threads});
        for (name, figure) in limits.figures {
            json[name] = json!(figure);
        }
        writeln!(out, "{json:#}")?;
        return Ok(());
    }
    writeln!(out, "{} on {} threads", limits.isa, limits.threads)?;
    for (name, figure) in limits.figures {
        let (what, unit) = match name {
            "lanes_gflops" => ("multiply-adds", "GFLOP/s"),
            "tiles_gflops" => ("multiply-adds of tiles", "GFLOP/s"),
            "cached_gbytes" => ("bytes from the second-level cache", "GB/s"),
            "memory_gbytes" => ("bytes from memory", "GB/s"),
            other => (other, ""),
        };
        writeln!(out, "{what:<36}{figure:>8.1} {unit}")?;
    }
    Ok(())
}
