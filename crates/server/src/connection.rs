//! Connections: accepting, bounding, timing out and closing them.
//!
//! hyper speaks HTTP/1; this module decides how many connections there are, what a client that sends a slow or endless
//! head gets, and how the last bytes reach a client that is still sending.

use crate::Settings;
use crate::bare::Bare;
use crate::error::ApiError;
use crate::state::App;
use crate::timed::Timed;
use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time for the last bytes of a drained server to leave it.
const FLUSH: Duration = Duration::from_secs(2);
/// After an error a client may still be sending; what it sends is read and thrown away, within these, so that it gets to
/// read the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Connections over the limit that are told so at the same time; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// Pause after a failed accept, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `drained` resolves, then closes what is idle and lets the rest finish its last bytes.
pub async fn accept(listener: TcpListener, router: Router, app: App, drained: impl Future<Output = ()>) {
    let mut drained = pin!(drained);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut drained => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some(_) = refusals.join_next(), if !refusals.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < app.settings.connections_max => {
                    connections.spawn(serve(stream, router.clone(), app.clone(), stopped.clone()));
                }
                Ok((stream, _)) if refusals.len() < REFUSALS_MAX => {
                    refusals.spawn(refuse(stream, app.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    // Nobody hears this when there is no connection left, which is fine.
    let _ = stop.send(true);
    let _ = timeout(FLUSH, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
    refusals.shutdown().await;
}

async fn serve(stream: TcpStream, router: Router, app: App, mut stopped: watch::Receiver<bool>) {
    let settings = app.settings.as_ref();
    // Each event of a stream goes out at once.
    let _ = stream.set_nodelay(true);
    let timed = Timed::new(stream, Duration::from_millis(settings.write_timeout_ms));
    let io = TokioIo::new(Bare::new(timed));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.header_timeout_ms))
        .max_headers(settings.headers_max)
        .max_header_size(settings.header_max_bytes)
        // hyper refuses less than 8 KiB with a panic.
        .max_buf_size(settings.header_max_bytes.max(8 * 1024));
    let mut connection = builder.serve_connection(io, TowerToHyperService::new(router));
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            _ = stopped.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let (mut stream, kept_back) = parts.io.into_inner().into_inner();
    if let Some(error) = last_answer(&ended, kept_back, !parts.read_buf.is_empty(), settings) {
        let _ = timeout(LINGER, stream.write_all(&plain_response(&error, &app))).await;
    }
    linger(stream).await;
}

/// What is still to be said after hyper has ended a connection. `unread`: a part of a head has come.
fn last_answer(
    ended: &Result<(), hyper::Error>,
    kept_back: Option<StatusCode>,
    unread: bool,
    settings: &Settings,
) -> Option<ApiError> {
    if let Some(status) = kept_back {
        return Some(bad_head(status, settings));
    }
    let error = ended.as_ref().err()?;
    tracing::debug!(%error, "a connection ended");
    // An idle connection that times out is just closed; half a head deserves an answer.
    if error.is_timeout() && unread {
        return Some(ApiError::timeout("head", settings.header_timeout_ms));
    }
    // To an HTTP/2 client hyper says nothing at all.
    error.is_parse_version_h2().then(|| bad_head(StatusCode::BAD_REQUEST, settings))
}

/// The answer to a head that hyper could not read and gave this status.
fn bad_head(status: StatusCode, settings: &Settings) -> ApiError {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ApiError::headers_too_large(settings.headers_max, settings.header_max_bytes)
        }
        StatusCode::URI_TOO_LONG => ApiError::uri_too_long(),
        _ => ApiError::body("The request is not HTTP/1.1: its head cannot be read."),
    }
}

/// Says that there are too many connections.
async fn refuse(mut stream: TcpStream, app: App) {
    let limit = app.settings.connections_max;
    let error = ApiError::unavailable(format!("The limit of {limit} connections is reached; try again soon."));
    let _ = timeout(LINGER, stream.write_all(&plain_response(&error, &app))).await;
    linger(stream).await;
}

/// A whole response, for where hyper has no say.
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
async fn linger(mut stream: TcpStream) {
    let read_rest = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; 16 * 1024];
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
