//! Sends the requests and times their chunks.

use super::random::Random;
use crate::client::{Client, Refused};
use crate::progress;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    pub model: String,
    pub chat: bool,
    pub output_tokens: usize,
    pub ignore_eos: bool,
    /// Requests in flight at the same time.
    pub clients: usize,
    /// Earliest time of each request, in seconds from the start; zeros for a closed loop.
    pub arrivals_s: Vec<f64>,
}

/// What was timed of one successful request.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// From sending to the first chunk with output.
    pub ttft_s: f64,
    /// Between chunks with output.
    pub itl_s: Vec<f64>,
    /// From sending to the last chunk with output.
    pub e2e_s: f64,
    pub input_tokens: Option<usize>,
    /// Of the server's `usage`; else the number of chunks.
    pub output_tokens: usize,
    pub counted: bool,
}

/// A request's timing, or why it failed.
pub type Sample = Result<Timing, String>;

/// Times at which requests arrive: all at once without a rate, else a Poisson process, stretched so that the last comes
/// at count / rate as in `vllm bench serve`.
pub fn arrivals(count: usize, rate: Option<f64>, mut random: Random) -> Vec<f64> {
    let Some(rate) = rate else { return vec![0.0; count] };
    let mut time = 0.0;
    let times: Vec<f64> = (0..count)
        .map(|_| {
            time += -(1.0 - random.unit()).ln();
            time
        })
        .collect();
    let stretch = count as f64 / rate / time.max(f64::MIN_POSITIVE);
    times.into_iter().map(|time| time * stretch).collect()
}

/// Sends one request per prompt; at most `clients` at a time, in order. Gives the samples and the seconds from the
/// first request to the last reply.
pub async fn run(client: &Client, plan: Arc<Plan>, prompts: Vec<String>, show: bool) -> (Vec<Sample>, f64) {
    let count = prompts.len();
    let bar =
        if show && std::io::stderr().is_terminal() { ProgressBar::new(count as u64) } else { ProgressBar::hidden() };
    bar.set_style(progress::style("requests [{bar:40}] {pos}/{len} {elapsed}"));
    let prompts = Arc::new(prompts);
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..plan.clients.min(count) {
        let (client, plan, prompts, next, bar) =
            (client.clone(), Arc::clone(&plan), Arc::clone(&prompts), Arc::clone(&next), bar.clone());
        workers.spawn(async move {
            let mut samples = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(prompt) = prompts.get(index) else { return samples };
                tokio::time::sleep_until((start + Duration::from_secs_f64(plan.arrivals_s[index])).into()).await;
                samples.push(request(&client, &plan, prompt).await.map_err(|error| reason(&error)));
                bar.inc(1);
            }
        });
    }
    let samples = workers.join_all().await.into_iter().flatten().collect();
    let duration_s = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    (samples, duration_s)
}

/// The parts of a chunk that are read.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl Chunk {
    /// Whether it carries output: in a completion any chunk with a choice (a token's text may be empty), in a chat one
    /// with content (the first carries the role alone).
    fn has_output(&self) -> bool {
        self.choices.first().is_some_and(|choice| {
            choice.delta.as_ref().is_none_or(|delta| delta.content.as_ref().is_some_and(|text| !text.is_empty()))
        })
    }
}

async fn request(client: &Client, plan: &Plan, prompt: &str) -> anyhow::Result<Timing> {
    let (path, body) = body(plan, prompt);
    let start = Instant::now();
    let mut events = client.stream(path, &body).await?;
    let mut times: Vec<f64> = Vec::with_capacity(plan.output_tokens + 1);
    let mut usage = None;
    while let Some(data) = events.next().await? {
        let now = start.elapsed().as_secs_f64();
        let chunk: Chunk = serde_json::from_str(&data)?;
        if let Some(error) = &chunk.error {
            anyhow::bail!("failed in mid-stream: {}", crate::client::message(&json!({"error": error}).to_string()));
        }
        if chunk.has_output() {
            times.push(now);
        }
        usage = chunk.usage.or(usage);
    }
    let (Some(first), Some(last)) = (times.first(), times.last()) else { anyhow::bail!("the reply was empty") };
    Ok(Timing {
        ttft_s: *first,
        itl_s: times.windows(2).map(|pair| pair[1] - pair[0]).collect(),
        e2e_s: *last,
        input_tokens: usage.as_ref().map(|usage| usage.prompt_tokens),
        output_tokens: usage.as_ref().map_or(times.len(), |usage| usage.completion_tokens),
        counted: usage.is_some(),
    })
}

fn body(plan: &Plan, prompt: &str) -> (&'static str, Value) {
    let mut body = json!({
        "model": plan.model, "max_tokens": plan.output_tokens, "temperature": 0.0, "stream": true,
        "stream_options": {"include_usage": true},
    });
    if plan.ignore_eos {
        body["ignore_eos"] = json!(true);
    }
    if plan.chat {
        body["messages"] = json!([{"role": "user", "content": prompt}]);
        ("/v1/chat/completions", body)
    } else {
        body["prompt"] = json!(prompt);
        ("/v1/completions", body)
    }
}

/// A failure in a few words, equal for failures of one kind.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Refused>() {
        Some(Refused { status, message }) => format!("HTTP {status}: {message}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_poisson_and_keep_the_rate() {
        let count = 4000;
        let times = arrivals(count, Some(8.0), Random::new(3));
        assert!((times[count - 1] - 500.0).abs() < 1e-6);
        assert!(times.is_sorted());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // An exponential distribution's deviation equals its mean, and 1/e of the gaps are longer than the mean.
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.1, "{deviation} {mean}");
        let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1.0f64).exp()).abs() < 0.03, "{longer}");
        assert_eq!(times, arrivals(count, Some(8.0), Random::new(3)));
        assert_eq!(arrivals(2, None, Random::new(3)), [0.0, 0.0]);
    }

    #[test]
    fn which_chunks_carry_output() {
        for (data, expected) in [
            (r#"{"choices":[{"text":"a","index":0}]}"#, true),
            (r#"{"choices":[{"text":"","finish_reason":null}]}"#, true),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant"}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"a"}}]}"#, true),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, false),
            (r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, false),
        ] {
            let chunk: Chunk = serde_json::from_str(data).expect(data);
            assert_eq!(chunk.has_output(), expected, "{data}");
        }
    }
}
