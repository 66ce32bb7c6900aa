//! Walls of functions and files, and the ratchet: old exceptions that may only shrink.

use super::source::Source;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest function, in lines from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Longest file, in lines.
pub const FILE_LINES_MAX: usize = 800;

/// `xtask/ratchet.toml`: exceptions with their present sizes in lines.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratchet {
    /// Path → lines.
    #[serde(default)]
    files: BTreeMap<String, usize>,
    /// `path::function` → lines.
    #[serde(default)]
    functions: BTreeMap<String, usize>,
}

impl Ratchet {
    /// # Errors
    /// Not the form above.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("xtask/ratchet.toml")
    }
}

/// Every wall, `//!` at the top of every file, and a ratchet that is as tight as it can be.
pub fn check(sources: &[Source], ratchet: &Ratchet) -> Vec<String> {
    let mut problems: Vec<String> = sources.iter().filter_map(header).collect();
    let files = sources.iter().map(|source| (source.path.clone(), source.text.lines().count()));
    problems.extend(wall("file", files, FILE_LINES_MAX, &ratchet.files));
    let functions = sources.iter().flat_map(|source| {
        source.functions().iter().map(|f| (format!("{}::{}", source.path, f.name), f.lines)).collect::<Vec<_>>()
    });
    problems.extend(wall("function", functions, FUNCTION_LINES_MAX, &ratchet.functions));
    problems
}

fn header(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! "))
        .then(|| format!("{}: must open with `//!`: what it owns, where to start", source.path))
}

/// `items`: names with their lines; of equal names the longest counts.
fn wall(
    kind: &str,
    items: impl Iterator<Item = (String, usize)>,
    most: usize,
    allowed: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut sizes = BTreeMap::new();
    for (name, lines) in items {
        let size = sizes.entry(name).or_insert(0);
        *size = lines.max(*size);
    }
    let mut problems = Vec::new();
    for (name, lines) in &sizes {
        let bound = allowed.get(name).copied().unwrap_or(most).max(most);
        if *lines > bound {
            problems.push(format!("{name}: a {kind} of {lines} lines; the wall is {bound}: split it"));
        }
    }
    for (name, bound) in allowed {
        match sizes.get(name) {
            None => problems.push(format!("xtask/ratchet.toml: {name} is gone; remove its entry")),
            Some(lines) if *lines <= most => {
                problems.push(format!("xtask/ratchet.toml: {name} is within the wall of {most}; remove its entry"));
            }
            Some(lines) if lines < bound => {
                problems.push(format!("xtask/ratchet.toml: {name} has {lines} lines; tighten its entry from {bound}"));
            }
            Some(_) => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(lines: usize) -> Source {
        let body = "    x();\n".repeat(lines - 2);
        Source::parse("crates/a/src/x.rs", &format!("//! x\nfn f() {{\n{body}}}\n")).expect("Rust")
    }

    fn problems(source: Source, ratchet: &str) -> Vec<String> {
        check(&[source], &Ratchet::parse(ratchet).expect("TOML"))
    }

    #[test]
    fn walls_hold() {
        assert!(problems(long(70), "").is_empty());
        assert_eq!(problems(long(71), "").len(), 1);
        assert_eq!(problems(long(801), "").len(), 2);
    }

    #[test]
    fn the_ratchet_only_shrinks() {
        let entry = |lines: usize| format!("[functions]\n\"crates/a/src/x.rs::f\" = {lines}\n");
        assert!(problems(long(90), &entry(90)).is_empty());
        assert!(problems(long(91), &entry(90))[0].contains("the wall is 90"));
        assert!(problems(long(89), &entry(90))[0].contains("tighten"));
        assert!(problems(long(70), &entry(90))[0].contains("remove its entry"));
        assert!(problems(long(70), "[files]\n\"gone.rs\" = 900\n")[0].contains("is gone"));
        assert!(Ratchet::parse("[other]\n").is_err());
    }

    #[test]
    fn every_file_says_what_it_owns() {
        let source = Source::parse("crates/a/src/x.rs", "// plain\nfn f() {}\n").expect("Rust");
        assert!(problems(source, "")[0].contains("must open with `//!`"));
    }
}
