//! Reading `multipart/form-data` piece by piece: a file goes on as it comes, and never is more than a piece of it in memory.
//!
//! Strict where two readers could differ, and bounded in everything but the contents, whose bound is the reader's. Start
//! at [`Multipart::next_part`].

mod disposition;

use crate::Settings;
use crate::body;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use disposition::Disposition;
use http_body_util::BodyExt;
use memchr::memmem;
use std::time::{Duration, Instant};

/// Bytes of one part's headers.
const HEADERS_MAX: usize = 8 * 1024;
/// Parts of a form.
const PARTS_MAX: usize = 32;
/// RFC 2046.
const BOUNDARY_MAX: usize = 70;
/// What a form may have around its contents.
const AROUND_MAX: u64 = 64 * 1024;

pub struct Multipart {
    body: Body,
    pace: Pace,
    /// Received and not yet given out.
    buffer: BytesMut,
    /// A line's end, and the boundary's beginning.
    delimiter: Vec<u8>,
    state: State,
    parts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a delimiter that has to be the next.
    Start,
    Content,
    /// Behind a delimiter: another part, or the end.
    Between,
    End,
}

/// What stands before a part's content.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// A part with one is a file.
    pub filename: Option<String>,
}

impl Multipart {
    /// Reads nothing yet. `content_max` is announced to be the most that the form's contents may have.
    ///
    /// # Errors
    /// The body is no form; it announces that it is too large.
    pub fn of(request: Request, settings: &Settings, content_max: u64) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let boundary = boundary(&parts.headers)?;
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes: u64| bytes > content_max.saturating_add(AROUND_MAX)) {
            return Err(ApiError::too_large(usize::try_from(content_max).unwrap_or(usize::MAX)));
        }
        let pace = Pace::new(settings);
        // The first delimiter has no line before it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Ok(Self { body, pace, buffer, delimiter, state: State::Start, parts: 0 })
    }

    /// The next part, after what is left of the one before; `None` at the form's end.
    ///
    /// # Errors
    /// The form is malformed, cut off, too slow, or has too many parts.
    pub async fn next_part(&mut self) -> Result<Option<Part>, ApiError> {
        if self.state == State::Start {
            self.need(self.delimiter.len(), "it does not begin with its boundary").await?;
            if !self.buffer.starts_with(&self.delimiter) {
                return Err(malformed("it does not begin with its boundary"));
            }
            self.pass(self.delimiter.len(), State::Between);
        }
        let mut left = AROUND_MAX;
        while let Some(piece) = self.piece().await? {
            left =
                left.checked_sub(piece.len() as u64).ok_or_else(|| malformed("a part that is no file is too large"))?;
        }
        if self.state == State::End {
            return Ok(None);
        }
        self.need(2, "it is cut off behind a boundary").await?;
        match &self.buffer[..2] {
            b"\r\n" => {}
            b"--" => {
                self.pass(2, State::End);
                return self.end().await.map(|()| None);
            }
            _ => return Err(malformed("a boundary is followed by something else than a line's end")),
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(malformed(&format!("it has more than {PARTS_MAX} parts")));
        }
        let part = self.headers().await?;
        self.state = State::Content;
        Ok(Some(part))
    }

    /// More of the part's content; `None` at its end.
    ///
    /// # Errors
    /// The form is cut off or too slow.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.state != State::Content {
            return Ok(None);
        }
        loop {
            if let Some(at) = memmem::find(&self.buffer, &self.delimiter) {
                if at > 0 {
                    return Ok(Some(self.buffer.split_to(at).freeze()));
                }
                self.pass(self.delimiter.len(), State::Between);
                return Ok(None);
            }
            // The rest may be the beginning of a delimiter.
            let sure = (self.buffer.len() + 1).saturating_sub(self.delimiter.len());
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            if !self.more().await? {
                return Err(malformed("it ends before its last boundary"));
            }
        }
    }

    /// All of the part's content, as text of at most so many bytes.
    ///
    /// # Errors
    /// It is longer, or no UTF-8; as [`Multipart::piece`].
    pub async fn text(&mut self, name: &str, bytes_max: usize) -> Result<String, ApiError> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            text.extend_from_slice(&piece);
            if text.len() > bytes_max {
                return Err(ApiError::invalid(name, format!("`{name}` has more than {bytes_max} bytes.")));
            }
        }
        String::from_utf8(text).map_err(|_| ApiError::invalid(name, format!("`{name}` is not UTF-8.")))
    }

    async fn headers(&mut self) -> Result<Part, ApiError> {
        let end = loop {
            let end = memmem::find(&self.buffer, b"\r\n\r\n");
            if let Some(end) = end.filter(|end| *end <= HEADERS_MAX) {
                break end;
            }
            if end.is_some() || self.buffer.len() > HEADERS_MAX {
                return Err(malformed(&format!("a part's headers have more than {HEADERS_MAX} bytes")));
            }
            if !self.more().await? {
                return Err(malformed("it is cut off in a part's headers"));
            }
        };
        let head = self.buffer.split_to(end + 4);
        let head = std::str::from_utf8(&head).map_err(|_| malformed("a part's headers are not UTF-8"))?;
        let mut named = None;
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("a part's header has no colon"))?;
            if name.eq_ignore_ascii_case("content-disposition")
                && named.replace(Disposition::parse(value).map_err(malformed)?).is_some()
            {
                return Err(malformed("a part has two content-dispositions"));
            }
        }
        let Some(Disposition { name, filename }) = named else {
            return Err(malformed("a part has no `content-disposition`"));
        };
        Ok(Part { name, filename })
    }

    /// Nothing but a line's end may follow the last boundary.
    async fn end(&mut self) -> Result<(), ApiError> {
        while self.buffer.len() <= 2 {
            if !self.more().await? {
                break;
            }
        }
        match &self.buffer[..] {
            b"" | b"\r\n" => Ok(()),
            _ => Err(malformed("something follows its last boundary")),
        }
    }

    async fn need(&mut self, bytes: usize, otherwise: &str) -> Result<(), ApiError> {
        while self.buffer.len() < bytes {
            if !self.more().await? {
                return Err(malformed(otherwise));
            }
        }
        Ok(())
    }

    fn pass(&mut self, bytes: usize, state: State) {
        let _ = self.buffer.split_to(bytes);
        self.state = state;
    }

    /// Takes in what comes next; `false` at the body's end.
    async fn more(&mut self) -> Result<bool, ApiError> {
        loop {
            let frame = tokio::time::timeout(self.pace.left(), self.body.frame()).await;
            let frame = frame.map_err(|_| self.pace.refuse())?;
            let Some(frame) = frame else { return Ok(false) };
            let Ok(data) = frame.map_err(|error| body::broken(&error))?.into_data() else { continue };
            if !data.is_empty() {
                self.pace.received += data.len() as u64;
                self.buffer.extend_from_slice(&data);
                return Ok(true);
            }
        }
    }
}

