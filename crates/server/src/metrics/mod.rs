//! What Prometheus reads at `/metrics`: vLLM's names, so that dashboards and routers made for it work, and our own for what
//! it does not have: tenants, refusals and the ledger.
//!
//! Gauges and token counters are the engines' own, read at each scrape; latencies are measured here, where the client
//! sees them, but for where the time went, which the engine tells at the end of each prompt. [`Observation`] follows one request and counts it exactly once, however it ends.

mod engines;
mod ledger;
mod retained;
mod spans;
mod tenants;

use crate::backend::Backend;
use crate::state::App;
use crate::traces::{Inference, Stats};
use crate::wire::choices::Grid;
use engines::Engines;
use ledger::Ledger;
use orrery_platform::{Error, Event, FinishReason, Principal, Timings, Usage};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use retained::Retained;
use spans::Spans;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tenants::{Outcome, Refusal, Tenant, Tenants, Tokens};

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
    tenants: Tenants,
    unauthenticated: Counter,
}

impl Metrics {
    pub fn new(backend: Arc<dyn Backend>, tenants_max: usize, spans: Option<Arc<Stats>>) -> Self {
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
        let tenants = Tenants::new(&mut registry, tenants_max);
        let unauthenticated = Counter::default();
        registry.register("orrery_auth_refused", "Requests without a good key", unauthenticated.clone());
        if let Some(stats) = spans {
            registry.register_collector(Box::new(Spans(stats)));
        }
        registry.register_collector(Box::new(Engines { backend: backend.clone() }));
        let files = backend.accounts().files().clone();
        registry.register_collector(Box::new(Retained::new(move || files.retained_lost())));
        registry.register_collector(Box::new(Ledger::new(move || backend.accounts().meter_stats())));
        Self { registry, ttft, itl, e2e, queue, prefill, decode, success, tenants, unauthenticated }
    }

    /// OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A request of this tenant was refused. What is no limit's doing, such as a bad field, counts as nothing.
    pub fn refused(&self, by: &Principal, error: &Error) {
        if let Some(reason) = Refusal::of(error) {
            self.tenants.of(by.tenant_id()).refused(reason);
        }
    }

    /// A request without a good key, and so without a tenant.
    pub fn unauthenticated(&self) {
        self.unauthenticated.inc();
    }

    fn count(&self, model: &str, reason: &str) {
        self.success.get_or_create(&[("model_name", model.to_owned()), ("finished_reason", reason.to_owned())]).inc();
    }
}

/// Follows one request from its arrival. When it is dropped before its end, the request counts as aborted.
pub struct Observation {
    metrics: Arc<Metrics>,
    tenant: Arc<Tenant>,
    model: String,
    arrived: Instant,
    n: usize,
    prompts_left: usize,
    /// Output tokens counted so far, by prompt.
    output: Vec<usize>,
    /// Time of the last token by choice of the answer.
    last: Vec<Option<Instant>>,
    first_seen: bool,
    reason: Option<&'static str>,
    /// Its span, where it is traced.
    span: Option<Inference>,
}

impl Observation {
    /// Only for requests that the platform accepted: a name that a client made up must not become a label.
    pub fn new(app: &App, by: &Principal, model: &str, arrived: Instant, grid: Grid) -> Self {
        let metrics = app.metrics.clone();
        Self {
            tenant: metrics.tenants.of(by.tenant_id()),
            metrics,
            model: model.to_owned(),
            arrived,
            n: grid.n,
            prompts_left: grid.prompts,
            output: vec![0; grid.prompts],
            last: vec![None; grid.prompts * grid.n],
            first_seen: false,
            reason: None,
            span: None,
        }
    }

    /// Tells the span what it sees, too.
    pub fn traced(mut self, span: Option<Inference>) -> Self {
        self.span = span;
        self
    }

    pub fn event(&mut self, prompt: usize, event: &Event) {
        if let Some(span) = &mut self.span {
            span.event(prompt, event);
        }
        match event {
            Event::Token { choice, .. } => {
                self.output(prompt, 1);
                self.token(prompt * self.n + choice);
            }
            Event::Finished { reason, .. } => {
                self.metrics.count(&self.model, finish_label(*reason));
            }
            Event::Done { usage, timings } => {
                self.used(prompt, *usage);
                self.spent(*timings);
                self.prompts_left = self.prompts_left.saturating_sub(1);
                if self.prompts_left == 0 {
                    self.reason = Some("done");
                    self.tenant.ended(Outcome::Completed);
                    if let Some(span) = &mut self.span {
                        span.completed();
                    }
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
            self.tenant.ended(Outcome::Failed);
            if let Some(span) = &mut self.span {
                span.failed("internal_error");
            }
        }
    }

    fn output(&mut self, prompt: usize, count: usize) {
        if let Some(output) = self.output.get_mut(prompt) {
            *output += count;
            self.tenant.tokens(Tokens::Output, count);
        }
    }

    /// What the tokens' own events did not tell: the prompt's, and those that end a choice.
    fn used(&mut self, prompt: usize, usage: Usage) {
        self.tenant.tokens(Tokens::Input, usage.prompt_tokens);
        self.tenant.tokens(Tokens::Cached, usage.cached_tokens);
        let counted = self.output.get(prompt).copied().unwrap_or(0);
        self.output(prompt, usage.completion_tokens.saturating_sub(counted));
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
            self.tenant.ended(Outcome::Cancelled);
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
