//! Where requests begin and end, checked byte by byte before hyper sees them.
//!
//! A proxy and a server that disagree on where a request ends let one client put words into another's mouth (request
//! smuggling). hyper follows the standard where it permits some leniency; nothing lenient gets as far as hyper: whatever two
//! readers could take differently is a [`Fault`]. This keeps no bytes, only a state, and must not know hyper or answers.

/// Longest field name and value that matter here: `transfer-encoding` and a length.
const NAME_MAX: usize = 17;
const VALUE_MAX: usize = 24;
/// Hexadecimal digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 8;
/// A body may have so many chunks whatever their size, and one more for each so many bytes: a body of single bytes costs a
/// hundred times what it brings.
const CHUNKS_FREE: u64 = 16 * 1024;
const CHUNK_BYTES: u64 = 64;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The first byte, of those given, that must not be read.
    pub at: usize,
    pub reason: &'static str,
    /// In a body, so that the request itself is being answered.
    pub in_body: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a request; empty lines may come.
    Start,
    StartLf,
    RequestLine,
    RequestLf,
    /// Before the first byte of a header's line.
    LineStart,
    Name,
    Value,
    ValueLf,
    /// The line feed that ends the head.
    HeadLf,
    /// So many bytes of a body, or of a chunk.
    Body(u64),
    Size,
    SizeLf,
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    LastCr,
    LastLf,
}

/// A header that says where the body ends, or whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Encoding,
    Host,
    Other,
}

/// Follows one connection's requests.
#[derive(Debug)]
pub struct Framing {
    state: State,
    name: Short<NAME_MAX>,
    value: Short<VALUE_MAX>,
    field: Field,
    length: Option<u64>,
    chunked: bool,
    host: bool,
    size: u64,
    digits: usize,
    chunks: u64,
    chunk_bytes: u64,
}

/// The beginning of a text, and whether that was all of it.
#[derive(Debug)]
struct Short<const MAX: usize> {
    bytes: [u8; MAX],
    count: usize,
}

impl<const MAX: usize> Short<MAX> {
    const EMPTY: Self = Self { bytes: [0; MAX], count: 0 };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.count) {
            *place = byte.to_ascii_lowercase();
        }
        self.count += 1;
    }

    /// `None` if it was longer.
    fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.count)
    }
}

impl Framing {
    pub fn new() -> Self {
        Self {
            state: State::Start,
            name: Short::EMPTY,
            value: Short::EMPTY,
            field: Field::Other,
            length: None,
            chunked: false,
            host: false,
            size: 0,
            digits: 0,
            chunks: 0,
            chunk_bytes: 0,
        }
    }

