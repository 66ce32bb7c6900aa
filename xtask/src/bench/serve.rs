//! `bench serve`: Orrery's server and its peers' in turn, over HTTP, with the same client.
//!
//! A *run* is one call of `orrery bench`; each gives one or more *figures*. In every round each run is done on all servers
//! one after the other, the order turning from round to round, so that a figure of Orrery's and a peer's of the same round
//! make a pair. Ratios are taken in pairs and then their median: a machine that slows down for a while slows both.
//!
//! Start at [`run`], then `columns`, which says what is measured.

mod columns;
mod pictures;
mod report;

use super::orrery::{Binary, Server, target};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use columns::{Figure, Run};
use report::Report;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cargo xtask bench serve --against llama-server=http://127.0.0.1:8081 --against vLLM=http://127.0.0.1:8000

Starts Orrery by itself, unless --url names a server that runs. A ratio above 1 means that Orrery is better.")]
pub struct Serve {
    /// A peer's server with OpenAI's API; may be repeated
    #[arg(long, value_name = "[NAME=]URL")]
    against: Vec<String>,
    /// Orrery's server [default: one that is started]
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "isa", "threads"])]
    url: Option<String>,
    /// Model that Orrery is started with, by name or path [default: the default model]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Instruction set that Orrery is started with [default: the best there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Compute threads that Orrery is started with [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// How often everything is measured on every server
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// What is measured: load (128 in, 64 out), prompt (512 tokens, cold and cached), context (decode at growing lengths)
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["load", "prompt", "context"])]
    columns: Vec<columns::Group>,
    /// Clients of the load
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1", "8", "32"])]
    clients: Vec<u32>,
    /// Requests of the load for each client, at least 8 in all
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,
    /// Tokens of context at which decoding is timed
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["128", "1000", "2000", "4000", "8000"])]
    contexts: Vec<u32>,
    /// Folder of the results: serve.json, serve.md and the pictures [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A server under test.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    name: String,
    url: String,
}

/// # Errors
/// Orrery cannot be built or started, a server does not answer, or the results cannot be written.
pub fn run(serve: &Serve) -> Result<()> {
    let binary = Binary::build()?;
    let (subjects, _own) = serve.subjects(&binary)?;
    let runs = columns::runs(&serve.columns, &serve.clients, serve.requests, &serve.contexts);
    let figures: Vec<Figure> = runs.iter().flat_map(Run::figures).collect();
    let mut report = Report::new(subjects.iter().map(|subject| subject.name.clone()).collect(), figures);
    let out = serve.out.clone().unwrap_or_else(|| target().join("bench"));
    for round in 0..serve.rounds {
        for run in &runs {
            for turn in 0..subjects.len() {
                let subject = (turn + round as usize) % subjects.len();
                let result = measure(&binary, run, &subjects[subject], round)?;
                run.figures().iter().for_each(|figure| report.add(figure, subject, figure.value(&result)));
            }
        }
        // After every round, so that a run that is broken off leaves what it has.
        write(&report, &out)?;
    }
    println!("{}\n{}", report.table(), out.display());
    Ok(())
}

/// The report and its pictures, in place of those of earlier rounds.
fn write(report: &Report, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let put = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    put("serve.json", format!("{:#}\n", report.json()))?;
    put("serve.md", report.table())?;
    for (name, chart) in pictures::charts(report) {
        if let Some(svg) = chart.svg() {
            put(name, svg)?;
        }
    }
    Ok(())
}

/// One run on one server. Results of requests that failed are not figures, and are said on the standard error.
fn measure(binary: &Binary, run: &Run, subject: &Subject, round: u32) -> Result<Value> {
    let result = binary
        .json(&run.arguments(&subject.url, round))
        .with_context(|| format!("{} ({})", subject.name, subject.url))?;
    let failed = result["failed"].as_u64().unwrap_or_default();
    let note = if failed > 0 { format!(": {failed} requests failed: {}", result["failures"]) } else { String::new() };
    eprintln!("round {}, {}, {}{note}", round + 1, run.title(), subject.name);
    Ok(result)
}

impl Serve {
    /// Orrery first. The server that this started, if it did, lives as long as the second value.
    fn subjects(&self, binary: &Binary) -> Result<(Vec<Subject>, Option<Server>)> {
        let peers = self.against.iter().map(|text| Subject::parse(text)).collect::<Result<Vec<_>>>()?;
        let (url, own) = match &self.url {
            Some(url) => (url.clone(), None),
            None => {
                let server = binary.serve(&self.flags())?;
                (server.url.clone(), Some(server))
            }
        };
        let mut subjects = vec![Subject { name: "Orrery".to_owned(), url }];
        subjects.extend(peers);
        Ok((subjects, own))
    }

    fn flags(&self) -> Vec<String> {
        let threads = self.threads.map(|threads| threads.to_string());
        let flags = [("--model", self.model.clone()), ("--isa", self.isa.clone()), ("--threads", threads)];
        flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
    }
}

impl Subject {
    fn parse(text: &str) -> Result<Self> {
        // An address has no `=` before its scheme.
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains(':') => (name.to_owned(), url),
            _ => (text.trim_start_matches("http://").to_owned(), text),
        };
        let known = url.starts_with("http://") || url.starts_with("https://");
        ensure!(
            known && !name.is_empty(),
            "--against {text}: write NAME=URL, such as llama-server=http://127.0.0.1:8081"
        );
        Ok(Self { name, url: url.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_have_names_and_addresses() {
        let subject = |name: &str, url: &str| Subject { name: name.to_owned(), url: url.to_owned() };
        for (text, expected) in [
            ("vLLM=http://a:8000", subject("vLLM", "http://a:8000")),
            ("http://a:8000", subject("a:8000", "http://a:8000")),
            ("http://a/?k=v", subject("a/?k=v", "http://a/?k=v")),
        ] {
            assert_eq!(Subject::parse(text).expect(text), expected);
        }
        for text in ["vLLM", "=http://a", "vLLM=a:8000"] {
            assert!(Subject::parse(text).expect_err(text).to_string().contains("write NAME=URL"));
        }
    }
}
