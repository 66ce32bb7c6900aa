//! Chores of this repository: `cargo xtask tidy` and `cargo xtask bench …`. Depends on no product crate.
//!
//! Start at [`tidy`] or [`bench`].
#![forbid(unsafe_code)]

mod bench;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Hold the code to ARCHITECTURE.md and to the walls
    Tidy,
    /// Measure Orrery, alone or against its peers
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let (name, result) = match Arguments::parse().chore {
        Chore::Tidy => ("tidy", tidy::run()),
        Chore::Bench(bench) => ("bench", bench::run(&bench).map(|()| Vec::new())),
    };
    match result {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{name}: {} problems", problems.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
