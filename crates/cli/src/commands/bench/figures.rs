//! From timings to figures.
//!
//! Definitions, as in `vllm bench serve` (vllm/benchmarks/serve.py), over successful requests:
//! TTFT: sending to the first chunk with output. ITL: between neighbouring chunks with output, all requests together.
//! E2E: sending to the last chunk with output. TPOT: (E2E − TTFT) / (output tokens − 1), for two tokens or more.
//! Throughputs: sums over the time from the first request sent to the last reply. Percentiles are interpolated linearly.

use super::load::{Plan, Sample, Timing};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Mean and percentiles in milliseconds; zeros when there is nothing to sum up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
}

impl Summary {
    fn new(seconds: impl Iterator<Item = f64>) -> Self {
        let mut ms: Vec<f64> = seconds.map(|seconds| seconds * 1000.0).collect();
        if ms.is_empty() {
            return Self::default();
        }
        ms.sort_by(f64::total_cmp);
        let mean_ms = ms.iter().sum::<f64>() / ms.len() as f64;
        Self { mean_ms, p50_ms: percentile(&ms, 50.0), p90_ms: percentile(&ms, 90.0), p99_ms: percentile(&ms, 99.0) }
    }
}

/// Of sorted values, interpolated between the two nearest ranks.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (sorted.len() - 1) as f64 * percent / 100.0;
    let below = rank.floor();
    let value = |rank: f64| sorted[rank as usize];
    value(below) + (value(rank.ceil()) - value(below)) * (rank - below)
}

