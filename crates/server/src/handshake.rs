//! The first bytes of a connection to a TLS port: a handshake within the time of a request's head, or an end.

use crate::error::ApiError;
use crate::farewell;
use crate::state::App;
use crate::timed::Timed;
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The encrypted stream; `None` when the connection is over.
pub async fn shake(stream: TcpStream, config: Arc<ServerConfig>, app: &App) -> Option<TlsStream<Timed>> {
    let limit = Duration::from_millis(app.settings.header_timeout_ms);
    let mut first = [0];
    let peeked = timeout(limit, stream.peek(&mut first)).await.ok()?.ok()?;
    if peeked == 0 {
        return None;
    }
    if first[0].is_ascii_uppercase() {
        refuse_plain(stream, app).await;
        return None;
    }
    let timed = Timed::new(stream, Duration::from_millis(app.settings.write_timeout_ms));
    match timeout(limit, TlsAcceptor::from(config).accept(timed)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// A method's first letter, and no TLS record begins so: somebody wrote `http://` where it had to be `https://`.
async fn refuse_plain(mut stream: TcpStream, app: &App) {
    let error = ApiError::body("This port speaks HTTPS alone: write https:// in the address.");
    farewell::say(&mut stream, &error, app).await;
    farewell::linger(stream).await;
}