/// The time that a body may take: some in any case, and more for what has come.
struct Pace {
    begun: Instant,
    allowance: Duration,
    rate_min: u64,
    received: u64,
}

impl Pace {
    fn new(settings: &Settings) -> Self {
        let allowance = Duration::from_millis(settings.body_timeout_ms);
        Self { begun: Instant::now(), allowance, rate_min: settings.upload_rate_min_bytes.max(1), received: 0 }
    }

    fn left(&self) -> Duration {
        let earned = Duration::from_secs(self.received / self.rate_min);
        (self.allowance + earned).saturating_sub(self.begun.elapsed())
    }

    fn refuse(&self) -> ApiError {
        let elapsed_ms = self.begun.elapsed().as_millis();
        ApiError::timeout("body", u64::try_from(elapsed_ms).unwrap_or(u64::MAX))
    }
}

fn boundary(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(malformed("the request has no `content-type: multipart/form-data; boundary=…`"));
    };
    let text = value.to_str().map_err(|_| ApiError::no_form())?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(ApiError::no_form());
    }
    let mut boundaries = disposition::parameters(parameters)
        .map_err(malformed)?
        .into_iter()
        .filter_map(|(name, value)| name.eq_ignore_ascii_case("boundary").then_some(value));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    match (boundaries.next(), boundaries.next()) {
        (Some(one), None)
            if (1..=BOUNDARY_MAX).contains(&one.len()) && one.bytes().all(plain) && !one.ends_with(' ') =>
        {
            Ok(one)
        }
        _ => Err(malformed(&format!("its content-type has no boundary of 1 to {BOUNDARY_MAX} plain characters, once"))),
    }
}

fn malformed(what: &str) -> ApiError {
    ApiError::body(format!("The request's form is malformed: {what}."))
}

#[cfg(test)]
mod tests;