    /// Reads on.
    ///
    /// # Errors
    /// The first byte that is not good. What stands before it may be read, nothing after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // Bodies pass in one step.
            if let State::Body(left) | State::Chunk(left) = self.state {
                let here = (bytes.len() - at) as u64;
                let taken = left.min(here);
                at += taken as usize;
                self.state = match (self.state, left - taken) {
                    (State::Body(_), 0) => State::Start,
                    (State::Body(_), left) => State::Body(left),
                    (_, 0) => State::ChunkCr,
                    (_, left) => State::Chunk(left),
                };
                continue;
            }
            self.state = self.step(byte).map_err(|reason| Fault { at, reason, in_body: self.in_body() })?;
            at += 1;
        }
        Ok(())
    }

    fn in_body(&self) -> bool {
        use State::{ChunkCr, ChunkLf, LastCr, LastLf, Size, SizeLf};
        matches!(self.state, Size | SizeLf | ChunkCr | ChunkLf | LastCr | LastLf)
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Start, b'\r') => Ok(State::StartLf),
            (State::StartLf, b'\n') => Ok(State::Start),
            (State::Start | State::RequestLine, b'\n') | (State::StartLf, _) => Err(LINE_END),
            (State::Start, 0x21..=0x7e) => {
                self.begin();
                Ok(State::RequestLine)
            }
            (State::RequestLine, b'\r') => Ok(State::RequestLf),
            // hyper knows what a target may be made of.
            (State::RequestLine, 0x20..=0x7e | 0x80..) => Ok(State::RequestLine),
            (State::Start | State::RequestLine, _) => Err("a control character in its first line"),
            (State::RequestLf | State::ValueLf, b'\n') => Ok(State::LineStart),
            (State::RequestLf | State::ValueLf | State::HeadLf, byte) if byte != b'\n' => Err(LINE_END),
            (State::HeadLf, _) => Ok(self.body()),
            (State::LineStart | State::Name | State::Value, byte) => self.header(byte),
            (_, byte) => self.chunk(byte),
        }
    }

    fn begin(&mut self) {
        (self.length, self.chunked, self.host) = (None, false, false);
    }

    fn header(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::LineStart, b'\r') => Ok(State::HeadLf),
            (State::LineStart, b' ' | b'\t') => Err("a header that goes on in the next line"),
            (State::Name, b':') => {
                self.field = self.named()?;
                self.value = Short::EMPTY;
                Ok(State::Value)
            }
            (State::LineStart | State::Name, byte) if is_token(byte) => {
                if self.state == State::LineStart {
                    self.name = Short::EMPTY;
                }
                self.name.push(byte);
                Ok(State::Name)
            }
            (State::LineStart | State::Name, b'\n') => Err(LINE_END),
            (State::LineStart | State::Name, _) => Err("a header's name with a character that has no place there"),
            (_, b'\r') => {
                self.valued()?;
                Ok(State::ValueLf)
            }
            (_, b'\n') => Err(LINE_END),
            (_, b'\t' | 0x20..=0x7e | 0x80..) => {
                let blank = matches!(byte, b' ' | b'\t');
                if self.field != Field::Other && !(blank && self.value.count == 0) {
                    self.value.push(byte);
                }
                Ok(State::Value)
            }
            _ => Err("a header's value with a control character"),
        }
    }

    /// At the colon after a name.
    fn named(&mut self) -> Result<Field, &'static str> {
        match self.name.text() {
            Some(b"content-length") if self.length.is_some() => Err("more than one content-length"),
            Some(b"content-length") if self.chunked => Err(BOTH),
            Some(b"content-length") => Ok(Field::Length),
            Some(b"transfer-encoding") if self.chunked => Err("more than one transfer-encoding"),
            Some(b"transfer-encoding") if self.length.is_some() => Err(BOTH),
            Some(b"transfer-encoding") => Ok(Field::Encoding),
            Some(b"host") if std::mem::replace(&mut self.host, true) => Err("more than one host"),
            Some(b"host") => Ok(Field::Host),
            _ => Ok(Field::Other),
        }
    }

    /// At the end of a header's line.
    fn valued(&mut self) -> Result<(), &'static str> {
        let value = self.value.text().map(<[u8]>::trim_ascii_end);
        match self.field {
            Field::Length => {
                self.length = Some(value.and_then(decimal).ok_or("a content-length that is no plain number")?);
            }
            Field::Encoding if value == Some(b"chunked") => self.chunked = true,
            Field::Encoding => return Err("a transfer-encoding other than `chunked`"),
            Field::Host | Field::Other => {}
        }
        Ok(())
    }

    fn body(&mut self) -> State {
        match (self.chunked, self.length) {
            (true, _) => {
                (self.chunks, self.chunk_bytes) = (0, 0);
                self.next_chunk()
            }
            (false, Some(length @ 1..)) => State::Body(length),
            (false, _) => State::Start,
        }
    }

    fn next_chunk(&mut self) -> State {
        (self.size, self.digits) = (0, 0);
        State::Size
    }

    fn chunk(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Size, b';') => Err("a chunk with an extension"),
            (State::Size, byte) => {
                let digit = char::from(byte).to_digit(16).ok_or("a chunk's size that is no hexadecimal number")?;
                self.digits += 1;
                if self.digits > SIZE_DIGITS_MAX {
                    return Err("a chunk's size of too many digits");
                }
                self.size = self.size * 16 + u64::from(digit);
                Ok(State::Size)
            }
            (State::SizeLf, b'\n') => self.sized(),
            (State::ChunkCr, b'\r') => Ok(State::ChunkLf),
            (State::ChunkLf, b'\n') => Ok(self.next_chunk()),
            (State::ChunkCr | State::ChunkLf, _) => Err("a chunk that does not end where its size says"),
            (State::LastCr, b'\r') => Ok(State::LastLf),
            (State::LastCr, _) => Err("trailers after its last chunk"),
            (State::LastLf, b'\n') => Ok(State::Start),
            _ => Err(LINE_END),
        }
    }

    fn sized(&mut self) -> Result<State, &'static str> {
        if self.size == 0 {
            return Ok(State::LastCr);
        }
        self.chunks += 1;
        self.chunk_bytes += self.size;
        if self.chunks > CHUNKS_FREE + self.chunk_bytes / CHUNK_BYTES {
            return Err("too many tiny chunks; send larger ones");
        }
        Ok(State::Chunk(self.size))
    }
}

