//! `orrery check PATH`: whether a model's files can be trusted to be read, found out in a process that can do nothing else; and
//! `orrery check-model`, which is that process.

use crate::args::{Check, CheckModel};
use crate::config::Settings;
use crate::sandbox::walls::Walls;
use crate::sandbox::{Mode, Report};
use crate::table::table;
use orrery_platform::vetting::{inspect, places};
use std::io::Write as _;

/// Looks at the model in a child and prints what it found.
///
/// # Errors
/// The model is refused, or the look at it failed.
pub async fn run(check: &Check, settings: &Settings) -> anyhow::Result<()> {
    let (path, sandbox) = (check.path.clone(), settings.sandbox);
    let look = move || match sandbox.mode {
        Mode::Off => inspect(&path).map(in_process).map_err(|error| error.to_string()),
        Mode::Prefer | Mode::Require => sandbox.look(&path),
    };
    let report = tokio::task::spawn_blocking(look).await?.map_err(|reason| anyhow::anyhow!("refused: {reason}"))?;
    let mut out = std::io::stdout().lock();
    if check.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        return Ok(());
    }
    let rows: Vec<[String; 2]> = report.facts.iter().map(|(name, value)| [name.clone(), value.clone()]).collect();
    table(&rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    match (sandbox.mode, report.open.as_slice()) {
        (Mode::Off, _) => writeln!(out, "good; looked at without a sandbox (`sandbox = \"off\"`)")?,
        (_, []) => writeln!(out, "good; looked at in a sandbox")?,
        (_, open) => writeln!(out, "good; looked at in a sandbox that was open for: {}", open.join(", "))?,
    }
    Ok(())
}

fn in_process(facts: Vec<(&'static str, String)>) -> Report {
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Report { facts, ..Report::default() }
}

/// The child: walls first, then a look, then one line of JSON. It has read no setting and started no thread.
///
/// # Errors
/// The walls cannot be put up, or nobody listens.
pub fn child(check: &CheckModel) -> anyhow::Result<()> {
    let report = report(check).unwrap_or_else(|error| Report { refusal: Some(error.to_string()), ..Report::default() });
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}

fn report(check: &CheckModel) -> anyhow::Result<Report> {
    let walls = Walls { places: places(&check.path)?, memory_bytes: check.memory, cpu_s: check.cpu_s };
    let open = walls.raise()?;
    anyhow::ensure!(
        open.is_empty() || !check.require,
        "the sandbox would be open for: {}; set `sandbox = \"prefer\"` to go on with what there is",
        open.join(", ")
    );
    Ok(match inspect(&check.path) {
        Ok(facts) => Report { open, ..in_process(facts) },
        Err(error) => Report { open, refusal: Some(error.to_string()), ..Report::default() },
    })
}
