//! What stands between hyper and a connection: it lets no badly framed request through, and keeps back the answers which
//! hyper makes by itself, for they have no body, and clients look for one.
//!
//! hyper answers a head that it cannot read before any of our code sees a request, and then ends the connection with an
//! error. `connection` asks here whether that happened, and gives OpenAI's error body in its place. Must not know what
//! that body is.

use crate::framing::{Fault, Framing};
use crate::slots::Slot;
use axum::http::StatusCode;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Bare<S> {
    stream: S,
    slot: Arc<Slot>,
    framing: Framing,
    fault: Option<Fault>,
    /// hyper wanted to read on and has been told of the fault. Where it did not, it has ended the connection by itself, and
    /// nothing is left to be said.
    told: bool,
    /// Waits for the end of the request that is being answered.
    reader: Option<Waker>,
    kept_back: Option<StatusCode>,
}

/// Why hyper came to an end, where the answer is still to be given.
pub enum Unsaid {
    /// The next request is badly framed, for this reason.
    Framing(&'static str),
    /// hyper wanted to answer with this status.
    Status(StatusCode),
}

impl<S> Bare<S> {
    pub fn new(stream: S, slot: Arc<Slot>) -> Self {
        Self { stream, slot, framing: Framing::new(), fault: None, told: false, reader: None, kept_back: None }
    }

    /// The socket, and what is to be said yet. A fault in a body is told by whoever reads that body.
    pub fn into_inner(self) -> (S, Option<Unsaid>) {
        let unsaid = match self.fault {
            Some(fault) => (self.told && !fault.in_body).then_some(Unsaid::Framing(fault.reason)),
            None => self.kept_back.map(Unsaid::Status),
        };
        (self.stream, unsaid)
    }

    /// After a fault nothing is read any more; the request before it gets its answer first.
    fn stop(&mut self, fault: Fault, context: &Context<'_>) -> Poll<io::Result<()>> {
        if !fault.in_body && self.slot.in_request() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.told = true;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.reason)))
    }

    fn keeps_back(&mut self, bytes: &[u8]) -> bool {
        let status = bare_status(bytes);
        self.kept_back = status.or(self.kept_back);
        status.is_some()
    }
}

/// The status of a whole answer without a body that none of our routes gave: theirs carry `x-request-id`. Nothing inside
/// a body looks like this, for JSON has no line end in its strings.
fn bare_status(bytes: &[u8]) -> Option<StatusCode> {
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut is_empty = false;
    for line in lines {
        let name = line.split(':').next()?;
        if name.is_empty() || name.eq_ignore_ascii_case("x-request-id") {
            return None;
        }
        is_empty |= line.eq_ignore_ascii_case("content-length: 0");
    }
    is_empty.then_some(status)
}

impl<S: AsyncRead + Unpin> AsyncRead for Bare<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.fault {
            return self.stop(fault, context);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Err(fault) = self.framing.feed(&buffer.filled()[before..]) {
            buffer.set_filled(before + fault.at);
            self.fault = Some(fault);
            // Nothing read would mean the stream's end.
            if fault.at == 0 {
                return self.stop(fault, context);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bare<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && self.keeps_back(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if self.slot.flushed()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What has been kept back is still to be said.
        if self.kept_back.is_some() || (self.told && self.fault.is_some_and(|fault| !fault.in_body)) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_that_is_not_ours_is_kept_back() {
        let status = |bytes: &str| bare_status(bytes.as_bytes()).map(|status| status.as_u16());
        let head = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n";
        assert_eq!(status(&format!("{head}\r\n")), Some(431));
        assert_eq!(status(&format!("{head}x-request-id: req_1\r\n\r\n")), None);
        assert_eq!(status(head), None);
        assert_eq!(status(&format!("{head}\r\n{{}}")), None);
        assert_eq!(status("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"), None);
        assert_eq!(status("{\"x\":\"HTTP/1.1 400\"}"), None);
        assert_eq!(status("HTTP/1.1 \u{1f600}\r\n\r\n"), None);
    }
}