const LINE_END: &str = "a line that does not end with CR LF";
const BOTH: &str = "both content-length and transfer-encoding";

/// A character of a field's name (RFC 9110, `tchar`).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault, the same however the bytes are cut.
    fn fault(text: &str) -> Option<Fault> {
        let whole = Framing::new().feed(text.as_bytes()).err();
        let mut framing = Framing::new();
        let by_byte = text
            .bytes()
            .enumerate()
            .find_map(|(at, byte)| framing.feed(&[byte]).err().map(|fault| Fault { at: at + fault.at, ..fault }));
        assert_eq!(whole, by_byte, "{text:?}");
        whole
    }

    #[test]
    fn good_requests_pass_and_end_where_they_end() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nhost:x\r\nempty:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\t 5 \r\n\r\nab\ncdGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n00a\r\n0123\n56789\r\nB\r\n0123456789a\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nx-very-long-name-of-a-header: \u{e9}\r\ntransfer-encoding-x: y\r\n\r\n",
        ] {
            let mut framing = Framing::new();
            assert_eq!(framing.feed(text.as_bytes()), Ok(()), "{text:?}");
            assert_eq!(framing.state, State::Start, "{text:?}");
            assert_eq!(fault(text), None);
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_fault() {
        for (text, reason) in [
            ("content-length: 5\r\ntransfer-encoding: chunked\r\n", BOTH),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", BOTH),
            ("content-length: 5\r\ncontent-length: 6\r\n", "more than one content-length"),
            ("content-length: 5\r\nCONTENT-LENGTH: 5\r\n", "more than one content-length"),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "more than one transfer-encoding"),
            ("host: a\r\nhost: a\r\n", "more than one host"),
            ("host: a\nx: y\r\n", LINE_END),
            ("host: a\rx: y\r\n", LINE_END),
            ("host: a\r\n x\r\n", "a header that goes on in the next line"),
        ] {
            assert_eq!(
                fault(&format!("POST / HTTP/1.1\r\n{text}\r\n")).map(|fault| fault.reason),
                Some(reason),
                "{text:?}"
            );
        }
        for length in ["-1", "+1", "1,1", "1 1", "0x1", "", "99999999999999999999", "1_0", "1.0"] {
            let found = fault(&format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n"));
            assert_eq!(found.map(|fault| fault.reason), Some("a content-length that is no plain number"), "{length}");
        }
        for encoding in ["xchunked", "chunked, identity", "identity, chunked", "chunked;q=1", "gzip", "", "chun ked"] {
            let found = fault(&format!("POST / HTTP/1.1\r\ntransfer-encoding: {encoding}\r\n\r\n"));
            assert_eq!(found.map(|fault| fault.reason), Some("a transfer-encoding other than `chunked`"), "{encoding}");
        }
    }

    #[test]
    fn the_end_of_a_faulty_head_is_never_let_through() {
        let text = "POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
        let found = fault(text).expect("a fault");
        assert!(!text[..found.at].contains("\r\n\r\n") && !found.in_body);
        let found = fault("GET / HTTP/1.1\r\n\n").expect("a fault");
        assert_eq!((found.at, found.reason), (16, LINE_END));
    }

    #[test]
    fn chunks_are_counted_against_their_bytes() {
        let mut framing = Framing::new();
        framing.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").expect("a good head");
        let good = (0..CHUNKS_FREE).all(|_| framing.feed(b"1\r\nx\r\n").is_ok());
        let more = (0..CHUNKS_FREE).filter(|_| framing.feed(b"1\r\nx\r\n").is_ok()).count() as u64;
        assert!(good && more < CHUNKS_FREE / 32, "{more}");
        framing = Framing::new();
        framing.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").expect("a good head");
        let chunk = format!("40\r\n{}\r\n", "x".repeat(64));
        assert!((0..8 * CHUNKS_FREE).all(|_| framing.feed(chunk.as_bytes()).is_ok()));
    }
}
