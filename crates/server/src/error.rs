//! The one table from what went wrong to a status and to OpenAI's error body.
//!
//! A body names the caller's mistake and the way out, and nothing of the server's inside: causes go to the log, once.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orrery_platform::Error;
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// How long a client should wait while models load or the server drains.
const UNAVAILABLE_RETRY_MS: u64 = 2_000;

/// OpenAI's error body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorObject,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorObject {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field at fault, as a path (`messages[0].content`).
    pub param: Option<String>,
    pub code: Option<&'static str>,
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub body: ErrorObject,
    pub retry_after_ms: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let body = ErrorObject { message: message.into(), kind, param: None, code };
        Self { status, body, retry_after_ms: None }
    }

    fn with_param(mut self, param: impl Into<String>) -> Self {
        self.body.param = Some(param.into());
        self
    }

    /// 400: a field with a bad value.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, None, message).with_param(param)
    }

    /// 400: a field of the API that this server does not have yet.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some("unsupported_parameter"), message).with_param(param)
    }

    /// 400: the body is not the JSON that it should be.
    pub fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, None, message)
    }

    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist; `GET /v1/models` lists those that do.");
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("model_not_found"), message).with_param("model")
    }

    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!("Unknown request URL: {method} {path}. `GET /openapi.json` lists the routes.");
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("unknown_url"), message)
    }

    /// 404 as well: a route of the API that is not built yet.
    pub fn not_built(path: &str) -> Self {
        let message =
            format!("`{path}` is not built yet in this server. `GET /openapi.json` lists the routes that are.");
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("unknown_url"), message)
    }

    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {path}; the header `allow` lists the methods that are.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_allowed"), message)
    }

    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("The request's body is over the limit of {limit_bytes} bytes; send less.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large"), message)
    }

    pub fn headers_too_large(count_max: usize, bytes_max: usize) -> Self {
        let message = format!(
            "The request has more than {count_max} headers, or a head of more than {bytes_max} bytes; send less."
        );
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, INVALID, Some("request_headers_too_large"), message)
    }

    pub fn uri_too_long() -> Self {
        let message = "The request's URL is too long; parameters belong in the body.";
        Self::new(StatusCode::URI_TOO_LONG, INVALID, Some("uri_too_long"), message)
    }

    pub fn media_type() -> Self {
        let message = "The request's body must be JSON; send the header `content-type: application/json`.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, Some("unsupported_media_type"), message)
    }

    /// 415 as well: a route that takes a form.
    pub fn no_form() -> Self {
        let message =
            "The request's body must be a form with a file; send `content-type: multipart/form-data; boundary=…`.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, Some("unsupported_media_type"), message)
    }

    pub fn timeout(what: &str, timeout_ms: u64) -> Self {
        let message = format!("The request's {what} did not arrive within {timeout_ms} ms.");
        Self::new(StatusCode::REQUEST_TIMEOUT, INVALID, Some("request_timeout"), message)
    }

    /// 401: no key, or one that is not good.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key"), message)
    }

    /// 403: a server without keys serves its own machine.
    pub fn foreign() -> Self {
        let message = "This server asks for no keys and serves its own machine alone: `Host` and `Origin` must be loopback \
                       addresses. Start it with keys to be reached otherwise.";
        Self::new(StatusCode::FORBIDDEN, "permission_error", Some("foreign_origin"), message)
    }

    /// 404: an object of ours, not a model.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("not_found"), message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, Some("service_unavailable"), message);
        Self { retry_after_ms: Some(UNAVAILABLE_RETRY_MS), ..error }
    }

    /// 500. What happened is for the log; the client gets the way to find it there.
    pub fn internal() -> Self {
        let message =
            "The server failed to process this request; its log has more under this response's `x-request-id`.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER, Some("internal_error"), message)
    }

    /// The same about a field which this client knows by another name.
    pub fn calling(mut self, ours: &str, theirs: &str) -> Self {
        if ours != theirs {
            self.body.message = self.body.message.replace(&format!("`{ours}`"), &format!("`{theirs}`"));
            self.body.param = self.body.param.map(|param| if param == ours { theirs.to_owned() } else { param });
        }
        self
    }

    pub fn to_body(&self) -> ErrorBody {
        ErrorBody { error: self.body.clone() }
    }
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// The table. `Internal` is logged here, where its cause is last seen.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::BadInput { param, message } => {
                let mut refused = Self::body(message);
                refused.body.param = param.map(str::to_owned);
                refused
            }
            Error::BadField { field, message } => {
                let mut refused = Self::body(message);
                refused.body.param = Some(field);
                refused
            }
            Error::TooLong { param, message } => {
                // OpenAI's code, which clients look for when they shorten a conversation.
                Self::new(StatusCode::BAD_REQUEST, INVALID, Some("context_length_exceeded"), message).with_param(param)
            }
            Error::NotFound(message) => {
                Self::new(StatusCode::NOT_FOUND, INVALID, Some("model_not_found"), message).with_param("model")
            }
            Error::TooLarge(message) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large"), message)
            }
            Error::Unauthenticated(message) => Self::unauthenticated(message),
            Error::Forbidden(message) => {
                Self::new(StatusCode::FORBIDDEN, "permission_error", Some("insufficient_permissions"), message)
            }
            Error::Conflict(message) => Self::new(StatusCode::CONFLICT, INVALID, Some("conflict"), message),
            Error::Limited { message, retry_after_ms, is_budget } => {
                let (kind, code) = match is_budget {
                    true => ("insufficient_quota", "insufficient_quota"),
                    false => ("rate_limit_error", "rate_limit_exceeded"),
                };
                let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, kind, Some(code), message);
                Self { retry_after_ms, ..refused }
            }
            Error::Overloaded { message, retry_after_s } => {
                let kind = "rate_limit_error";
                let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, kind, Some("rate_limit_exceeded"), message);
                Self { retry_after_ms: Some(retry_after_s.max(1).saturating_mul(1_000)), ..refused }
            }
            Error::Unavailable(message) => Self::unavailable(message),
            Error::NoSpace(message) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, SERVER, Some("insufficient_storage"), message)
            }
            Error::Internal { message, source } => {
                let cause = source.map_or(Cow::Borrowed("none"), |cause| Cow::Owned(cause.to_string()));
                tracing::error!(%message, %cause, "a request failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.to_body())).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.body.code == Some("insufficient_quota") {
            // OpenAI's clients would try again at once, and again.
            response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(ms) = self.retry_after_ms {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
            headers.insert("retry-after-ms", HeaderValue::from(ms));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, status: u16, kind: &str, code: Option<&str>, param: Option<&str>) -> ApiError {
        let mapped = ApiError::from(error);
        assert_eq!(mapped.status.as_u16(), status);
        assert_eq!((mapped.body.kind, mapped.body.code), (kind, code));
        assert_eq!(mapped.body.param.as_deref(), param);
        mapped
    }

    #[test]
    fn every_case_has_its_row() {
        check(Error::BadInput { param: Some("n"), message: "x".into() }, 400, INVALID, None, Some("n"));
        check(Error::BadField { field: "a.b".into(), message: "x".into() }, 400, INVALID, None, Some("a.b"));
        check(Error::BadInput { param: None, message: "x".into() }, 400, INVALID, None, None);
        let long = Error::TooLong { param: "messages", message: "x".into() };
        check(long, 400, INVALID, Some("context_length_exceeded"), Some("messages"));
        check(Error::NotFound("x".into()), 404, INVALID, Some("model_not_found"), Some("model"));
        check(Error::Unauthenticated("x".into()), 401, INVALID, Some("invalid_api_key"), None);
        check(Error::Forbidden("x".into()), 403, "permission_error", Some("insufficient_permissions"), None);
        check(Error::Conflict("x".into()), 409, INVALID, Some("conflict"), None);
        check(Error::TooLarge("x".into()), 413, INVALID, Some("request_too_large"), None);
        check(Error::NoSpace("x".into()), 507, SERVER, Some("insufficient_storage"), None);
        let busy = Error::Overloaded { message: "x".into(), retry_after_s: 3 };
        let busy = check(busy, 429, "rate_limit_error", Some("rate_limit_exceeded"), None);
        assert_eq!(busy.retry_after_ms, Some(3_000));
        let limited = |is_budget| Error::Limited { message: "x".into(), retry_after_ms: Some(250), is_budget };
        let often = check(limited(false), 429, "rate_limit_error", Some("rate_limit_exceeded"), None);
        assert_eq!(often.retry_after_ms, Some(250));
        assert!(!often.into_response().headers().contains_key("x-should-retry"));
        let spent = check(limited(true), 429, "insufficient_quota", Some("insufficient_quota"), None);
        assert_eq!(spent.into_response().headers()["x-should-retry"], "false");
        let away = check(Error::Unavailable("x".into()), 503, SERVER, Some("service_unavailable"), None);
        assert!(away.retry_after_ms.is_some());
    }

    #[test]
    fn an_internal_failure_keeps_its_inside() {
        let source: Box<dyn std::error::Error + Send + Sync> = "open /srv/models/x.gguf".into();
        let error = Error::Internal { message: "worker 3 at 0x7ffe died".into(), source: Some(source) };
        let mapped = check(error, 500, SERVER, Some("internal_error"), None);
        assert!(!mapped.body.message.contains("/srv") && !mapped.body.message.contains("0x7ffe"));
    }

    #[test]
    fn retry_after_rounds_up_to_seconds() {
        let mut error = ApiError::unavailable("x");
        error.retry_after_ms = Some(1_500);
        let response = error.into_response();
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["retry-after-ms"], "1500");
    }
}
