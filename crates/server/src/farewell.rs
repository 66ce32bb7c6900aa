//! Last words on a connection, where hyper has no say: a whole answer as bytes, and a close that lets the client read it.

use crate::Settings;
use crate::error::ApiError;
use crate::state::App;
use axum::http::StatusCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// After an error a client may still be sending; what it sends is read and thrown away, within these, so that it gets to
/// read the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// The answer to a head that hyper could not read and gave this status.
pub fn bad_head(status: StatusCode, settings: &Settings) -> ApiError {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ApiError::headers_too_large(settings.headers_max, settings.header_max_bytes)
        }
        StatusCode::URI_TOO_LONG => ApiError::uri_too_long(),
        _ => ApiError::body("The request is not HTTP/1.1: its head cannot be read."),
    }
}

/// Writes a whole response that ends the connection.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), error: &ApiError, app: &App) {
    let answer = plain_response(error, app);
    let written = async {
        stream.write_all(&answer).await?;
        stream.flush().await
    };
    // Whoever does not read it has gone.
    let _ = timeout(LINGER, written).await;
}

fn plain_response(error: &ApiError, app: &App) -> Vec<u8> {
    let body = serde_json::to_string(&error.to_body()).unwrap_or_default();
    let reason = error.status.canonical_reason().unwrap_or("");
    let retry =
        error.retry_after_ms.map(|ms| format!("retry-after: {}\r\nretry-after-ms: {ms}\r\n", ms.div_ceil(1_000)));
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {}\r\n{}connection: close\r\n\r\n{body}",
        error.status.as_u16(),
        body.len(),
        app.new_id("req_"),
        retry.unwrap_or_default()
    )
    .into_bytes()
}

/// Closes the sending side, then reads what is still coming.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let read_rest = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; 4 * 1024];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(())
    };
    // Whatever happens here, the connection is over.
    let _ = timeout(LINGER, read_rest).await;
}
