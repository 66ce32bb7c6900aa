//! A socket that keeps back the answers which hyper makes by itself: they have no body, and clients look for one.
//!
//! hyper answers a head that it cannot read before any of our code sees a request, and then ends the connection with an
//! error. `connection` asks here whether that happened, and gives OpenAI's error body in its place. Must not know what
//! that body is.

use axum::http::StatusCode;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Bare<S> {
    stream: S,
    kept_back: Option<StatusCode>,
}

impl<S> Bare<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, kept_back: None }
    }

    /// The socket, and the status of the answer that was kept back.
    pub fn into_inner(self) -> (S, Option<StatusCode>) {
        (self.stream, self.kept_back)
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What has been kept back is still to be said.
        if self.kept_back.is_some() {
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
