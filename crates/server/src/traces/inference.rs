//! The span of a generation, by OpenTelemetry's conventions for generative AI
//! (<https://github.com/open-telemetry/semantic-conventions-genai>), and in it a span each for the time in the queue, the
//! prompt and the tokens.
//!
//! What the conventions let one record of contents (messages, instructions, stop sequences) is left out, always.

use super::context::SpanId;
use super::otlp::{KeyValue, attribute};
use super::request::{Inside, Traced};
use orrery_platform::{Error, Event, FinishReason, Generate, Timings, Usage};
use std::sync::Arc;
use std::time::Instant;

/// Prompts of one request whose times are told each; more are counted in the sums alone.
const PROMPTS_MAX: usize = 16;
/// Choices whose reasons are told.
const REASONS_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Chat,
    TextCompletion,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
        }
    }
}

/// A generation under way; its span ends when this is dropped.
pub struct Inference {
    request: Arc<Traced>,
    span: SpanId,
    operation: Operation,
    stream: bool,
    begun: Instant,
    /// When the engine had it, or nearly so.
    accepted: Option<Instant>,
    /// Known once it is accepted: before, it is whatever a client has written.
    model: Option<String>,
    first: Option<Instant>,
    attributes: Vec<KeyValue>,
    reasons: Vec<&'static str>,
    usage: Usage,
    /// Tokens that came by events; the sum of a prompt that has ended is in `usage`.
    output: usize,
    prompts: usize,
    outcome: Option<Outcome>,
}

enum Outcome {
    Completed,
    Failed(&'static str),
}

impl Inference {
    pub(super) fn new(request: Arc<Traced>, operation: Operation, generate: &Generate, stream: bool) -> Self {
        Self {
            span: request.new_span(),
            attributes: asked(generate, stream, request.tenant()),
            request,
            operation,
            stream,
            begun: Instant::now(),
            accepted: None,
            model: None,
            first: None,
            reasons: Vec::new(),
            usage: Usage::default(),
            output: 0,
            prompts: 0,
            outcome: None,
        }
    }

    /// The engine has it: `model` is one that is served.
    pub fn accepted(&mut self, model: &str, id: &str) {
        self.accepted = Some(Instant::now());
        self.model = Some(model.to_owned());
        self.attributes.push(attribute("gen_ai.request.model", model));
        self.attributes.push(attribute("gen_ai.response.model", model));
        self.attributes.push(attribute("gen_ai.response.id", id));
    }

    pub fn refused(&mut self, error: &Error) {
        self.outcome = Some(Outcome::Failed(error_type(error)));
    }

    pub fn failed(&mut self, error: &'static str) {
        self.request.failed(error);
        self.outcome.get_or_insert(Outcome::Failed(error));
    }

    pub fn event(&mut self, prompt: usize, event: &Event) {
        match event {
            Event::Token { .. } => {
                self.output += 1;
                self.first.get_or_insert_with(Instant::now);
            }
            Event::Finished { reason, .. } if self.reasons.len() < REASONS_MAX => self.reasons.push(word(*reason)),
            Event::Done { usage, timings } => {
                self.prompts += 1;
                crate::wire::choices::add_usage(&mut self.usage, *usage);
                self.phases(prompt, *timings);
            }
            Event::Failed(error) => self.failed(error_type(error)),
            Event::Finished { .. } | Event::Prompt { .. } => {}
        }
    }

    /// All prompts have ended.
    pub fn completed(&mut self) {
        self.outcome.get_or_insert(Outcome::Completed);
    }

    /// One after the other from the moment when the engine had it.
    fn phases(&self, prompt: usize, timings: Timings) {
        let Some(mut from) = self.accepted.filter(|_| prompt < PROMPTS_MAX) else { return };
        let Timings { queue, prefill, decode } = timings;
        for (name, length) in [("queue", queue), ("prefill", prefill), ("decode", decode)] {
            let to = from + length;
            let attributes = vec![attribute("orrery.prompt.index", prompt)];
            let (id, parent) = (self.request.new_span(), Some(self.span));
            self.request.send(Inside { id, parent, name: name.to_owned(), from, to, attributes, is_error: false });
            from = to;
        }
    }

