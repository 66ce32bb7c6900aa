//! `orrery bench`: a load generator for any OpenAI-compatible server.
//!
//! `prompts` makes the requests' texts, `load` sends them, `figures` turns what was timed into the report. The
//! definitions are those of vLLM's `vllm bench serve` and stand in `figures`. `engine` is `orrery bench engine`, which
//! has no server.

pub mod engine;
mod figures;
mod load;
mod prompts;
mod random;
pub mod roofline;

use crate::args::Bench;
use crate::config::Settings;
use crate::failure::Usage;
use crate::target::{self, Ready};
use figures::Report;
use load::Plan;
use prompts::Wanted;
use std::io::Write as _;
use std::sync::Arc;

/// Warms up, measures, prints.
///
/// # Errors
/// No server can be had, or a request failed (after the report has been printed).
pub async fn run(bench: Bench, settings: Settings) -> anyhow::Result<()> {
    if bench.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(Usage("--rate: write a positive number of requests per second, such as 2.5".to_owned()).into());
    }
    let json = bench.json;
    let ready = target::find(&bench.target, &bench.engine, settings).await?;
    let report = tokio::select! {
        report = measure(&bench, &ready) => report,
        _ = tokio::signal::ctrl_c() => Err(crate::failure::Interrupted.into()),
    };
    let report = report?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{:#}", report.json())?;
    } else {
        write!(out, "{}", report.table())?;
    }
    drop(out);
    let failed = report.failures.values().sum::<usize>();
    ready.stop().await?;
    anyhow::ensure!(failed == 0, "{failed} of {} requests failed", report.requests);
    Ok(())
}

async fn measure(bench: &Bench, ready: &Ready) -> anyhow::Result<Report> {
    let requests = bench.requests.unwrap_or(4 * bench.clients) as usize;
    let warmup = bench.warmup as usize;
    let random = random::Random::new(bench.seed);
    let wanted = Wanted { count: warmup + requests, tokens: bench.input_tokens as usize, chat: bench.chat };
    let prompts = prompts::make(&ready.client, &ready.model, wanted, random.fork(1)).await?;
    let exact = prompts.exact;
    let mut texts = prompts.texts;
    let measured = texts.split_off(warmup);
    let plan = Plan {
        model: ready.model.clone(),
        chat: bench.chat,
        output_tokens: bench.output_tokens as usize,
        ignore_eos: !bench.stop_at_eos,
        clients: bench.clients as usize,
        arrivals_s: load::arrivals(requests, bench.rate, random.fork(2)),
    };
    let plan = Arc::new(plan);
    let warm = Plan { arrivals_s: vec![0.0; warmup], ..Plan::clone(&plan) };
    load::run(&ready.client, Arc::new(warm), texts, false).await;
    let (samples, duration_s) = load::run(&ready.client, Arc::clone(&plan), measured, true).await;
    Ok(Report::new(&plan, bench.rate, exact, &samples, duration_s))
}
