//! `bench soak`: a server under a mixed load for long. What must not grow is sampled: resident memory, descriptors, KV blocks,
//! the journal; the run fails where the end stands above the beginning by more than the bounds here.
//!
//! Start at [`run`]; `client` sends the requests.

mod client;

use super::figures::{median, table};
use super::orrery::{Binary, commit, machine, root, target};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use client::{Client, Kind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the last quarter of a run may have over its second one: of memory a share and a number of MiB, and descriptors.
const MEMORY_SHARE: f64 = 0.03;
const MEMORY_MIB: f64 = 8.0;
const DESCRIPTORS: f64 = 4.0;
/// Two segments of the journal.
const JOURNAL_MIB: f64 = 8.5;

#[derive(Debug, Args)]
pub struct Soak {
    /// Length of the load
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Model by name or path [default: the smallest fixture]
    #[arg(long)]
    model: Option<String>,
    /// Pause of each client between two requests
    #[arg(long, default_value_t = 20, value_name = "MS")]
    pause_ms: u64,
    /// Folder of the result, soak.csv, and of the server's data [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What a server holds at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    second: f64,
    memory_mib: f64,
    descriptors: f64,
    /// Share of the KV blocks that requests hold.
    blocks: f64,
    journal_mib: f64,
    /// Requests that are not in the ledger yet.
    pending: f64,
}

/// # Errors
/// Something cannot be built or started, a request goes wrong, or something grows.
pub fn run(soak: &Soak) -> Result<()> {
    let binary = Binary::build()?;
    let out = soak.out.clone().unwrap_or_else(|| target().join("bench"));
    let data = out.join("soak-data");
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let fixture = root().join("fixtures/models/llama-q8_0.gguf").to_string_lossy().into_owned();
    let model = soak.model.clone().unwrap_or(fixture);
    let folder = data.to_string_lossy().into_owned();
    let more = ["--data-dir", &folder, "--model", &model, "--kv-memory", "64MiB"].map(str::to_owned);
    let server = binary.serve(&more)?;
    let client = Client::new(&server.url, binary.key().context("invariant: a server has a key")?)?;
    let (stop, counts) = (AtomicBool::new(false), Kind::ALL.map(|_| AtomicU64::new(0)));
    let samples = std::thread::scope(|scope| {
        for (kind, count) in Kind::ALL.iter().zip(&counts) {
            let (client, stop, kind) = (&client, &stop, *kind);
            let pause = Duration::from_millis(soak.pause_ms);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = client.send(kind) {
                        eprintln!("{kind:?}: {error:#}");
                        client.failed();
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(pause);
                }
            });
        }
        let samples = sample(&client, server.process(), Duration::from_secs(60 * soak.minutes));
        stop.store(true, Ordering::Relaxed);
        samples
    })?;
    // All requests have ended.
    std::thread::sleep(Duration::from_secs(2));
    let rest = take(&client, server.process(), 0.0)?;
    let text: String = samples.iter().map(|sample| format!("{}\n", line(sample))).collect();
    let head = "second,memory_mib,descriptors,blocks,journal_mib,pending\n";
    std::fs::write(out.join("soak.csv"), format!("{head}{text}")).context("cannot write soak.csv")?;
    println!("{}, {}, {} minutes\n\n{}", machine(), commit(), soak.minutes, shown(&samples));
    for (kind, count) in Kind::ALL.iter().zip(&counts) {
        println!("{kind:?}: {} requests", count.load(Ordering::Relaxed));
    }
    println!("after the load: {rest:?}");
    ensure!(client.failures() == 0, "{} requests went wrong", client.failures());
    check(&samples, rest)
}

/// Looks every two seconds.
fn sample(client: &Client, process: u32, length: Duration) -> Result<Vec<Sample>> {
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while begin.elapsed() < length {
        std::thread::sleep(Duration::from_secs(2));
        samples.push(take(client, process, begin.elapsed().as_secs_f64())?);
    }
    Ok(samples)
}

fn take(client: &Client, process: u32, second: f64) -> Result<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("the server has ended")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let memory: f64 = memory.trim_end_matches("kB").trim().parse().context("cannot read VmRSS")?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).context("cannot list descriptors")?.count();
    let metrics = client.metrics()?;
    let gauge = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .with_context(|| format!("no {name} in /metrics"))
    };
    Ok(Sample {
        second,
        memory_mib: memory / 1024.0,
        descriptors: descriptors as f64,
        blocks: gauge("vllm:kv_cache_usage_perc")?,
        journal_mib: gauge("orrery_journal_bytes")? / f64::from(1 << 20),
        pending: gauge("orrery_ledger_pending")?,
    })
}

