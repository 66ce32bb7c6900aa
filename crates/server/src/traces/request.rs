//! The span of a request: from its head to the last byte of its answer, streams included.

use super::context::{Context, SpanId};
use super::otlp::{self, HAS_IS_REMOTE, IS_REMOTE, KeyValue, Kind, SAMPLED, Span, Status, attribute};
use super::{Operation, Tracer};
use crate::traces::Inference;
use axum::extract::Request;
use axum::http::Method;
use orrery_platform::Generate;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A traced request. The last of those who hold it ends its span: the handler, or the body of a stream.
///
/// Nothing is sent of a request that has not passed the door: a stranger could fill the collector.
pub struct Traced {
    tracer: Arc<Tracer>,
    context: Context,
    span: SpanId,
    clock: Clock,
    method: &'static str,
    route: Option<String>,
    /// Only of a route that is known: elsewhere it is whatever a client has written.
    path: String,
    request_id: String,
    tenant: OnceLock<String>,
    status: AtomicU16,
    error: OnceLock<&'static str>,
}

/// Wall time that does not jump while a request runs.
#[derive(Clone, Copy)]
struct Clock {
    unix_ns: u64,
    at: Instant,
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), at: Instant::now() }
    }

    fn unix_ns(&self, instant: Instant) -> u64 {
        let passed = instant.saturating_duration_since(self.at).as_nanos();
        self.unix_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl Tracer {
    /// Begins the span of a request; `None` when it is not to be recorded. Scrapes never are.
    pub fn begin(self: &Arc<Self>, request: &Request, route: Option<&str>, request_id: &str) -> Option<Arc<Traced>> {
        if route == Some("/metrics") {
            return None;
        }
        let context = self.decide(request.headers())?;
        Some(Arc::new(Traced {
            tracer: self.clone(),
            context,
            span: self.ids.span(),
            clock: Clock::start(),
            method: known(request.method()),
            route: route.map(str::to_owned),
            path: route.map_or_else(String::new, |_| crate::state::printable(request.uri().path())),
            request_id: request_id.to_owned(),
            tenant: OnceLock::new(),
            status: AtomicU16::new(0),
            error: OnceLock::new(),
        }))
    }
}

/// The span of this request, where it is traced.
pub fn of(request: &Request) -> Option<Arc<Traced>> {
    request.extensions().get::<Arc<Traced>>().cloned()
}

impl Traced {
    /// The trace's id, for the log.
    pub fn id(&self) -> String {
        self.context.trace.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whose key it was.
    pub fn passed(&self, tenant: &str) {
        // A request passes the door once.
        let _ = self.tenant.set(tenant.to_owned());
    }

    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Begins the span of a generation.
    pub fn inference(self: Arc<Self>, operation: Operation, generate: &Generate, stream: bool) -> Inference {
        Inference::new(self, operation, generate, stream)
    }

    /// It went wrong after the status was sent.
    pub(super) fn failed(&self, error: &'static str) {
        let _ = self.error.set(error);
    }

    pub(super) fn tenant(&self) -> &str {
        self.tenant.get().map_or("", String::as_str)
    }

    pub(super) fn new_span(&self) -> SpanId {
        self.tracer.ids.span()
    }

    /// Sends a span inside this request.
    pub(super) fn send(&self, span: Inside) {
        let Inside { id, parent, name, from, to, attributes, is_error } = span;
        self.tracer.send(Span {
            trace_id: self.context.trace.to_vec(),
            span_id: id.to_vec(),
            trace_state: self.context.state.clone(),
            parent_span_id: parent.unwrap_or(self.span).to_vec(),
            name,
            kind: Kind::Internal.into(),
            start_unix_ns: self.clock.unix_ns(from),
            end_unix_ns: self.clock.unix_ns(to.max(from)),
            attributes,
            status: is_error.then(Status::error),
            flags: SAMPLED | HAS_IS_REMOTE,
        });
    }

    fn attributes(&self, status: u16) -> Vec<KeyValue> {
        let mut attributes = vec![
            attribute("http.request.method", self.method),
            attribute("url.scheme", self.tracer.scheme),
            attribute("orrery.request.id", self.request_id.as_str()),
            attribute("orrery.tenant.id", self.tenant()),
        ];
        if let Some(route) = &self.route {
            attributes.push(attribute("http.route", route.as_str()));
            attributes.push(attribute("url.path", self.path.as_str()));
        }
        if status > 0 {
            attributes.push(attribute("http.response.status_code", usize::from(status)));
        }
        attributes
    }
}

/// A span inside a request's.
pub(super) struct Inside {
    pub id: SpanId,
    /// `None`: the request's own.
    pub parent: Option<SpanId>,
    pub name: String,
    pub from: Instant,
    pub to: Instant,
    pub attributes: Vec<KeyValue>,
    pub is_error: bool,
}

impl Drop for Traced {
    fn drop(&mut self) {
        if self.tenant.get().is_none() {
            return;
        }
        let status = *self.status.get_mut();
        let mut attributes = self.attributes(status);
        let error = match self.error.get() {
            Some(error) => Some((*error).to_owned()),
            None => (status >= 500).then(|| status.to_string()),
        };
        let is_error = error.is_some();
        attributes.extend(error.map(|error| attribute("error.type", error)));
        let remote = if self.context.parent.is_some() { IS_REMOTE } else { 0 };
        self.tracer.send(otlp::Span {
            trace_id: self.context.trace.to_vec(),
            span_id: self.span.to_vec(),
            trace_state: std::mem::take(&mut self.context.state),
            parent_span_id: self.context.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
            name: self
                .route
                .as_ref()
                .map_or_else(|| self.method.to_owned(), |route| format!("{} {route}", self.method)),
            kind: Kind::Server.into(),
            start_unix_ns: self.clock.unix_ns,
            end_unix_ns: self.clock.unix_ns(Instant::now()),
            attributes,
            status: is_error.then(Status::error),
            flags: SAMPLED | HAS_IS_REMOTE | remote,
        });
    }
}

/// A client can write anything for a method.
fn known(method: &Method) -> &'static str {
    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"];
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}
