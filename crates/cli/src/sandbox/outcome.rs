//! What became of a child, in words for whoever reads why a model is not loaded.

use super::{Report, Sandbox};
use crate::size;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// Longest reason that is passed on, in characters.
const REASON_CHARS_MAX: usize = 1_000;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// How a child ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    /// It did not end by itself in its time.
    pub is_late: bool,
    pub report: String,
    pub complaint: String,
}

/// The child's report. It has read a hostile file, so its words are only text: short, and printable.
///
/// # Errors
/// There is none: it crashed, or hit one of its bounds.
pub fn read(output: &Output, bounds: &Sandbox) -> Result<Report, String> {
    let report = output.report.lines().last().and_then(|line| serde_json::from_str::<Report>(line).ok());
    match report {
        Some(report) if output.status.success() && !output.is_late => Ok(Report {
            open: report.open.iter().map(|text| plain(text)).collect(),
            facts: report.facts.iter().map(|(name, value)| (plain(name), plain(value))).collect(),
            refusal: report.refusal.as_deref().map(plain),
        }),
        _ => Err(format!("its check in a separate process {}", why(output, bounds))),
    }
}

fn why(output: &Output, bounds: &Sandbox) -> String {
    if output.is_late {
        return format!("took longer than {} ms (`sandbox_timeout_ms`)", bounds.timeout_ms);
    }
    // How the standard library ends a process that gets no memory.
    if output.complaint.contains("memory allocation of") {
        let most = size::show(bounds.memory_max_bytes);
        return format!("needed more memory than a file of its size should, or than {most} (`sandbox_memory`)");
    }
    match output.status.signal() {
        Some(SIGXCPU) => format!("took more than {} s of the processor (`sandbox_cpu_s`)", bounds.cpu_max_s),
        Some(SIGKILL) => "was killed, by the system for want of memory or by somebody else".to_owned(),
        Some(signal) => format!("crashed (signal {signal}){}", last_words(output)),
        None => format!("failed ({}){}", output.status, last_words(output)),
    }
}

fn last_words(output: &Output) -> String {
    let line = output.complaint.lines().map(plain).find(|line| !line.trim().is_empty());
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

fn plain(text: &str) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(REASON_CHARS_MAX).map(visible).collect()
}