    /// What is known at the end.
    fn told(&mut self, end: Instant) -> bool {
        let output = self.usage.completion_tokens.max(self.output);
        let mut put = |key: &str, count: usize| self.attributes.push(attribute(key, count));
        put("gen_ai.usage.output_tokens", output);
        if self.prompts > 0 {
            put("gen_ai.usage.input_tokens", self.usage.prompt_tokens);
            put("gen_ai.usage.cache_read.input_tokens", self.usage.cached_tokens);
        }
        if !self.reasons.is_empty() {
            self.attributes.push(attribute("gen_ai.response.finish_reasons", self.reasons.as_slice()));
        }
        if let Some(first) = self.first.filter(|_| self.stream) {
            let seconds = first.min(end).duration_since(self.begun).as_secs_f64();
            self.attributes.push(attribute("gen_ai.response.time_to_first_chunk", seconds));
        }
        let (outcome, error) = match self.outcome {
            Some(Outcome::Completed) => ("completed", None),
            Some(Outcome::Failed(error)) => (if self.accepted.is_some() { "failed" } else { "refused" }, Some(error)),
            None => ("cancelled", None),
        };
        self.attributes.push(attribute("orrery.outcome", outcome));
        self.attributes.extend(error.map(|error| attribute("error.type", error)));
        error.is_some()
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        let to = Instant::now();
        let is_error = self.told(to);
        let operation = self.operation.name();
        self.attributes.push(attribute("gen_ai.operation.name", operation));
        let model = self.model.as_ref();
        self.request.send(Inside {
            id: self.span,
            parent: None,
            name: model.map_or_else(|| operation.to_owned(), |model| format!("{operation} {model}")),
            from: self.begun,
            to,
            attributes: std::mem::take(&mut self.attributes),
            is_error,
        });
    }
}

/// What was asked for, but for texts.
fn asked(generate: &Generate, stream: bool, tenant: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        attribute("gen_ai.provider.name", "orrery"),
        attribute("gen_ai.output.type", "text"),
        attribute("gen_ai.request.stream", stream),
        attribute("gen_ai.request.temperature", f64::from(generate.temperature)),
        attribute("gen_ai.request.top_p", f64::from(generate.top_p)),
        attribute("gen_ai.request.frequency_penalty", f64::from(generate.frequency_penalty)),
        attribute("gen_ai.request.presence_penalty", f64::from(generate.presence_penalty)),
        attribute("orrery.tenant.id", tenant),
    ];
    attributes.extend(generate.max_tokens.map(|tokens| attribute("gen_ai.request.max_tokens", tokens)));
    attributes.extend(generate.seed.map(|seed| attribute("gen_ai.request.seed", seed.cast_signed())));
    if generate.top_k > 0 {
        attributes.push(attribute("gen_ai.request.top_k", generate.top_k as f64));
    }
    if generate.n != 1 {
        attributes.push(attribute("gen_ai.request.choice.count", generate.n));
    }
    attributes
}

fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Few and fixed words, those of the error bodies where they have one.
fn error_type(error: &Error) -> &'static str {
    match error {
        Error::BadInput { .. } | Error::BadField { .. } => "invalid_request",
        Error::TooLarge(_) => "request_too_large",
        Error::TooLong { .. } => "context_length_exceeded",
        Error::NotFound(_) => "model_not_found",
        Error::Unauthenticated(_) => "invalid_api_key",
        Error::Forbidden(_) => "insufficient_permissions",
        Error::Conflict(_) => "conflict",
        Error::Limited { is_budget: true, .. } => "insufficient_quota",
        Error::Limited { .. } | Error::Overloaded { .. } => "rate_limit_exceeded",
        Error::Unavailable(_) => "service_unavailable",
        Error::NoSpace(_) => "insufficient_storage",
        Error::Internal { .. } => "internal_error",
    }
}