/// The result of one run.
#[derive(Debug, Clone)]
pub struct Report {
    model: String,
    clients: usize,
    rate: Option<f64>,
    exact_prompts: bool,
    /// Every reply carried `usage`.
    counted: bool,
    pub requests: usize,
    completed: usize,
    /// Reason → requests.
    pub failures: BTreeMap<String, usize>,
    duration_s: f64,
    input_tokens: usize,
    output_tokens: usize,
    summaries: [(&'static str, Summary); 4],
}

impl Report {
    pub fn new(plan: &Plan, rate: Option<f64>, exact_prompts: bool, samples: &[Sample], duration_s: f64) -> Self {
        let good: Vec<&Timing> = samples.iter().filter_map(|sample| sample.as_ref().ok()).collect();
        let mut failures = BTreeMap::new();
        for reason in samples.iter().filter_map(|sample| sample.as_ref().err()) {
            *failures.entry(reason.clone()).or_insert(0) += 1;
        }
        let tpot = |timing: &&Timing| {
            (timing.output_tokens > 1).then(|| (timing.e2e_s - timing.ttft_s) / (timing.output_tokens - 1) as f64)
        };
        Self {
            model: plan.model.clone(),
            clients: plan.clients,
            rate,
            exact_prompts,
            counted: good.iter().all(|timing| timing.counted),
            requests: samples.len(),
            completed: good.len(),
            failures,
            duration_s,
            input_tokens: good.iter().filter_map(|timing| timing.input_tokens).sum(),
            output_tokens: good.iter().map(|timing| timing.output_tokens).sum(),
            summaries: [
                ("ttft", Summary::new(good.iter().map(|timing| timing.ttft_s))),
                ("tpot", Summary::new(good.iter().filter_map(tpot))),
                ("itl", Summary::new(good.iter().flat_map(|timing| timing.itl_s.iter().copied()))),
                ("e2e", Summary::new(good.iter().map(|timing| timing.e2e_s))),
            ],
        }
    }

    fn per_second(&self, count: usize) -> f64 {
        if self.duration_s > 0.0 { count as f64 / self.duration_s } else { 0.0 }
    }

    /// For machines; the names of throughputs and latencies are those of vLLM's result files.
    pub fn json(&self) -> Value {
        let mut map = Map::new();
        let mut set = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        set("model", json!(self.model));
        set("clients", json!(self.clients));
        set("request_rate", json!(self.rate));
        set("exact_prompts", json!(self.exact_prompts));
        set("output_tokens_from", json!(if self.counted { "usage" } else { "chunks" }));
        set("requests", json!(self.requests));
        set("completed", json!(self.completed));
        set("failed", json!(self.requests - self.completed));
        set("failures", json!(self.failures));
        set("duration", json!(self.duration_s));
        set("total_input_tokens", json!(self.input_tokens));
        set("total_output_tokens", json!(self.output_tokens));
        set("request_throughput", json!(self.per_second(self.completed)));
        set("output_throughput", json!(self.per_second(self.output_tokens)));
        set("total_token_throughput", json!(self.per_second(self.input_tokens + self.output_tokens)));
        for (name, summary) in &self.summaries {
            set(&format!("mean_{name}_ms"), json!(summary.mean_ms));
            set(&format!("p50_{name}_ms"), json!(summary.p50_ms));
            set(&format!("p90_{name}_ms"), json!(summary.p90_ms));
            set(&format!("p99_{name}_ms"), json!(summary.p99_ms));
        }
        Value::Object(map)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| writeln!(out, "{text}").expect("invariant: a string takes all");
        let rate = self.rate.map_or_else(String::new, |rate| format!(", {rate} requests/s"));
        line(format!("{} with {} clients{rate}", self.model, self.clients));
        line(format!("requests      {} of {} in {:.2} s", self.completed, self.requests, self.duration_s));
        let input = if self.exact_prompts { "" } else { " (prompts by words: the server has no /tokenize)" };
        let output = if self.counted { "" } else { " (output counted in chunks: the server sent no usage)" };
        line(format!("tokens        {} in, {} out{input}{output}", self.input_tokens, self.output_tokens));
        line(format!("requests/s    {:.2}", self.per_second(self.completed)));
        line(format!("output tok/s  {:.1}", self.per_second(self.output_tokens)));
        line(format!("total tok/s   {:.1}", self.per_second(self.input_tokens + self.output_tokens)));
        line(String::new());
        line(format!("{:<6}{:>10}{:>10}{:>10}{:>10}", "ms", "mean", "p50", "p90", "p99"));
        for (name, s) in &self.summaries {
            let name = name.to_uppercase();
            line(format!("{name:<6}{:>10.2}{:>10.2}{:>10.2}{:>10.2}", s.mean_ms, s.p50_ms, s.p90_ms, s.p99_ms));
        }
        for (reason, count) in &self.failures {
            line(format!("failed: {count} × {reason}"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(ttft_s: f64, itl_s: &[f64], output_tokens: usize) -> Sample {
        let e2e_s = ttft_s + itl_s.iter().sum::<f64>();
        Ok(Timing { ttft_s, itl_s: itl_s.to_vec(), e2e_s, input_tokens: Some(10), output_tokens, counted: true })
    }

    fn report(samples: &[Sample]) -> Report {
        let plan =
            Plan { model: "m".into(), chat: false, output_tokens: 4, ignore_eos: true, clients: 2, arrivals_s: vec![] };
        Report::new(&plan, None, true, samples, 2.0)
    }

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([1, 2, 3, 4, 10], [0, 50, 90, 99, 100])
        let values = [1.0, 2.0, 3.0, 4.0, 10.0];
        for (percent, expected) in [(0.0, 1.0), (50.0, 3.0), (90.0, 7.6), (99.0, 9.76), (100.0, 10.0)] {
            assert!((percentile(&values, percent) - expected).abs() < 1e-12, "{percent}");
        }
        assert!((percentile(&[5.0], 99.0) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn the_definitions() {
        // The first reply's five tokens came in three chunks; the second has one token, so it has no TPOT.
        let samples = [timing(0.1, &[0.2, 0.2], 5), timing(0.3, &[], 1), Err("x".into()), Err("x".into())];
        let json = report(&samples).json();
        let close = |key: &str, expected: f64| {
            let value = json[key].as_f64().expect(key);
            assert!((value - expected).abs() < 1e-9, "{key} {value} {expected}");
        };
        close("mean_ttft_ms", 200.0);
        close("mean_tpot_ms", 100.0);
        close("mean_itl_ms", 200.0);
        close("mean_e2e_ms", 400.0);
        close("output_throughput", 3.0);
        close("total_token_throughput", 13.0);
        close("request_throughput", 1.0);
        assert_eq!((json["completed"].as_u64(), json["failed"].as_u64()), (Some(2), Some(2)));
        assert_eq!(json["failures"], json!({"x": 2}));
    }

    #[test]
    fn nothing_succeeded() {
        let report = report(&[Err("connection refused".into())]);
        assert!(report.table().contains("failed: 1 × connection refused"));
        assert_eq!(report.json()["mean_ttft_ms"], 0.0);
    }
}
