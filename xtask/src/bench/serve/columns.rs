//! What is measured: the runs of the load generator, and the figures that each gives.

use crate::bench::figures::Better;
use clap::ValueEnum;
use serde_json::Value;

/// Tokens of the prompts whose first token is timed.
pub const PROMPT_TOKENS: u32 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Clients that send 128 tokens and get 64
    Load,
    /// The time to the first token of a prompt of 512 tokens, new and again
    Prompt,
    /// The time per token after prompts of growing length
    Context,
}

/// One call of the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Load {
        clients: u32,
        requests: u32,
    },
    Cold,
    /// The same prompts once more, right after [`Run::Cold`].
    Cached,
    Context {
        tokens: u32,
    },
}

/// Where a figure stands in the load generator's JSON, and what it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub run: Run,
    pub key: &'static str,
    pub title: String,
    pub unit: &'static str,
    pub better: Better,
}

/// The runs in order; a cached run follows its cold one. A load has `each` requests for each client, and at least 8.
pub fn runs(groups: &[Group], clients: &[u32], each: u32, contexts: &[u32]) -> Vec<Run> {
    let mut runs = Vec::new();
    if groups.contains(&Group::Prompt) {
        runs.extend([Run::Cold, Run::Cached]);
    }
    if groups.contains(&Group::Load) {
        runs.extend(clients.iter().map(|clients| Run::load(*clients, each)));
    }
    if groups.contains(&Group::Context) {
        runs.extend(contexts.iter().map(|tokens| Run::Context { tokens: *tokens }));
    }
    runs
}

impl Run {
    /// At least 8 requests: with fewer the first, which finds everything cold, weighs too much.
    pub fn load(clients: u32, each: u32) -> Self {
        Run::Load { clients, requests: clients.saturating_mul(each).max(8) }
    }

    pub fn title(&self) -> String {
        match self {
            Run::Load { clients: 1, .. } => "1 client".to_owned(),
            Run::Load { clients, .. } => format!("{clients} clients"),
            Run::Cold => format!("prompt of {PROMPT_TOKENS}, new"),
            Run::Cached => format!("prompt of {PROMPT_TOKENS}, cached"),
            Run::Context { tokens } => format!("decode at {tokens}"),
        }
    }

    /// Of `orrery`. Every round has prompts of its own, the same on all servers; those of a cached run are its cold run's.
    pub fn arguments(&self, url: &str, round: u32) -> Vec<String> {
        let (clients, requests, input, output, warmup) = match *self {
            Run::Load { clients, requests } => (clients, requests, 128, 64, 1),
            Run::Cold | Run::Cached => (1, 4, PROMPT_TOKENS, 2, 0),
            Run::Context { tokens } => (1, 1, tokens, 32, 0),
        };
        let (seed, clients, requests) = (self.seed(round).to_string(), clients.to_string(), requests.to_string());
        let (input, output, warmup) = (input.to_string(), output.to_string(), warmup.to_string());
        let pairs: [(&str, &str); 7] = [
            ("--url", url),
            ("--clients", &clients),
            ("--requests", &requests),
            ("--input-tokens", &input),
            ("--output-tokens", &output),
            ("--warmup", &warmup),
            ("--seed", &seed),
        ];
        let flags = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
        ["bench".to_owned(), "--json".to_owned()].into_iter().chain(flags).collect()
    }

    /// Another for every run and round, so that no prompt is in a prefix cache by chance; equal for cold and cached.
    fn seed(&self, round: u32) -> u64 {
        let run = match *self {
            Run::Load { clients, .. } => u64::from(clients),
            Run::Cold | Run::Cached => 1 << 40,
            Run::Context { tokens } => (2 << 40) + u64::from(tokens),
        };
        run + (u64::from(std::process::id()) << 44) + (u64::from(round) << 32)
    }

    pub fn figures(&self) -> Vec<Figure> {
        let figure = |key, title: String, unit, better| Figure { run: *self, key, title, unit, better };
        let of = |what: &str| format!("{}: {what}", self.title());
        match self {
            Run::Load { .. } => vec![
                figure("output_throughput", of("output"), "tok/s", Better::More),
                figure("mean_ttft_ms", of("mean TTFT"), "ms", Better::Less),
                figure("p99_ttft_ms", of("p99 TTFT"), "ms", Better::Less),
                figure("mean_itl_ms", of("mean ITL"), "ms", Better::Less),
            ],
            Run::Cold => vec![
                figure("prefill", format!("prefill, {PROMPT_TOKENS} tokens"), "tok/s", Better::More),
                figure("p50_ttft_ms", of("TTFT"), "ms", Better::Less),
            ],
            Run::Cached => vec![figure("p50_ttft_ms", of("TTFT"), "ms", Better::Less)],
            Run::Context { .. } => vec![figure("p50_tpot_ms", of("time per token"), "ms", Better::Less)],
        }
    }
}

impl Figure {
    /// In one result; `None` where requests failed or the key is not there.
    pub fn value(&self, result: &Value) -> Option<f64> {
        if result["failed"].as_u64()? > 0 {
            return None;
        }
        if self.key == "prefill" {
            let ms = result["p50_ttft_ms"].as_f64()?;
            return (ms > 0.0).then(|| f64::from(PROMPT_TOKENS) / ms * 1000.0);
        }
        result[self.key].as_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cached_run_sends_what_its_cold_run_sent_and_nothing_else_repeats() {
        let runs = runs(&[Group::Context, Group::Prompt, Group::Load], &[1, 8], 4, &[128]);
        assert_eq!(runs[..2], [Run::Cold, Run::Cached]);
        assert_eq!(Run::Cold.arguments("u", 1), Run::Cached.arguments("u", 1));
        let mut seeds: Vec<u64> = (0..3).flat_map(|round| runs[1..].iter().map(move |run| run.seed(round))).collect();
        let count = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!((seeds.len(), count), (12, 12));
    }

    #[test]
    fn figures_are_read_from_the_result() {
        let result = json!({"failed": 0, "p50_ttft_ms": 256.0, "output_throughput": 70.5});
        assert_eq!(Run::Cold.figures()[0].value(&result), Some(2000.0));
        assert_eq!(Run::load(8, 4).figures()[0].value(&result), Some(70.5));
        assert_eq!(Run::load(8, 4).figures()[1].value(&result), None, "not in the result");
        assert_eq!(Run::Cold.figures()[1].value(&json!({"failed": 1, "p50_ttft_ms": 9.0})), None, "a request failed");
    }

    #[test]
    fn the_load_generator_is_told_the_lengths() {
        let arguments = Run::load(32, 4).arguments("http://a", 0).join(" ");
        assert!(arguments.starts_with("bench --json --url http://a --clients 32 --requests 128 "), "{arguments}");
        assert!(arguments.contains("--input-tokens 128 --output-tokens 64 --warmup 1"), "{arguments}");
        assert!(Run::load(1, 4).arguments("u", 0).join(" ").contains("--requests 8 "));
    }
}
