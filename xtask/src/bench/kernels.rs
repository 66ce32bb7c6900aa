//! `bench kernels`: what the kernels' own bench measures, as tables.

use super::figures::{short, table};
use super::orrery::{cargo, commit, machine};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// Takes some ten seconds for each instruction set.
#[derive(Debug, Args)]
pub struct Kernels {}

/// One line of the bench's output.
#[derive(Debug, Deserialize)]
#[serde(tag = "kernel")]
enum Line {
    /// What the machine can do, before the kernels of an instruction set.
    #[serde(rename = "roofline")]
    Limits { isa: String, lanes_gflops: f64, tiles_gflops: Option<f64>, cached_gbytes: f64, memory_gbytes: f64 },
    #[serde(untagged)]
    Kernel {
        kernel: String,
        shape: String,
        isa: String,
        us: f64,
        gflops: f64,
        gbytes: f64,
        /// What the machine has too little of: operations or bytes.
        limit: String,
        /// Of what the machine can do, 0 to 1.
        share: f64,
    },
}

impl Line {
    fn is_past_the_limit(&self) -> bool {
        matches!(self, Line::Kernel { share, .. } if *share > 1.0)
    }
}

/// # Errors
/// The bench does not build or run, or prints something else than its lines of JSON.
pub fn run(_: &Kernels) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package", "orrery-kernels", "--example", "bench"]);
    let mut bench = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = bench.stdout.take().context("invariant: the output is a pipe")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = parse(&line.context("cannot read the bench's output")?)?;
        if let Line::Limits { isa, .. } = &line {
            eprintln!("measuring {isa}");
        }
        lines.push(line);
    }
    ensure!(bench.wait().context("the bench is gone")?.success(), "the kernels' bench failed");
    print!("{}, {}\n\n{}\n{}", machine(), commit(), limits(&lines), kernels(&lines));
    if lines.iter().any(Line::is_past_the_limit) {
        println!(
            "\nShares above 100 %: something else ran while the limit was measured. Repeat this at a quieter moment."
        );
    }
    Ok(())
}

fn parse(line: &str) -> Result<Line> {
    serde_json::from_str(line).with_context(|| format!("not a result: {line}"))
}

fn limits(lines: &[Line]) -> String {
    let head = ["the machine's limit", "GFLOP/s", "of tiles", "GB/s cached", "from memory"].map(str::to_owned);
    let row = |line: &Line| match line {
        Line::Kernel { .. } => None,
        Line::Limits { isa, lanes_gflops, tiles_gflops, cached_gbytes, memory_gbytes } => Some(vec![
            isa.clone(),
            short(*lanes_gflops),
            tiles_gflops.map_or("–".to_owned(), short),
            short(*cached_gbytes),
            short(*memory_gbytes),
        ]),
    };
    table(&head, &lines.iter().filter_map(row).collect::<Vec<_>>())
}

/// The instruction sets of a kernel and shape stand side by side.
fn kernels(lines: &[Line]) -> String {
    let head = ["kernel", "shape", "isa", "µs", "GFLOP/s", "GB/s", "share of the limit", "of"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let Line::Kernel { kernel, shape, isa, us, gflops, gbytes, limit, share } = line else { continue };
        let mut row: Vec<String> = [kernel, shape, isa].map(Clone::clone).to_vec();
        row.extend([*us, *gflops, *gbytes].map(short));
        row.extend([format!("{:.0} %", share * 100.0), limit.clone()]);
        let same = rows.iter().rposition(|before| before[..2] == row[..2]);
        rows.insert(same.map_or(rows.len(), |at| at + 1), row);
    }
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as the bench printed them.
    const LINES: [&str; 5] = [
        r#"{"kernel":"roofline","isa":"avx2","threads":2,"lanes_gflops":233,"tiles_gflops":null,"cached_gbytes":301.5,"memory_gbytes":58.4}"#,
        r#"{"kernel":"product Q4_1","shape":"1 row","isa":"avx2","threads":2,"us":101.5,"gflops":34.9,"gbytes":10.9,"limit":"bytes","share":0.19}"#,
        r#"{"kernel":"attention","shape":"512 at 0","isa":"avx2","threads":2,"us":3000.0,"gflops":100.0,"gbytes":0.1,"limit":"operations","share":0.43}"#,
        r#"{"kernel":"roofline","isa":"amx","threads":2,"lanes_gflops":470,"tiles_gflops":3100,"cached_gbytes":300.0,"memory_gbytes":60.0}"#,
        r#"{"kernel":"product Q4_1","shape":"1 row","isa":"amx","threads":2,"us":40.25,"gflops":88.0,"gbytes":27.5,"limit":"bytes","share":0.46}"#,
    ];

    #[test]
    fn lines_of_json_become_tables() {
        let lines: Vec<Line> = LINES.iter().map(|line| parse(line).expect("a result")).collect();
        let cells = |table: &str| -> Vec<String> {
            let row = |row: &str| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
            table.lines().skip(2).map(row).collect()
        };
        assert_eq!(cells(&limits(&lines)), ["avx2 233 – 302 58.4", "amx 470 3100 300 60.0"]);
        let expected = [
            "product Q4_1 1 row avx2 102 34.9 10.9 19 % bytes",
            "product Q4_1 1 row amx 40.2 88.0 27.5 46 % bytes",
            "attention 512 at 0 avx2 3000 100 0.10 43 % operations",
        ];
        assert_eq!(cells(&kernels(&lines)), expected);
        assert!(!lines.iter().any(Line::is_past_the_limit));
        assert!(parse(&LINES[2].replace("0.43", "1.43")).expect("a result").is_past_the_limit());
        assert!(parse("hello").is_err());
        assert!(parse(r#"{"kernel":"product Q4_1","rows":32}"#).is_err());
    }
}
