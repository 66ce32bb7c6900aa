//! `bench engine`: what `orrery bench engine` measures, as a table and a file.

use super::figures::{short, table};
use super::orrery::{Binary, commit, machine, target};
use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Engine {
    /// Model by name or path [default: the default model]
    #[arg(long)]
    model: Option<String>,
    /// Instruction sets, each measured in turn [default: the best there is]
    #[arg(long, value_delimiter = ',')]
    isa: Vec<String>,
    /// Compute threads [default: one for each processor]
    #[arg(long)]
    threads: Option<u32>,
    /// How often each figure is taken
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder of the result, engine.json [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// # Errors
/// The binary does not build, or cannot measure with these settings.
pub fn run(engine: &Engine) -> Result<()> {
    let binary = Binary::build()?;
    let sets: Vec<Option<&str>> =
        if engine.isa.is_empty() { vec![None] } else { engine.isa.iter().map(|isa| Some(isa.as_str())).collect() };
    let mut runs = Vec::new();
    for isa in sets {
        eprintln!("measuring with {}", isa.unwrap_or("the best instruction set"));
        runs.push((isa.unwrap_or("best").to_owned(), binary.json(&engine.arguments(isa))?));
    }
    let results: Vec<&Value> = runs.iter().map(|(_, result)| result).collect();
    let json = json!({"machine": machine(), "commit": commit(), "runs": results});
    let out = engine.out.clone().unwrap_or_else(|| target().join("bench"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let file = out.join("engine.json");
    std::fs::write(&file, format!("{json:#}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}, {}\n\n{}\n{}", machine(), commit(), rows(&runs), file.display());
    Ok(())
}

impl Engine {
    fn arguments(&self, isa: Option<&str>) -> Vec<String> {
        let mut arguments: Vec<String> = ["bench", "engine", "--json"].map(str::to_owned).to_vec();
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        };
        flag("--rounds", Some(self.rounds.to_string()));
        flag("--model", self.model.clone());
        flag("--isa", isa.map(str::to_owned));
        flag("--threads", self.threads.map(|threads| threads.to_string()));
        arguments
    }
}

/// One row for each figure, one column for each run.
fn rows(runs: &[(String, Value)]) -> String {
    let mut head = vec!["tok/s".to_owned()];
    head.extend(runs.iter().map(|(name, _)| name.clone()));
    let none = Vec::new();
    let columns = |result: &Value| result["columns"].as_array().cloned().unwrap_or_default();
    let titles = runs.first().map_or(none, |(_, result)| columns(result));
    let row = |(index, column): (usize, &Value)| {
        let mut row = vec![column["title"].as_str().unwrap_or_default().to_owned()];
        row.extend(
            runs.iter().map(|(_, result)| result["columns"][index]["median"].as_f64().map_or("–".to_owned(), short)),
        );
        row
    };
    table(&head, &titles.iter().enumerate().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_figure_and_a_column_for_each_run() {
        let run = |median: f64| json!({"columns": [{"title": "prefill", "median": median}]});
        let text = rows(&[("avx2".to_owned(), run(100.0)), ("avx512".to_owned(), run(250.4))]);
        assert!(text.contains("| tok/s   | avx2 | avx512 |"), "{text}");
        assert!(text.contains("| prefill |  100 |    250 |"), "{text}");
    }
}
