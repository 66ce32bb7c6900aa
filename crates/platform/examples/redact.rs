//! Reads texts, one JSON object with `text` a line, and writes what was found in each: `[[kind, start, end], …]`, offsets in
//! characters. Used by `bench/redact`.
//!
//! With `--time` it masks each text again and again and writes the mean of nanoseconds for one text of about 4 kB instead.

use orrery_platform::redact;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<String> = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;
    let texts: Vec<String> = lines.iter().map(|line| text(line)).collect::<Result<_, _>>()?;
    if std::env::args().any(|argument| argument == "--time") {
        return time(&texts);
    }
    let mut out = std::io::stdout().lock();
    for text in &texts {
        let characters = |byte: usize| text[..byte].chars().count();
        let spans: Vec<_> = redact::find(text)
            .into_iter()
            .map(|finding| (finding.kind.name(), characters(finding.range.start), characters(finding.range.end)))
            .collect();
        writeln!(out, "{}", serde_json::to_string(&spans)?)?;
    }
    Ok(())
}

fn text(line: &str) -> Result<String, Box<dyn std::error::Error>> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    Ok(value["text"].as_str().ok_or("a line without a text")?.to_owned())
}

/// Texts are joined to about 4 kB, as a chat has; whole and in pieces of four characters, as a stream has.
fn time(texts: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    const SIZE: usize = 4096;
    let (mut chats, mut chat) = (Vec::new(), String::new());
    for text in texts {
        chat.push_str(text);
        chat.push('\n');
        if chat.len() >= SIZE {
            chats.push(std::mem::take(&mut chat));
        }
    }
    if chats.is_empty() {
        return Err("less than 4 kB of text was given".into());
    }
    let rounds = 2000 / chats.len() + 1;
    let count = f64::from(u32::try_from(rounds * chats.len())?);
    let bytes = chats.iter().map(String::len).sum::<usize>() / chats.len();
    let start = Instant::now();
    let mut findings = 0;
    for _ in 0..rounds {
        findings += chats.iter().map(|chat| redact::mask(chat).1.len()).sum::<usize>();
    }
    println!("whole: {:.1} µs for {bytes} bytes, {findings} findings", start.elapsed().as_secs_f64() * 1e6 / count);
    let start = Instant::now();
    for _ in 0..rounds {
        chats.iter().for_each(|chat| stream(chat));
    }
    println!("stream of four characters each: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / count);
    Ok(())
}

fn stream(text: &str) {
    let mut stream = redact::Stream::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(4).map_or(rest.len(), |(index, _)| index);
        std::hint::black_box(stream.push(&rest[..end]));
        rest = &rest[end..];
    }
    std::hint::black_box(stream.finish());
}
