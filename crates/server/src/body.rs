//! Reading a request's body: bounded in bytes, in time and in depth, and a JSON object at the end.

use crate::Settings;
use crate::error::ApiError;
use crate::wire::fields::Fields;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use serde_json::Value;
use std::time::Duration;

/// The body's JSON object. A body that announces more than the limit is refused before any of it is read.
pub async fn read_object(request: Request, settings: &Settings) -> Result<Fields, ApiError> {
    let (parts, body) = request.into_parts();
    check_content_type(&parts.headers)?;
    let bytes = read(&parts.headers, body, settings).await?;
    parse_object(&bytes)
}

/// A body of tensors, and how many of its bytes are JSON, where the header `length` says so. Only a body that has that header
/// may be of another type than JSON: a web page's form cannot set it.
pub async fn read_tensors(
    request: Request,
    length: &HeaderName,
    settings: &Settings,
) -> Result<(Vec<u8>, Option<usize>), ApiError> {
    let (parts, body) = request.into_parts();
    let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    let json_bytes = parts.headers.get(length).map(|value| {
        number(value).ok_or_else(|| ApiError::body(format!("The header `{length}` is not a number of bytes.")))
    });
    let json_bytes = json_bytes.transpose()?;
    if json_bytes.is_none() {
        check_content_type(&parts.headers)?;
    }
    Ok((read(&parts.headers, body, settings).await?, json_bytes))
}

/// A missing type is taken as JSON; a wrong one is refused, which also keeps a web page's form from posting here.
fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence =
        value.to_str().ok().and_then(|text| text.split(';').next()).map(|text| text.trim().to_ascii_lowercase());
    match essence {
        Some(essence) if essence == "application/json" || essence.ends_with("+json") => Ok(()),
        _ => Err(ApiError::media_type()),
    }
}

async fn read(headers: &HeaderMap, body: Body, settings: &Settings) -> Result<Vec<u8>, ApiError> {
    let limit = settings.body_max_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::too_large(limit));
    }
    let timeout = Duration::from_millis(settings.body_timeout_ms);
    let collected = tokio::time::timeout(timeout, collect(body, limit)).await;
    collected.unwrap_or_else(|_| Err(ApiError::timeout("body", settings.body_timeout_ms)))
}

/// Copies, so that a body of tiny chunks takes no more memory than its bytes.
async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if data.len() > limit - bytes.len() {
            return Err(ApiError::too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Why a body did not come to its end; our own reader of frames says it in words.
pub fn broken(error: &axum::Error) -> ApiError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::InvalidData
        {
            return ApiError::body(format!("The request's body is refused: it has {io}."));
        }
        cause = this.source();
    }
    ApiError::body("The request's body ended early or was badly framed.")
}

/// The same of bytes that are all there.
pub fn parse_object(bytes: &[u8]) -> Result<Fields, ApiError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(Fields::new(map)),
        Ok(_) => Err(ApiError::body("The request's body must be a JSON object.")),
        // Position and kind of the mistake; serde_json does not quote the input here.
        Err(error) => Err(ApiError::body(format!("The request's body is not valid JSON: {error}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8]) -> String {
        parse_object(body).err().map(|error| error.body.message).expect("refused")
    }

    #[test]
    fn mistakes_are_named_with_their_position() {
        assert!(message(b"{\"a\": }").contains("line 1 column 7"));
        assert!(message(b"[1]").contains("JSON object"));
        assert!(message(b"").contains("EOF"));
        assert!(message(b"{\"a\": NaN}").contains("line 1"));
        assert!(message(b"{\"a\": \"\xff\"}").contains("line 1"));
        assert!(message(b"{\"a\": \"\0\"}").contains("control character"));
        assert!(message(br#"{"a": "\ud800"}"#).contains("line 1"));
        let deep = format!("{{\"a\": {}", "[".repeat(1_000_000));
        assert!(message(deep.as_bytes()).contains("recursion limit"));
    }

    #[test]
    fn content_types() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().expect("a header"));
            check_content_type(&headers).is_ok()
        };
        assert!(check("application/json; charset=utf-8") && check("Application/JSON") && check("application/x+json"));
        assert!(!check("text/plain") && !check("multipart/form-data; boundary=x"));
        assert!(check_content_type(&HeaderMap::new()).is_ok());
    }
}
