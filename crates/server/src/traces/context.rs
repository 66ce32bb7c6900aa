//! Which trace a request belongs to: W3C Trace Context, <https://www.w3.org/TR/trace-context/>, and ids of our own.

use axum::http::HeaderMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

pub type TraceId = [u8; 16];
pub type SpanId = [u8; 8];

/// The specification asks for as much to be passed on at least.
const STATE_BYTES_MAX: usize = 512;

/// Where a request stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    pub sampled: bool,
    /// What other systems have noted in `tracestate`, passed on as it is.
    pub state: String,
}

impl Context {
    /// The root of a new trace.
    pub fn new(trace: TraceId) -> Self {
        Self { trace, parent: None, sampled: true, state: String::new() }
    }

    /// What the caller says. A header that is not sound counts as none, as the specification wants it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let (value, another) = (values.next()?, values.next());
        let (trace, parent, sampled) = parent(value.to_str().ok().filter(|_| another.is_none())?)?;
        let state: Vec<&str> = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok()).collect();
        let state = Some(state.join(",")).filter(|state| state.len() <= STATE_BYTES_MAX).unwrap_or_default();
        Some(Self { trace, parent: Some(parent), sampled, state })
    }
}

/// `00-TRACE-SPAN-FLAGS`; later versions may have more behind it.
fn parent(text: &str) -> Option<(TraceId, SpanId, bool)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = number::<1>(version)?[0];
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let (trace, span, flags) = (number::<16>(trace)?, number::<8>(span)?, number::<1>(flags)?);
    (trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags[0] & 1 == 1))
}

/// Exactly `N` bytes in small hexadecimal digits.
fn number<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Makes ids: a keyed hash of a count, with a key that is random for each process.
pub struct Ids {
    state: RandomState,
    count: AtomicU64,
}

impl Ids {
    pub fn new() -> Self {
        Self { state: RandomState::new(), count: AtomicU64::new(0) }
    }

    pub fn trace(&self) -> TraceId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.span());
        id[8..].copy_from_slice(&self.span());
        id
    }

    pub fn span(&self) -> SpanId {
        let hash = self.state.hash_one(self.count.fetch_add(1, Ordering::Relaxed));
        // Zero would be no id.
        hash.max(1).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn sound_headers_are_taken() {
        let taken = |text: &str| parent(text).map(|(trace, span, sampled)| (trace[0], span[7], sampled));
        assert_eq!(taken(&format!("00-{TRACE}-{SPAN}-01")), Some((0x0a, 0x31, true)));
        assert_eq!(taken(&format!("00-{TRACE}-{SPAN}-00")), Some((0x0a, 0x31, false)));
        assert_eq!(taken(&format!("00-{TRACE}-{SPAN}-fe")), Some((0x0a, 0x31, false)));
        assert_eq!(taken(&format!("cc-{TRACE}-{SPAN}-03-what-comes")), Some((0x0a, 0x31, true)));
    }

    #[test]
    fn others_count_as_none() {
        let zero = |length: usize| "0".repeat(length);
        for bad in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-x"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", zero(32)),
            format!("00-{TRACE}-{}-01", zero(16)),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[..30]),
        ] {
            assert_eq!(parent(&bad), None, "{bad}");
        }
    }

    #[test]
    fn two_headers_are_none_and_a_long_state_is_dropped() {
        let line = |span: &str| format!("00-{TRACE}-{span}-01").parse().expect("a header");
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", line(SPAN));
        headers.append("tracestate", "a=1".parse().expect("a header"));
        headers.append("tracestate", "b=2".parse().expect("a header"));
        assert_eq!(Context::of(&headers).expect("sound").state, "a=1,b=2");
        headers.append("tracestate", "x".repeat(STATE_BYTES_MAX).parse().expect("a header"));
        assert_eq!(Context::of(&headers).expect("sound").state, "");
        headers.append("traceparent", line(SPAN));
        assert_eq!(Context::of(&headers), None);
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::new();
        let (one, two) = (ids.trace(), ids.trace());
        assert!(one != two && one[..8] != one[8..] && one[..8] != two[..8]);
    }
}
