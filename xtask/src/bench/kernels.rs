//! `bench kernels`: what the kernels' own bench measures, as a table.

use super::figures::{short, table};
use super::orrery::cargo;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;

/// Flags after `--` go to the kernels' bench.
#[derive(Debug, Args)]
pub struct Kernels {
    #[arg(last = true)]
    more: Vec<String>,
}

/// One line of the bench's output.
#[derive(Debug, Deserialize)]
struct Line {
    kernel: String,
    #[serde(default)]
    format: String,
    rows: usize,
    isa: String,
    gflops: Option<f64>,
    gbytes: Option<f64>,
    /// Of what the machine can do, 0 to 1.
    share: Option<f64>,
}

/// # Errors
/// The bench does not build or run, or prints something else than lines of JSON.
pub fn run(kernels: &Kernels) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package", "orrery-kernels", "--example", "bench", "--", "--json"]);
    let output = command.args(&kernels.more).stderr(std::process::Stdio::inherit()).output();
    let output = output.context("cannot run cargo")?;
    ensure!(output.status.success(), "the kernels' bench failed");
    print!("{}", rows(&String::from_utf8_lossy(&output.stdout))?);
    Ok(())
}

fn rows(text: &str) -> Result<String> {
    let head = ["kernel", "format", "rows", "isa", "GFLOP/s", "GB/s", "share of the limit"].map(str::to_owned);
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), short);
    let row = |line: &str| -> Result<Vec<String>> {
        let line: Line = serde_json::from_str(line).with_context(|| format!("not a result: {line}"))?;
        let share = line.share.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0));
        Ok(vec![
            line.kernel,
            line.format,
            line.rows.to_string(),
            line.isa,
            shown(line.gflops),
            shown(line.gbytes),
            share,
        ])
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(row).collect::<Result<Vec<_>>>()?;
    Ok(table(&head, &lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_json_become_rows() {
        let text = concat!(
            r#"{"kernel":"matmul","format":"q4_1","rows":32,"isa":"avx512","gflops":123.4,"gbytes":null,"share":0.47}"#,
            "\n",
            r#"{"kernel":"rms_norm","rows":1,"isa":"avx2","gbytes":12.34}"#,
        );
        let table = rows(text).expect("two results");
        let cells = |row: usize| table.lines().nth(row).expect("a row").split('|').map(str::trim).collect::<Vec<_>>();
        assert_eq!(cells(2), ["", "matmul", "q4_1", "32", "avx512", "123", "–", "47 %", ""]);
        assert_eq!(cells(3), ["", "rms_norm", "", "1", "avx2", "–", "12.3", "–", ""]);
        assert!(rows("hello").is_err());
    }
}
