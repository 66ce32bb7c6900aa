//! `orrery completions SHELL`.

use crate::args::{Arguments, Completions};
use clap::CommandFactory as _;
use std::io::Write as _;

/// Prints the completion script.
///
/// # Errors
/// The standard output is closed.
pub fn run(completions: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "orrery", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
