//! Headers of every answer: the request's id, the time it took, and what room the server has left.

use crate::error::ApiError;
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use orrery_platform::limits::RateLimits;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Wraps every route. Logs one line for each request, with nothing of its content.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let id = request_id(&app, request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let limited = request.uri().path().starts_with("/v1/");
    let tracer = app.tracer.as_ref();
    let traced = tracer.and_then(|tracer| tracer.begin(&request, route.as_deref(), id.to_str().unwrap_or("")));
    if let Some(traced) = &traced {
        request.extensions_mut().insert(traced.clone());
    }
    // A panic is our fault and one request's; the connection and the server go on.
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| ApiError::internal().into_response());
    let elapsed_ms = arrived.elapsed().as_millis();
    tracing::info!(
        request_id = id.to_str().unwrap_or(""),
        %method,
        route = route.as_deref().unwrap_or("none"),
        status = response.status().as_u16(),
        elapsed_ms,
        trace_id = traced.as_ref().map(|traced| traced.id()),
        "answered"
    );
    if let Some(traced) = traced {
        traced.answered(response.status().as_u16());
    }
    // A stranger learns nothing of the server's size.
    let limited = limited && response.status() != StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert("openai-processing-ms", HeaderValue::from(u64::try_from(elapsed_ms).unwrap_or(u64::MAX)));
    if limited {
        rate_limits(&app, headers);
    }
    // While draining, clients should open their next connection elsewhere. Of other protocols (`Upgrade: h2c`) none is spoken
    // here, and what a client that takes it for granted sends next must not be read as a request.
    if app.is_draining() || upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A sane id that the client or a proxy brought, or one of our own.
fn request_id(app: &App, headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID).filter(|value| is_sane(value.as_bytes())).cloned().unwrap_or_else(|| {
        let made = HeaderValue::try_from(app.new_id("req_"));
        made.unwrap_or_else(|_| HeaderValue::from_static("req_"))
    })
}

fn is_sane(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(plain)
}

/// OpenAI's six headers, over all models that are ready. There is no quota in time here: the limits are what the server
/// holds at once, so `limit-requests` is places in the queues and the batches, `limit-tokens` is the KV memory in tokens,
/// and the resets are an estimate of when a place comes free: at once, or in a second when none is left.
fn rate_limits(app: &App, headers: &mut HeaderMap) {
    // A limit of the key or its tenant says more.
    if [REQUESTS, TOKENS].iter().all(|names| headers.contains_key(names[0])) {
        return;
    }
    let stats = app.backend.stats();
    let requests_limit = app.settings.requests_max.saturating_mul(stats.len());
    let requests_used: usize = stats.iter().map(|model| model.running + model.waiting).sum();
    let tokens_limit: usize = stats.iter().map(|model| model.blocks_total * model.block_tokens).sum();
    let tokens_used: usize = stats.iter().map(|model| model.blocks_used * model.block_tokens).sum();
    let mut insert = |limit: usize, used: usize, names: [&'static str; 3]| {
        if headers.contains_key(names[0]) {
            return;
        }
        let remaining = limit.saturating_sub(used);
        headers.insert(names[0], HeaderValue::from(limit));
        headers.insert(names[1], HeaderValue::from(remaining));
        headers.insert(names[2], HeaderValue::from_static(if remaining > 0 { "0s" } else { "1s" }));
    };
    insert(requests_limit, requests_used, REQUESTS);
    insert(tokens_limit, tokens_used, TOKENS);
}

/// The limits of the key and its tenant, whichever is nearer. `reset` is when all of it is there again.
pub fn own_limits(limits: &RateLimits, headers: &mut HeaderMap) {
    for (rate, names) in [(limits.requests, REQUESTS), (limits.tokens, TOKENS)] {
        let Some(rate) = rate else { continue };
        headers.insert(names[0], HeaderValue::from(rate.limit));
        headers.insert(names[1], HeaderValue::from(rate.remaining));
        if let Ok(reset) = HeaderValue::try_from(duration(rate.reset_ms)) {
            headers.insert(names[2], reset);
        }
    }
}

/// OpenAI's form: `6m0s`, `1.5s`, `20ms`.
fn duration(ms: u64) -> String {
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let seconds = match (rest / 1000, rest % 1000) {
        (0, 0) if minutes > 0 => "0s".to_owned(),
        (0, 0) => return "0s".to_owned(),
        (0, ms) if minutes == 0 => return format!("{ms}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, ms) => format!("{seconds}.{ms:03}s"),
    };
    if minutes > 0 { format!("{minutes}m{seconds}") } else { seconds }
}

const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] = ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_openais_form() {
        for (ms, text) in
            [(0, "0s"), (20, "20ms"), (1_500, "1.500s"), (8_000, "8s"), (360_000, "6m0s"), (61_250, "1m1.250s")]
        {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn only_plain_short_ids_are_taken_over() {
        assert!(is_sane(b"req_1") && is_sane(b"0af7-65.a:b/c+d="));
        assert!(!is_sane(b"") && !is_sane(b"a b") && !is_sane(b"a\"b") && !is_sane("é".as_bytes()));
        assert!(is_sane(&[b'a'; 128]) && !is_sane(&[b'a'; 129]));
    }
}
