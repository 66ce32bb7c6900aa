//! `bench fairness`: times to the first token of a polite tenant, alone and beside others, as a table and a picture: the engine's
//! example `fairness`, one scenario after the other.

use super::figures::table;
use super::orrery::{cargo, commit, machine, target};
use super::plot::{Axis, Chart, Scale, Series};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Names of the example's scenarios, exactly, and what the picture calls them. The first line is drawn on top.
const SCENARIOS: [(&str, &str); 3] =
    [("flood of 100", "beside a flood of 100"), ("one polite neighbour", "beside one"), ("alone", "alone")];
const PERCENTILES: [usize; 8] = [1, 10, 25, 50, 75, 90, 95, 99];

#[derive(Debug, Args)]
pub struct Fairness {
    /// Model: a GGUF file
    #[arg(long, required_unless_present = "samples_of")]
    model: Option<PathBuf>,
    /// Requests of the polite tenant for each scenario, one a second
    #[arg(long, default_value_t = 60)]
    samples: u32,
    /// Plot what was measured before: lines of `SCENARIO,MILLISECONDS`
    #[arg(long, value_name = "FILE")]
    samples_of: Option<PathBuf>,
    /// Folder of the results, fairness.csv and fairness.svg [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// # Errors
/// The example does not build or run, or a file cannot be read or written.
pub fn run(fairness: &Fairness) -> Result<()> {
    let text = match (&fairness.samples_of, &fairness.model) {
        (Some(file), _) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        (None, Some(model)) => measure(&model.to_string_lossy(), fairness.samples)?,
        (None, None) => anyhow::bail!("name a model with --model"),
    };
    let out = fairness.out.clone().unwrap_or_else(|| target().join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    std::fs::write(out.join("fairness.csv"), &text).context("cannot write fairness.csv")?;
    let series = series(&text);
    let svg = chart(series.clone()).svg().context("nothing was measured")?;
    std::fs::write(out.join("fairness.svg"), svg).context("cannot write fairness.svg")?;
    println!("{}, {}\n\n{}", machine(), commit(), rows(&series));
    Ok(())
}

fn measure(model: &str, samples: u32) -> Result<String> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "orrery-engine", "--example", "fairness"]);
    ensure!(build.status().context("cannot run cargo build")?.success(), "cargo build --release failed");
    let mut text = String::new();
    for (scenario, _) in SCENARIOS {
        eprintln!("{scenario}: {samples} s");
        let mut child = Command::new(target().join("release/examples/fairness"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the example")?;
        let mut input = child.stdin.take().context("invariant: the input is piped")?;
        writeln!(input, "{model},{samples},{scenario}").context("cannot tell the example")?;
        drop(input);
        let output = child.wait_with_output().context("cannot read what the example prints")?;
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{printed}");
        text += &printed;
    }
    Ok(text)
}

/// One line for each scenario: milliseconds by percentile.
fn series(text: &str) -> Vec<Series> {
    let series = |(scenario, name): &(&str, &str)| {
        let of = |line: &str| line.strip_prefix(scenario)?.strip_prefix(',')?.parse::<f64>().ok();
        let mut times: Vec<f64> = text.lines().filter_map(of).collect();
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let points = PERCENTILES.iter().filter_map(|percent| Some((*percent as f64, at(*percent)?)));
        Series { name: format!("{name} ({} samples)", times.len()), points: points.collect() }
    };
    SCENARIOS.iter().map(series).collect()
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        title: "Time to the first token of a polite tenant".to_owned(),
        x: Axis { label: "percentile".to_owned(), scale: Scale::Linear },
        y: Axis { label: "milliseconds".to_owned(), scale: Scale::Linear },
        series,
    }
}

fn rows(series: &[Series]) -> String {
    let head: Vec<String> = ["ms", "p50", "p90", "p99"].map(str::to_owned).to_vec();
    let row = |series: &Series| {
        let at = |percent: f64| series.points.iter().find(|(x, _)| *x == percent);
        let mut row = vec![series.name.clone()];
        row.extend([50.0, 90.0, 99.0].map(|percent| at(percent).map_or("–".to_owned(), |(_, ms)| format!("{ms:.0}"))));
        row
    };
    table(&head, &series.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_percentiles_of_their_own_scenario() {
        let mut text: String = (1..=100).map(|ms| format!("alone,{ms}.0\n")).collect();
        text += "one polite neighbour,7.5\nflood of 100, 32 places,9.0\nflood of 100,300.0\nnoise\n";
        let [flood, neighbour, alone] = &series(&text)[..] else { panic!("three") };
        assert!(flood.points.iter().all(|(_, ms)| *ms == 300.0), "another scenario's name begins alike");
        assert_eq!(neighbour.points[0], (1.0, 7.5));
        assert!(alone.points.contains(&(50.0, 50.0)) && alone.points.contains(&(99.0, 99.0)));
        assert!(rows(&series(&text)).contains("50 |  90 |  99 |"), "{}", rows(&series(&text)));
        assert!(chart(series(&text)).svg().is_some());
    }
}
