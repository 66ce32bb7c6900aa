//! `orrery bench engine`: the engine alone, in this process.
//!
//! Start at [`run`], then [`COLUMNS`], which says what is measured.

use super::random::Random;
use crate::args::BenchEngine;
use crate::config::Settings;
use crate::progress;
use anyhow::Context as _;
use orrery_platform::measure::{Bounds, Timing, Workload};
use orrery_platform::{Accounts, Platform, Principal};
use serde_json::{Value, json};
use std::io::Write as _;

/// What one figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Prompt tokens per second until the first token.
    Prefill,
    /// Tokens per second after the first token.
    Decode,
    /// Tokens generated per second from the first prompt to the last token.
    Batch,
}

/// One figure: its name for machines, its name for people, and its workload.
struct Column {
    name: &'static str,
    title: &'static str,
    kind: Kind,
    sequences: usize,
    input_tokens: usize,
    output_tokens: usize,
}

static COLUMNS: [Column; 4] = [
    Column {
        name: "prefill_512",
        title: "prefill, 512 tokens",
        kind: Kind::Prefill,
        sequences: 1,
        input_tokens: 512,
        output_tokens: 1,
    },
    Column {
        name: "decode_128",
        title: "decode, 1 sequence, 128 context",
        kind: Kind::Decode,
        sequences: 1,
        input_tokens: 128,
        output_tokens: 64,
    },
    Column {
        name: "batch_32",
        title: "32 sequences, 128 in / 64 out",
        kind: Kind::Batch,
        sequences: 32,
        input_tokens: 128,
        output_tokens: 64,
    },
    Column {
        name: "decode_8000",
        title: "decode, 1 sequence, 8,000 context",
        kind: Kind::Decode,
        sequences: 1,
        input_tokens: 8000,
        output_tokens: 32,
    },
];

/// A column's figures, one for each round, in tokens per second.
struct Figures {
    column: &'static Column,
    /// Of each prompt; less than the column's where the context is shorter.
    input_tokens: usize,
    rates: Vec<f64>,
}

/// Loads the first model, warms up, measures, prints.
///
/// # Errors
/// The model cannot be loaded, or the engine fails.
pub async fn run(bench: &BenchEngine, mut settings: Settings) -> anyhow::Result<()> {
    settings.platform.models.truncate(1);
    let (isa, threads) = (settings.platform.isa.clone(), settings.platform.threads);
    let (accounts, key) = Accounts::ephemeral().await?;
    let by = accounts.authenticate(Some(&key)).await?;
    let platform = Platform::start(settings.platform, accounts)?;
    progress::loading(&platform).await?;
    let model = platform.models().into_iter().next().context("no model is loaded")?.id;
    let measured = tokio::select! {
        measured = measure(bench, &platform, by, &model) => measured,
        _ = tokio::signal::ctrl_c() => Err(crate::failure::Interrupted.into()),
    }?;
    let mut out = std::io::stdout().lock();
    if bench.json {
        let columns: Vec<Value> = measured.iter().map(Figures::json).collect();
        let json = json!({"model": model, "isa": isa, "threads": threads, "rounds": bench.rounds, "columns": columns});
        writeln!(out, "{json:#}")?;
    } else {
        measured.iter().try_for_each(|figures| writeln!(out, "{}", figures.line()))?;
    }
    Ok(())
}

async fn measure(bench: &BenchEngine, platform: &Platform, by: Principal, model: &str) -> anyhow::Result<Vec<Figures>> {
    let admission = platform.admit(by).await?;
    let bounds = platform.bounds(model)?;
    let mut random = Random::new(bench.seed);
    let mut measured: Vec<Figures> = COLUMNS.iter().map(|column| Figures::new(column, bounds)).collect();
    // The first use of a model touches memory and wakes threads for the first time.
    platform.time(&admission, model, measured[1].workload(bounds, &mut random)).await?;
    for _ in 0..bench.rounds {
        for figures in &mut measured {
            let timings = platform.time(&admission, model, figures.workload(bounds, &mut random)).await?;
            figures.rates.push(rate(figures.column.kind, figures.input_tokens, &timings));
        }
    }
    Ok(measured)
}

