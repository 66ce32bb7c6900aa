//! `tidy`: holds the code to ARCHITECTURE.md and to the walls.
//!
//! Every check is a plain function from what was read to a list of problems, so that each is tested on a bad sample.

mod architecture;
mod dependencies;
mod places;
mod source;
mod walls;

use anyhow::{Context as _, Result};
use architecture::Architecture;
use dependencies::Workspace;
use source::Source;
use std::path::{Path, PathBuf};
use std::process::Command;
use walls::Ratchet;

/// Runs every check over the repository; an empty list is a pass.
///
/// # Errors
/// A file cannot be read, or cargo's metadata cannot be had.
pub fn run() -> Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in the root")?;
    let sources = sources(root)?;
    let text = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let architecture = Architecture::parse(&text("ARCHITECTURE.md")?);
    let ratchet = Ratchet::parse(&text("xtask/ratchet.toml")?)?;
    let workspace = Workspace::parse(&metadata(root)?)?;
    let mut problems = Vec::new();
    problems.extend(architecture.check(&workspace));
    problems.extend(dependencies::check(&workspace, &sources));
    problems.extend(places::check(&sources));
    problems.extend(walls::check(&sources, &ratchet));
    Ok(problems)
}

/// All Rust files of the crates and of xtask, parsed.
fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(&root.join("crates"), &mut paths)?;
    walk(&root.join("xtask"), &mut paths)?;
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        Source::parse(&name, &text)
    };
    paths.iter().map(read).collect()
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // Build output, in case a target folder stands inside.
            if path.file_name().is_none_or(|name| name != "target") {
                walk(&path, out)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
    Ok(())
}

/// Metadata of the packages that a build for this platform uses; others need not even be downloaded.
fn metadata(root: &Path) -> Result<serde_json::Value> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.current_dir(root).args(["metadata", "--format-version", "1", "--locked"]);
    command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = command.output().context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}
