//! Connections: accepting, bounding, timing out and closing them.
//!
//! hyper speaks HTTP/1; this module decides how many connections there are, what a client that sends a slow or endless
//! head gets, and how the last bytes reach a client that is still sending.

use crate::Listener;
use crate::Settings;
use crate::bare::{Bare, Unsaid};
use crate::error::ApiError;
use crate::farewell::{bad_head, linger, say};
use crate::handshake::shake;
use crate::slots::{Slot, Slots};
use crate::state::App;
use crate::timed::Timed;
use crate::watched::Watched;
use axum::Router;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time for the last bytes of a drained server to leave it.
const FLUSH: Duration = Duration::from_secs(2);
/// Connections over the limit that are told so at the same time; more are closed without a word.
const REFUSALS_MAX: usize = 1024;
/// Pause after a failed accept, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `drained` resolves, then closes what is idle and lets the rest finish its last bytes.
pub async fn accept(listener: Listener, router: Router, app: App, drained: impl Future<Output = ()>) {
    let mut drained = pin!(drained);
    let Listener { socket, tls } = listener;
    let config = tls.as_ref().map(|tls| tls.subscribe());
    let mut reloading = JoinSet::new();
    if let Some(tls) = tls {
        reloading.spawn(tls.keep_fresh(Duration::from_millis(app.settings.tls_reload_ms)));
    }
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    let mut slots = Slots::new(app.settings.connections_max);
    let epoch = Instant::now();
    let client = || Client {
        slot: Arc::new(Slot::new(epoch)),
        router: router.clone(),
        app: app.clone(),
        tls: config.as_ref().map(|config| config.borrow().clone()),
        stopped: stopped.clone(),
    };
    loop {
        tokio::select! {
            () = &mut drained => break,
            Some(ended) = connections.join_next_with_id(), if !connections.is_empty() => {
                slots.give_back(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            Some(_) = refusals.join_next(), if !refusals.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) if slots.has_room() => {
                    let client = client();
                    let slot = client.slot.clone();
                    slots.take(slot, peer.ip(), connections.spawn(client.serve(stream)));
                }
                Ok((stream, _)) if refusals.len() < REFUSALS_MAX => {
                    refusals.spawn(client().refuse(stream));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(socket);
    // Nobody hears this when there is no connection left, which is fine.
    let _ = stop.send(true);
    let _ = timeout(FLUSH, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
    refusals.shutdown().await;
}

/// One connection's share of the server.
struct Client {
    slot: Arc<Slot>,
    router: Router,
    app: App,
    /// The certificate of the moment when it connected.
    tls: Option<Arc<ServerConfig>>,
    stopped: watch::Receiver<bool>,
}

impl Client {
    async fn serve(mut self, stream: TcpStream) {
        // Each event of a stream goes out at once.
        let _ = stream.set_nodelay(true);
        let Some(config) = self.tls.take() else {
            let timed = Timed::new(stream, Duration::from_millis(self.app.settings.write_timeout_ms));
            return self.speak(timed).await;
        };
        let shaken = tokio::select! {
            shaken = shake(stream, config, &self.app) => shaken,
            _ = self.stopped.wait_for(|stop| *stop) => None,
        };
        if let Some(stream) = shaken {
            self.speak(stream).await;
        }
    }

    async fn speak(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let settings = self.app.settings.as_ref();
        let io = TokioIo::new(Bare::new(stream, self.slot.clone()));
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(settings.header_timeout_ms))
            .max_headers(settings.headers_max)
            .max_header_size(settings.header_max_bytes)
            // hyper refuses less than 8 KiB with a panic.
            .max_buf_size(settings.header_max_bytes.max(8 * 1024));
        let (router, slot) = (TowerToHyperService::new(self.router), self.slot);
        let answer = service_fn(move |request| answer(router.clone(), slot.clone(), request));
        let mut connection = builder.serve_connection(io, answer);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = &mut connection => break ended,
                _ = self.stopped.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let parts = connection.into_parts();
        let (mut stream, unsaid) = parts.io.into_inner().into_inner();
        if let Some(error) = last_answer(&ended, unsaid, !parts.read_buf.is_empty(), settings) {
            say(&mut stream, &error, &self.app).await;
        }
        linger(stream).await;
    }

    /// Says that there are too many connections.
    async fn refuse(self, mut stream: TcpStream) {
        let limit = self.app.settings.connections_max;
        let error = ApiError::unavailable(format!("The limit of {limit} connections is reached; try again soon."));
        let Some(config) = self.tls else {
            say(&mut stream, &error, &self.app).await;
            return linger(stream).await;
        };
        if let Some(mut stream) = shake(stream, config, &self.app).await {
            say(&mut stream, &error, &self.app).await;
            linger(stream).await;
        }
    }
}

/// Has a request answered, and the connection's place marked for as long: from now on, not from the first poll.
fn answer(
    router: TowerToHyperService<Router>,
    slot: Arc<Slot>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Watched>, Infallible>> {
    let stays = slot.begin();
    request.extensions_mut().insert(slot.clone());
    async move {
        if !stays {
            // The task ends with its next pause, which is here.
            std::future::pending::<()>().await;
        }
        let response = router.call(request).await?;
        Ok(response.map(|body| Watched::new(body, slot)))
    }
}

/// What is still to be said after hyper has ended a connection. `unread`: a part of a head has come.
fn last_answer(
    ended: &Result<(), hyper::Error>,
    unsaid: Option<Unsaid>,
    unread: bool,
    settings: &Settings,
) -> Option<ApiError> {
    match unsaid {
        Some(Unsaid::Framing(reason)) => {
            return Some(ApiError::body(format!("The request is refused: it has {reason}.")));
        }
        Some(Unsaid::Status(status)) => return Some(bad_head(status, settings)),
        None => {}
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
