//! `bench gateway`: what keys, limits, journal and ledger add to a request, over a model that computes nothing, against a
//! handler that does nothing but answer. The load is `wrk`'s, which must be installed.
//!
//! Both servers are one process (`crates/server/examples/gateway.rs`), measured in turn, and the pairs of rounds are what
//! counts.

use super::figures::{median, table};
use super::orrery::{cargo, commit, machine, target};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[derive(Debug, Args)]
pub struct Gateway {
    /// Connections, each with one request at a time; a row each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<u32>,
    /// Pairs of rounds
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one round
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Pause of each connection between an answer and the next request, up to twice as long at random; 0: none, so that the
    /// machine's throughput is measured
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pause_ms: u32,
    /// Answers as streams
    #[arg(long)]
    stream: bool,
    /// Send traces to this address too
    #[arg(long, value_name = "URL")]
    traces: Option<String>,
    /// Folder of the result, gateway.json [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One round of one server.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

/// # Errors
/// Something does not build, `wrk` is missing, or a request fails.
pub fn run(gateway: &Gateway) -> Result<()> {
    let servers = Servers::start(gateway.traces.as_deref())?;
    let out = gateway.out.clone().unwrap_or_else(|| target().join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let script = out.join("gateway.lua");
    std::fs::write(&script, lua(&servers.key, gateway.stream, gateway.pause_ms))
        .context("cannot write the script of wrk")?;
    // Statements are prepared, buffers have their sizes and the limits know the month.
    for url in [&servers.bare, &servers.orrery] {
        wrk(&script, url, 16, 1)?;
    }
    let mut rows = Vec::new();
    for connections in &gateway.connections {
        let mut pairs = Vec::new();
        for round in 0..gateway.rounds {
            let measure = |url: &str| wrk(&script, url, *connections, gateway.seconds);
            // The first of a pair by turns.
            let (bare, orrery) = if round % 2 == 0 {
                let bare = measure(&servers.bare)?;
                (bare, measure(&servers.orrery)?)
            } else {
                let orrery = measure(&servers.orrery)?;
                (measure(&servers.bare)?, orrery)
            };
            eprintln!("{connections} connections: {bare:?} {orrery:?}");
            pairs.push((bare, orrery));
        }
        rows.push((*connections, pairs));
    }
    let pairs = |pairs: &[(Round, Round)]| -> Vec<_> {
        let one = |round: &Round| json!([round.p50_us, round.p99_us, round.per_second]);
        pairs.iter().map(|(bare, orrery)| json!({"bare": one(bare), "orrery": one(orrery)})).collect()
    };
    let runs: Vec<_> =
        rows.iter().map(|(count, rounds)| json!({"connections": count, "rounds": pairs(rounds)})).collect();
    let json = json!({"machine": machine(), "commit": commit(), "figures": "p50 µs, p99 µs, requests/s", "runs": runs});
    std::fs::write(out.join("gateway.json"), format!("{json:#}\n")).context("cannot write gateway.json")?;
    println!("{}, {}\n\n{}", machine(), commit(), text(&rows));
    Ok(())
}

/// Medians over the rounds; what is added is the median of the pairs' differences.
fn text(rows: &[(u32, Vec<(Round, Round)>)]) -> String {
    let head = [
        "connections",
        "p50 bare",
        "p50 Orrery",
        "added",
        "p99 bare",
        "p99 Orrery",
        "added",
        "bare req/s",
        "Orrery req/s",
    ];
    let row = |(connections, pairs): &(u32, Vec<(Round, Round)>)| {
        let of = |figure: fn(&(Round, Round)) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |us| format!("{:.2} ms", us / 1000.0));
        let rate = |value: Option<f64>| value.map_or("–".to_owned(), |rate| format!("{rate:.0}"));
        vec![
            connections.to_string(),
            ms(of(|(bare, _)| bare.p50_us)),
            ms(of(|(_, orrery)| orrery.p50_us)),
            ms(of(|(bare, orrery)| orrery.p50_us - bare.p50_us)),
            ms(of(|(bare, _)| bare.p99_us)),
            ms(of(|(_, orrery)| orrery.p99_us)),
            ms(of(|(bare, orrery)| orrery.p99_us - bare.p99_us)),
            rate(of(|(bare, _)| bare.per_second)),
            rate(of(|(_, orrery)| orrery.per_second)),
        ]
    };
    table(&head.map(str::to_owned), &rows.iter().map(row).collect::<Vec<_>>())
}

/// Both servers of this run; they end when this is dropped.
struct Servers {
    child: Child,
    bare: String,
    orrery: String,
    key: String,
}

impl Servers {
    fn start(traces: Option<&str>) -> Result<Self> {
        let mut build = cargo();
        build.args(["build", "--release", "--locked", "--package", "orrery-server", "--example", "gateway"]);
        ensure!(build.status().context("cannot run cargo build")?.success(), "cargo build --release failed");
        let mut child = Command::new(target().join("release/examples/gateway"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the servers")?;
        let first = traces.map_or("none".to_owned(), |url| format!("traces {url}"));
        let input = child.stdin.as_mut().context("invariant: the input is piped")?;
        writeln!(input, "{first}").context("cannot tell the servers")?;
        let out = child.stdout.take().context("invariant: the output is piped")?;
        let mut servers = Self { child, bare: String::new(), orrery: String::new(), key: String::new() };
        for line in BufReader::new(out).lines() {
            let line = line.context("cannot read what the servers print")?;
            match line.split_once(' ') {
                Some(("bare", url)) => servers.bare = url.to_owned(),
                Some(("orrery", url)) => servers.orrery = url.to_owned(),
                Some(("key", key)) => {
                    servers.key = key.to_owned();
                    return Ok(servers);
                }
                _ => {}
            }
        }
        bail!("the servers ended before they were ready")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The request, and what is printed at the end: microseconds, counts and errors.
fn lua(key: &str, stream: bool, pause_ms: u32) -> String {
    let body = format!(
        "{{\\\"model\\\":\\\"model\\\",\\\"messages\\\":[{{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"hello\\\"}}],\\\"max_tokens\\\":1,\\\"stream\\\":{stream}}}"
    );
    let pause = match pause_ms {
        0 => String::new(),
        ms => format!("delay = function() return {ms} + math.random(0, {ms}) end\n"),
    };
    format!(
        "{pause}wrk.method = \"POST\"\nwrk.path = \"/v1/chat/completions\"\nwrk.body = \"{body}\"\n\
         wrk.headers[\"content-type\"] = \"application/json\"\nwrk.headers[\"authorization\"] = \"Bearer {key}\"\n\
         done = function(summary, latency, requests)\n  local errors = summary.errors\n  \
         print(\"figures\", latency:percentile(50), latency:percentile(99), summary.requests, summary.duration,\n    \
         errors.connect + errors.read + errors.write + errors.status + errors.timeout)\nend\n"
    )
}

fn wrk(script: &Path, url: &str, connections: u32, seconds: u32) -> Result<Round> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(script).arg(url);
    let output = command.output().context("cannot run wrk; install it (Debian: apt-get install wrk)")?;
    read(&String::from_utf8_lossy(&output.stdout))
}

fn read(printed: &str) -> Result<Round> {
    let line = printed.lines().find_map(|line| line.strip_prefix("figures")).context("wrk printed no figures")?;
    let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [p50_us, p99_us, requests, duration_us, errors] = figures[..] else { bail!("wrk printed `{line}`") };
    ensure!(errors == 0.0 && requests > 0.0, "{errors} of {requests} requests failed");
    Ok(Round { p50_us, p99_us, per_second: requests / duration_us * 1e6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_wrk_are_read_and_failures_are_none() {
        let round = read("Running 1s test\nfigures\t120\t900\t5000\t1000000\t0\n").expect("figures");
        assert_eq!(round, Round { p50_us: 120.0, p99_us: 900.0, per_second: 5000.0 });
        assert!(read("figures\t120\t900\t5000\t1000000\t3\n").is_err());
        assert!(read("unable to connect").is_err());
    }

    #[test]
    fn what_is_added_is_the_median_of_the_differences() {
        let round = |p99_us: f64| Round { p50_us: 100.0, p99_us, per_second: 1000.0 };
        let pairs = vec![(round(100.0), round(400.0)), (round(300.0), round(500.0)), (round(100.0), round(9000.0))];
        let text = text(&[(16, pairs)]);
        assert!(text.contains("0.10 ms |    0.50 ms | 0.30 ms"), "{text}");
    }

    #[test]
    fn the_script_sends_json() {
        let script = lua("orr_x", true, 8);
        let body = script.lines().find_map(|line| line.strip_prefix("wrk.body = \"")).expect("a body");
        let body: serde_json::Value =
            serde_json::from_str(&body.trim_end_matches('"').replace("\\\"", "\"")).expect("JSON");
        assert_eq!(body["stream"], true);
    }
}