type Figure = fn(&Sample) -> f64;

const FIGURES: [(&str, Figure); 5] = [
    ("resident memory, MiB", |sample| sample.memory_mib),
    ("descriptors", |sample| sample.descriptors),
    ("KV blocks in use, share", |sample| sample.blocks),
    ("journal, MiB", |sample| sample.journal_mib),
    ("not in the ledger yet", |sample| sample.pending),
];

/// Medians of the quarters, and the most.
fn shown(samples: &[Sample]) -> String {
    let row = |(name, figure): &(&str, Figure)| {
        let mut row = vec![(*name).to_owned()];
        row.extend(
            (0..4)
                .map(|index| quarter(samples, index, *figure).map_or("–".to_owned(), |value| format!("{value:.2}"))),
        );
        row.push(format!("{:.2}", samples.iter().map(figure).fold(0.0, f64::max)));
        row
    };
    let head = ["", "1st quarter", "2nd", "3rd", "4th", "most"].map(str::to_owned);
    table(&head, &FIGURES.iter().map(row).collect::<Vec<_>>())
}

fn quarter(samples: &[Sample], index: usize, figure: Figure) -> Option<f64> {
    let (from, to) = (samples.len() * index / 4, samples.len() * (index + 1) / 4);
    median(&samples[from..to].iter().map(figure).collect::<Vec<_>>())
}

/// Nothing grows, and nothing is left when the load is gone.
fn check(samples: &[Sample], rest: Sample) -> Result<()> {
    let grown = |figure: Figure| {
        let pair = quarter(samples, 1, figure).zip(quarter(samples, 3, figure));
        pair.context("too few samples; let it run for longer")
    };
    let (before, after) = grown(|sample| sample.memory_mib)?;
    let bound = (before * MEMORY_SHARE).max(MEMORY_MIB);
    ensure!(after - before <= bound, "memory has grown from {before:.1} to {after:.1} MiB; {bound:.1} are allowed");
    let (before, after) = grown(|sample| sample.descriptors)?;
    ensure!(after - before <= DESCRIPTORS, "descriptors have grown from {before} to {after}");
    let most = samples.iter().map(|sample| sample.journal_mib).fold(rest.journal_mib, f64::max);
    ensure!(most <= JOURNAL_MIB, "the journal had {most:.1} MiB; {JOURNAL_MIB} are allowed");
    ensure!(rest.blocks == 0.0, "requests hold {:.3} of the KV blocks, and there are none", rest.blocks);
    ensure!(rest.pending == 0.0, "{} requests are not in the ledger", rest.pending);
    Ok(())
}

fn line(sample: &Sample) -> String {
    let Sample { second, memory_mib, descriptors, blocks, journal_mib, pending } = sample;
    format!("{second:.0},{memory_mib:.2},{descriptors},{blocks:.4},{journal_mib:.2},{pending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(grows: impl Fn(f64, &mut Sample)) -> Vec<Sample> {
        let sample = |second: u32| {
            let mut sample = Sample { memory_mib: 100.0, descriptors: 30.0, journal_mib: 4.0, ..Sample::default() };
            grows(f64::from(second), &mut sample);
            sample
        };
        (0..40).map(sample).collect()
    }

    #[test]
    fn what_is_flat_passes_and_what_grows_fails() {
        let rest = Sample::default();
        assert!(check(&samples(|_, _| {}), rest).is_ok());
        // A beginning is no trend.
        assert!(check(&samples(|second, sample| sample.memory_mib = (80.0 + 10.0 * second).min(120.0)), rest).is_ok());
        let message = |samples: &[Sample], rest| check(samples, rest).expect_err("it grows").to_string();
        assert!(message(&samples(|second, sample| sample.memory_mib += second), rest).contains("memory has grown"));
        assert!(message(&samples(|second, sample| sample.descriptors += second), rest).contains("descriptors have"));
        assert!(message(&samples(|_, sample| sample.journal_mib = 9.0), rest).contains("the journal had"));
        let flat = samples(|_, _| {});
        assert!(message(&flat, Sample { blocks: 0.1, ..rest }).contains("KV blocks"));
        assert!(message(&flat, Sample { pending: 1.0, ..rest }).contains("not in the ledger"));
    }
}