/// Tokens per second; 0 where no time passed.
fn rate(kind: Kind, input_tokens: usize, timings: &[Timing]) -> f64 {
    let most = |of: fn(&Timing) -> f64| timings.iter().map(of).fold(0.0, f64::max);
    let generated: usize = timings.iter().map(|timing| timing.output_tokens).sum();
    let (tokens, seconds) = match kind {
        Kind::Prefill => (input_tokens * timings.len(), most(|timing| timing.first_s)),
        Kind::Decode => (generated - timings.len().min(generated), most(|timing| timing.last_s - timing.first_s)),
        Kind::Batch => (generated, most(|timing| timing.last_s)),
    };
    if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
}

impl Figures {
    fn new(column: &'static Column, bounds: Bounds) -> Self {
        let most = bounds.context.saturating_sub(column.output_tokens).max(1);
        Self { column, input_tokens: column.input_tokens.min(most), rates: Vec::new() }
    }

    fn workload(&self, bounds: Bounds, random: &mut Random) -> Workload {
        let mut prompt = |_| (0..self.input_tokens).map(|_| random.below(bounds.vocabulary) as u32).collect();
        let prompts = (0..self.column.sequences).map(&mut prompt).collect();
        Workload { prompts, output_tokens: self.column.output_tokens }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.column.name, "title": self.column.title, "unit": "tok/s", "input_tokens": self.input_tokens,
            "output_tokens": self.column.output_tokens, "sequences": self.column.sequences, "median": self.median(),
            "samples": self.rates,
        })
    }

    fn line(&self) -> String {
        let shorter = if self.input_tokens < self.column.input_tokens {
            format!(" (cut to {} by the model's context)", self.input_tokens)
        } else {
            String::new()
        };
        format!("{:<36}{:>10.1} tok/s{shorter}", self.column.title, self.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { vocabulary: 100, context: 1000 };

    #[test]
    fn the_definitions() {
        let timing = |first_s, last_s, output_tokens| Timing { first_s, last_s, output_tokens };
        let one = [timing(0.5, 2.5, 11)];
        let two = [timing(0.5, 2.5, 11), timing(1.0, 5.0, 9)];
        for (kind, timings, expected) in [
            (Kind::Prefill, &one[..], 200.0),
            (Kind::Prefill, &two[..], 200.0),
            (Kind::Decode, &one[..], 5.0),
            (Kind::Batch, &one[..], 4.4),
            (Kind::Batch, &two[..], 4.0),
            (Kind::Decode, &[timing(0.5, 0.5, 1)][..], 0.0),
        ] {
            let got = rate(kind, 100, timings);
            assert!((got - expected).abs() < 1e-9, "{kind:?} {timings:?}: {got}");
        }
    }

    #[test]
    fn prompts_fit_the_context_and_differ_between_rounds() {
        let long = Figures::new(&COLUMNS[3], BOUNDS);
        assert_eq!(long.input_tokens, 1000 - COLUMNS[3].output_tokens);
        assert!(long.line().contains("cut to 968"));
        let mut random = Random::new(1);
        let (one, other) = (long.workload(BOUNDS, &mut random), long.workload(BOUNDS, &mut random));
        assert_ne!(one.prompts, other.prompts);
        assert!(one.prompts[0].len() == 968 && one.prompts[0].iter().all(|token| *token < 100));
        assert_eq!(Figures::new(&COLUMNS[2], BOUNDS).workload(BOUNDS, &mut random).prompts.len(), 32);
    }

    #[test]
    fn medians() {
        let median = |rates: &[f64]| Figures { rates: rates.to_vec(), ..Figures::new(&COLUMNS[0], BOUNDS) }.median();
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
    }
}
