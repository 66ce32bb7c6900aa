//! What Prometheus reads at `/metrics`: vLLM's names, so that dashboards and routers made for it work.
//!
//! Gauges and token counters are the engines' own, read at each scrape; latencies are measured here, where the client
//! sees them, but for where the time went, which the engine tells at the end of each prompt. [`Observation`] follows one request and counts it exactly once, however it ends.

use crate::backend::Backend;
use orrery_platform::{Event, FinishReason, ModelStats, Timings};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// vLLM's buckets, in seconds.
const TTFT_BUCKETS: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const ITL_BUCKETS: [f64; 19] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_BUCKETS: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];

type ByModel = Family<[(&'static str, String); 1], Histogram, fn() -> Histogram>;
type ByReason = Family<[(&'static str, String); 2], Counter>;

/// All metrics of the server.
pub struct Metrics {
    registry: Registry,
    ttft: ByModel,
    itl: ByModel,
    e2e: ByModel,
    queue: ByModel,
    prefill: ByModel,
    decode: ByModel,
    success: ByReason,
}

impl Metrics {
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let mut registry = Registry::default();
        let ttft: ByModel = Family::new_with_constructor(|| Histogram::new(TTFT_BUCKETS));
        let itl: ByModel = Family::new_with_constructor(|| Histogram::new(ITL_BUCKETS));
        let mut by_request = |name: &str, help: &str| {
            let family: ByModel = Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS));
            registry.register(name, help, family.clone());
            family
        };
        let e2e = by_request("vllm:e2e_request_latency_seconds", "From a request's arrival to its end");
        let queue =
            by_request("vllm:request_queue_time_seconds", "From a finished prompt's submission to its first step");
        let prefill =
            by_request("vllm:request_prefill_time_seconds", "From a finished prompt's first step to its first token");
        let decode = by_request("vllm:request_decode_time_seconds", "From a finished prompt's first token to its last");
        let success = ByReason::default();
        registry.register(
            "vllm:time_to_first_token_seconds",
            "From a request's arrival to its first token",
            ttft.clone(),
        );
        registry.register("vllm:inter_token_latency_seconds", "Between two tokens of a choice", itl.clone());
        registry.register("vllm:request_success", "Requests by the reason of their end", success.clone());
        registry.register_collector(Box::new(Engines { backend }));
        Self { registry, ttft, itl, e2e, queue, prefill, decode, success }
    }

    /// OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn count(&self, model: &str, reason: &str) {
        self.success.get_or_create(&[("model_name", model.to_owned()), ("finished_reason", reason.to_owned())]).inc();
    }
}

/// The engines' statistics, read when Prometheus asks.
struct Engines {
    backend: Arc<dyn Backend>,
}

impl fmt::Debug for Engines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Engines")
    }
}

type Row<T> = (&'static str, &'static str, fn(&ModelStats) -> T);

const GAUGES: &[Row<f64>] = &[
    ("vllm:num_requests_running", "Requests that are being computed", |stats| stats.running as f64),
    ("vllm:num_requests_waiting", "Requests in the queue", |stats| stats.waiting as f64),
    ("vllm:kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1", kv_usage),
    ("orrery_kv_blocks_total", "KV blocks of the model", |stats| stats.blocks_total as f64),
    ("orrery_kv_blocks_cached", "KV blocks that only the prefix cache holds", |stats| stats.blocks_cached as f64),
];

const COUNTERS: &[Row<u64>] = &[
    ("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache", |stats| stats.prefix_queries_tokens),
    ("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache", |stats| stats.prefix_hits_tokens),
    ("vllm:prompt_tokens", "Prompt tokens processed", |stats| stats.prompt_tokens),
    ("vllm:generation_tokens", "Tokens generated", |stats| stats.generation_tokens),
    ("vllm:num_preemptions", "Requests put back for lack of KV blocks", |stats| stats.preemptions),
    ("vllm:spec_decode_num_drafts", "Drafts that were verified", |stats| stats.drafts),
    ("vllm:spec_decode_num_draft_tokens", "Tokens of these drafts", |stats| stats.drafts_tokens),
    ("vllm:spec_decode_num_accepted_tokens", "Draft tokens that were accepted", |stats| stats.drafts_accepted_tokens),
    ("orrery_engine_steps", "Steps of the engine", |stats| stats.steps),
];

fn kv_usage(stats: &ModelStats) -> f64 {
    if stats.blocks_total == 0 { 0.0 } else { stats.blocks_used as f64 / stats.blocks_total as f64 }
}

impl Collector for Engines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stats = self.backend.stats();
        for (name, help, read) in GAUGES {
            let kind = ConstGauge::new(0.0_f64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for model in &stats {
                let labels = [("model_name", model.model.as_str())];
                ConstGauge::new(read(model)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in COUNTERS {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for model in &stats {
                let labels = [("model_name", model.model.as_str())];
                ConstCounter::new(read(model)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Follows one request from its arrival. When it is dropped before its end, the request counts as aborted.
pub struct Observation {
    metrics: Arc<Metrics>,
    model: String,
    arrived: Instant,
    n: usize,
    prompts_left: usize,
    /// Time of the last token by choice of the answer.
    last: Vec<Option<Instant>>,
    first_seen: bool,
    reason: Option<&'static str>,
}

impl Observation {
    /// Only for requests that the platform accepted: a name that a client made up must not become a label.
    pub fn new(metrics: Arc<Metrics>, model: String, arrived: Instant, prompts: usize, n: usize) -> Self {
        let last = vec![None; prompts * n];
        Self { metrics, model, arrived, n, prompts_left: prompts, last, first_seen: false, reason: None }
    }

    pub fn event(&mut self, prompt: usize, event: &Event) {
        match event {
            Event::Token { choice, .. } => self.token(prompt * self.n + choice),
            Event::Finished { reason, .. } => {
                self.metrics.count(&self.model, finish_label(*reason));
            }
            Event::Done { timings, .. } => {
                self.spent(*timings);
                self.prompts_left = self.prompts_left.saturating_sub(1);
                if self.prompts_left == 0 {
                    self.reason = Some("done");
                    self.histogram(&self.metrics.e2e, self.arrived.elapsed().as_secs_f64());
                }
            }
            Event::Failed(_) => self.failed(),
            Event::Prompt { .. } => {}
        }
    }

    pub fn failed(&mut self) {
        if self.reason.replace("error").is_none() {
            self.metrics.count(&self.model, "error");
        }
    }

    fn token(&mut self, index: usize) {
        let now = Instant::now();
        if !self.first_seen {
            self.first_seen = true;
            self.histogram(&self.metrics.ttft, now.duration_since(self.arrived).as_secs_f64());
        }
        let Some(last) = self.last.get_mut(index) else { return };
        if let Some(before) = last.replace(now) {
            self.histogram(&self.metrics.itl, now.duration_since(before).as_secs_f64());
        }
    }

    fn spent(&self, timings: Timings) {
        self.histogram(&self.metrics.queue, timings.queue.as_secs_f64());
        self.histogram(&self.metrics.prefill, timings.prefill.as_secs_f64());
        self.histogram(&self.metrics.decode, timings.decode.as_secs_f64());
    }

    fn histogram(&self, family: &ByModel, seconds: f64) {
        family.get_or_create(&[("model_name", self.model.clone())]).observe(seconds);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.reason.is_none() {
            self.metrics.count(&self.model, "abort");
        }
    }
}

fn finish_label(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}
