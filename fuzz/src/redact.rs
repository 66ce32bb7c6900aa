//! Personal data in a text: whole, and as a stream whose pieces the input chooses.

use orrery_platform::redact::{HOLD_BACK_BYTES_MAX, Stream, mask};

pub fn run(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    let (masked, findings) = mask(&text);
    let mut end = 0;
    for finding in &findings {
        assert!(finding.range.start >= end && finding.range.end > finding.range.start, "{findings:?}");
        assert!(text.get(finding.range.clone()).is_some(), "{findings:?}");
        end = finding.range.end;
    }
    let mut stream = Stream::new();
    let mut streamed = String::new();
    let mut rest = &*text;
    let mut fed = 0;
    while !rest.is_empty() {
        let mut cut = usize::from(*size % 32).clamp(1, rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        streamed.push_str(&stream.push(&rest[..cut]));
        fed += cut;
        rest = &rest[cut..];
        if findings.is_empty() {
            assert!(fed - streamed.len() <= HOLD_BACK_BYTES_MAX, "{} bytes are held back", fed - streamed.len());
        }
    }
    streamed.push_str(&stream.finish());
    assert_eq!(streamed, masked, "a stream is not the whole");
}
