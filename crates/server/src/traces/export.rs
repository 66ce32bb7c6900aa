//! Sends spans to the collector, in batches, from a task of its own.
//!
//! Must not know how spans are made. A collector that does not answer costs spans, which are counted, and nothing else: it is
//! logged when it begins and when it ends.

use super::otlp::{ExportRequest, ExportResponse, Resource, ResourceSpans, Scope, ScopeSpans, Span, attribute};
use super::{TraceSettings, add};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Times that a batch is tried, and the wait before the second, doubled each time.
const TRIES: u32 = 3;
const RETRY: Duration = Duration::from_millis(500);
/// An answer is a few bytes; of a longer one nothing is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of spans.
#[derive(Debug, Default)]
pub struct Stats {
    pub exported: AtomicU64,
    /// For a full queue, or a collector that did not take them.
    pub lost: AtomicU64,
}

pub struct Exporter {
    client: reqwest::Client,
    endpoint: String,
    headers: HeaderMap,
    resource: Resource,
    queue: mpsc::Receiver<Span>,
    stopped: watch::Receiver<bool>,
    stats: Arc<Stats>,
    batch_max: usize,
    batch: Duration,
    timeout: Duration,
    failing: bool,
}

/// Why a batch was not taken. Must not hold the address, which may hold a password.
enum Refusal {
    /// Another try may help.
    Away(String),
    Final(String),
}

impl Exporter {
    pub fn new(
        settings: &TraceSettings,
        queue: mpsc::Receiver<Span>,
        stopped: watch::Receiver<bool>,
        stats: Arc<Stats>,
    ) -> io::Result<Self> {
        Ok(Self {
            client: client(&settings.endpoint)?,
            endpoint: settings.endpoint.clone(),
            headers: headers(&settings.headers)?,
            resource: resource(&settings.service_name),
            queue,
            stopped,
            stats,
            batch_max: settings.batch_max.max(1),
            batch: Duration::from_millis(settings.batch_ms),
            timeout: Duration::from_millis(settings.timeout_ms),
            failing: false,
        })
    }

    /// Until it is told to stop and nothing waits any more.
    pub async fn run(mut self) {
        while let Some(spans) = self.next().await {
            let count = spans.len();
            match self.deliver(spans).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    add(&self.stats.exported, count - rejected);
                    add(&self.stats.lost, rejected);
                }
                Err(reason) => {
                    add(&self.stats.lost, count);
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%reason, "the collector takes no spans; they are lost until it does");
                    }
                }
            }
        }
    }

    /// Spans that wait, up to a batch; the first waits a while for others. `None` at the end.
    async fn next(&mut self) -> Option<Vec<Span>> {
        let first = tokio::select! {
            first = self.queue.recv() => first?,
            _ = self.stopped.wait_for(|stop| *stop) => self.queue.try_recv().ok()?,
        };
        let mut spans = vec![first];
        let mut over = std::pin::pin!(sleep(self.batch));
        while spans.len() < self.batch_max {
            let room = self.batch_max - spans.len();
            tokio::select! {
                biased;
                taken = self.queue.recv_many(&mut spans, room) => if taken == 0 { break },
                () = &mut over => break,
                _ = self.stopped.wait_for(|stop| *stop) => break,
            }
        }
        Some(spans)
    }

    /// How many of them the collector rejected.
    async fn deliver(&mut self, spans: Vec<Span>) -> Result<usize, String> {
        let body = bytes::Bytes::from(self.message(spans).encode_to_vec());
        let mut wait = RETRY;
        for again in (0..TRIES).rev() {
            match self.post(body.clone()).await {
                Ok(rejected) => {
                    if std::mem::replace(&mut self.failing, false) {
                        tracing::info!("the collector takes spans again");
                    }
                    return Ok(rejected);
                }
                Err(Refusal::Final(reason)) => return Err(reason),
                // Known to be away, or at the end, there is no time to wait.
                Err(Refusal::Away(reason)) if again == 0 || self.failing || *self.stopped.borrow() => {
                    return Err(reason);
                }
                Err(Refusal::Away(_)) => {
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = self.stopped.wait_for(|stop| *stop) => {}
                    }
                    wait *= 2;
                }
            }
        }
        Err("no try is left".to_owned())
    }

    async fn post(&self, body: bytes::Bytes) -> Result<usize, Refusal> {
        let request = self.client.post(&self.endpoint).headers(self.headers.clone()).body(body);
        let answered = async {
            let response = request.send().await.map_err(|error| Refusal::Away(reason(error)))?;
            let status = response.status();
            match status.as_u16() {
                200..=299 => Ok(rejected(response).await),
                429 | 502 | 503 | 504 => Err(Refusal::Away(format!("it answered {status}"))),
                _ => Err(Refusal::Final(format!("it answered {status}"))),
            }
        };
        let in_time = timeout(self.timeout, answered).await;
        in_time.unwrap_or_else(|_| Err(Refusal::Away("it did not answer in time".to_owned())))
    }

    fn message(&self, spans: Vec<Span>) -> ExportRequest {
        let scope = Scope { name: "orrery".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        ExportRequest { resource_spans: vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }] }
    }
}

/// Spans that the collector says it has not taken; an answer that cannot be read says nothing.
async fn rejected(mut response: reqwest::Response) -> usize {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return 0;
        }
        bytes.extend_from_slice(&chunk);
    }
    let partial = ExportResponse::decode(bytes.as_slice()).ok().and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0))
}

/// The cause at the bottom, without the address.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn client(endpoint: &str) -> io::Result<reqwest::Client> {
    // A provider that the program has installed already serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("orrery/", env!("CARGO_PKG_VERSION")))
    };
    // A machine without any CA certificate can speak plain HTTP all the same.
    let built = builder().build();
    let built =
        if endpoint.starts_with("https:") { built } else { built.or_else(|_| builder().tls_certs_only([]).build()) };
    built.map_err(|error| io::Error::other(format!("the HTTP client of the traces cannot be built: {}", reason(error))))
}

fn headers(pairs: &[(String, String)]) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    for (name, value) in pairs {
        let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let Some((name, mut value)) = parsed else {
            // The value may be a secret.
            return Err(io::Error::other(format!("the header `{name}` of the traces is none that HTTP can carry")));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn resource(service_name: &str) -> Resource {
    let instance = RandomState::new().hash_one(std::process::id());
    Resource {
        attributes: vec![
            attribute("service.name", service_name),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("service.instance.id", format!("{instance:016x}")),
        ],
    }
}
