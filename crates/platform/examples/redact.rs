//! Reads texts, one JSON object with `text` a line, and writes what was found in each: `[[kind, start, end], …]`, offsets in
//! characters. Used by `bench/redact`.

use orrery_platform::redact;
use std::io::{BufRead as _, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<String> = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;
    let texts: Vec<String> = lines.iter().map(|line| text(line)).collect::<Result<_, _>>()?;
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
