//! Server-sent events, as far as OpenAI's API uses them: the `data` of each event.

/// Bytes in, event data out. One event may be at most [`Decoder::EVENT_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Received and not yet taken; `start` bytes of it are done with.
    buffer: Vec<u8>,
    start: usize,
    data: Option<String>,
}

impl Decoder {
    /// Largest event in bytes, line ends included.
    pub const EVENT_MAX: usize = 16 << 20;

    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete event's data; comments, ids and event names are passed over.
    ///
    /// # Errors
    /// An event is too long.
    pub fn take(&mut self) -> Result<Option<String>, String> {
        while let Some(length) = self.buffer[self.start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.buffer[self.start..self.start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.start += length + 1;
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Ok(Some(data));
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
                match &mut self.data {
                    Some(data) => *data = format!("{data}\n{value}"),
                    None => self.data = Some(value.into_owned()),
                }
            }
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let held = self.buffer.len() + self.data.as_ref().map_or(0, String::len);
        if held > Self::EVENT_MAX {
            return Err(format!("an event of the stream is longer than {} bytes", Self::EVENT_MAX));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<String> {
        std::iter::from_fn(|| decoder.take().expect("short events")).collect()
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_events() {
        let stream =
            ": ping\n\ndata: {\"a\":\"é\"}\r\n\r\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\n".as_bytes();
        let expected = ["{\"a\":\"é\"}", "two\nlines", "[DONE]"];
        for cut in 0..=stream.len() {
            let mut decoder = Decoder::default();
            decoder.push(&stream[..cut]);
            let mut events = all(&mut decoder);
            decoder.push(&stream[cut..]);
            events.extend(all(&mut decoder));
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_unfinished_event_is_not_given() {
        let mut decoder = Decoder::default();
        decoder.push(b"data: x\n");
        assert_eq!(decoder.take(), Ok(None));
    }

    #[test]
    fn endless_events_are_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&vec![b'x'; Decoder::EVENT_MAX + 1]);
        assert!(decoder.take().is_err());
    }
}
