//! Server-sent events: frames, pings while nothing comes, and the end of a stream, good or bad.
//!
//! `Encode` makes chunks of events; this module owns when they are written. Each event goes out at once; those that are
//! ready together share one write.

use crate::error::ApiError;
use crate::metrics::Observation;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::BoxStream;
use orrery_platform::{Event, Usage};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Events of all prompts of a request, each with its prompt's index.
pub type Events = BoxStream<'static, (usize, Event)>;

/// Makes chunks of events. After an error the stream ends.
pub trait Encode: Send + 'static {
    fn event(&mut self, prompt: usize, event: Event, out: &mut Frames) -> Result<(), ApiError>;
    /// After the last event, before `[DONE]`.
    fn finish(&mut self, usage: Usage, out: &mut Frames);
}

/// Frames that are ready to be written.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    pub fn json(&mut self, chunk: &impl Serialize) {
        let start = self.buffer.len();
        self.buffer.put_slice(b"data: ");
        match serde_json::to_writer((&mut self.buffer).writer(), chunk) {
            Ok(()) => self.buffer.put_slice(b"\n\n"),
            Err(_) => self.buffer.truncate(start),
        }
    }

    /// One chunk with an error: OpenAI's clients raise it.
    pub fn error(&mut self, error: &ApiError) {
        self.json(&error.to_body());
    }

    pub fn done(&mut self) {
        self.buffer.put_slice(b"data: [DONE]\n\n");
    }

    /// A comment, which clients skip; it keeps proxies from cutting a silent connection.
    pub fn ping(&mut self) {
        self.buffer.put_slice(b": ping\n\n");
    }

    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

/// Events that may share one write.
const BURST_MAX: usize = 64;

/// The body of a streamed answer. Dropping it drops the events, which cancels the request.
pub struct EventBody<E> {
    events: Option<Events>,
    encoder: E,
    prompts_left: usize,
    usage: Usage,
    observation: Observation,
    ping_every: Duration,
    ping: Pin<Box<Sleep>>,
    frames: Frames,
}

impl<E: Encode + Unpin> EventBody<E> {
    pub fn new(events: Events, encoder: E, prompts: usize, observation: Observation, ping_ms: u64) -> Self {
        let ping_every = Duration::from_millis(ping_ms.max(1));
        Self {
            events: Some(events),
            encoder,
            prompts_left: prompts,
            usage: Usage::default(),
            observation,
            ping_every,
            ping: Box::pin(sleep(ping_every)),
            frames: Frames::default(),
        }
    }

    pub fn into_response(self) -> Response {
        let mut response = Body::from_stream(self).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // Asks nginx, and what follows its lead, not to buffer.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn event(&mut self, prompt: usize, event: Event) {
        self.observation.event(prompt, &event);
        if let Event::Done { usage, .. } = event {
            crate::wire::choices::add_usage(&mut self.usage, usage);
            self.prompts_left = self.prompts_left.saturating_sub(1);
            if self.prompts_left == 0 {
                self.encoder.finish(self.usage, &mut self.frames);
                self.frames.done();
                self.events = None;
            }
        } else if let Err(error) = self.encoder.event(prompt, event, &mut self.frames) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &ApiError) {
        self.observation.failed();
        self.frames.error(error);
        self.events = None;
    }

    /// Takes what is ready, up to a burst; `true` when more may be.
    fn fill(&mut self, context: &mut Context<'_>) -> bool {
        for _ in 0..BURST_MAX {
            let Some(events) = &mut self.events else { return false };
            match events.as_mut().poll_next(context) {
                Poll::Ready(Some((prompt, event))) => self.event(prompt, event),
                // An end without a terminal event breaks the platform's contract; the client must hear of it.
                Poll::Ready(None) => self.fail(&ApiError::internal()),
                Poll::Pending => return false,
            }
        }
        true
    }
}

impl<E: Encode + Unpin> Stream for EventBody<E> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let more = this.fill(context);
        if this.frames.buffer.is_empty() {
            if this.events.is_none() {
                return Poll::Ready(None);
            }
            if more {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if this.ping.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.frames.ping();
        }
        this.ping.as_mut().reset(Instant::now() + this.ping_every);
        Poll::Ready(Some(Ok(this.frames.take())))
    }
}
