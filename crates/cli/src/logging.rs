//! Logs on the standard error.

use crate::config::{Log, LogFormat, environment};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging; once per process. Colours only on a terminal, and not where NO_COLOR is set.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).expect("invariant: checked with the settings");
    // A line that cannot be written is lost. It would be told of on the same standard error, by a panic.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match log.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(colours()).init(),
    }
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty())
}
