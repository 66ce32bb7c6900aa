//! ARCHITECTURE.md against the workspace: the table of crates and the list of absences.

use super::dependencies::Workspace;
use super::places::ABSENCES;
use std::collections::{BTreeMap, BTreeSet};

/// What the document states.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Crate → the crates that it may depend on.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// Names in brackets at the ends of the items under "Absences".
    absences: BTreeSet<String>,
}

impl Architecture {
    /// Reads the table under "Crates" (`| crate | … | may depend on |`) and the list under "Absences" (`- … [name]`).
    pub fn parse(text: &str) -> Self {
        let mut edges = BTreeMap::new();
        for row in section(text, "Crates").lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
            let names = |cell: &str| quoted(cell).map(str::to_owned).collect::<BTreeSet<String>>();
            let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
            if let Some(name) = names(first).into_iter().next() {
                edges.insert(name, names(last));
            }
        }
        let name = |line: &str| line.trim_end().strip_suffix(']')?.rsplit_once('[').map(|(_, name)| name.to_owned());
        let absences = section(text, "Absences").lines().filter_map(name).collect();
        Self { edges, absences }
    }

    /// Edges that are not in the table, rows without a crate, crates without a row, absences that no check holds, and
    /// checks that the document does not name.
    pub fn check(&self, workspace: &Workspace) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, member) in &workspace.members {
            let Some(allowed) = self.edges.get(name) else {
                problems.push(format!("ARCHITECTURE.md: crate `{name}` has no row in the table"));
                continue;
            };
            for target in member.inner.difference(allowed) {
                problems.push(format!("{name} depends on {target}: the edge is not in ARCHITECTURE.md's table"));
            }
            for target in member.inner_dev.difference(&self.below(name)) {
                problems.push(format!("{name}'s tests depend on {target}, which is not below it"));
            }
        }
        for name in self.edges.keys().filter(|name| !workspace.members.contains_key(*name)) {
            problems.push(format!("ARCHITECTURE.md: there is no crate `{name}`"));
        }
        let held: BTreeSet<String> = ABSENCES.iter().map(|name| (*name).to_owned()).collect();
        for name in held.symmetric_difference(&self.absences) {
            problems.push(format!("ARCHITECTURE.md: absence [{name}] stands in one of the document and tidy only"));
        }
        problems
    }

    /// All crates that can be reached from `name`.
    fn below(&self, name: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            for target in self.edges.get(&next).into_iter().flatten() {
                if seen.insert(target.clone()) {
                    open.push(target.clone());
                }
            }
        }
        seen
    }
}

/// The text under `## title…` or `### title…`, up to the next heading.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let heading = |line: &str| line.trim_start_matches('#').trim().starts_with(title) && line.starts_with('#');
    let mut start = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        match start {
            None if heading(line) => start = Some(at + line.len()),
            Some(start) if line.starts_with('#') => return &text[start..at],
            _ => {}
        }
        at += line.len();
    }
    start.map_or("", |start| &text[start..])
}

/// Words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rows: &str) -> Architecture {
        let absences: String = ABSENCES.iter().map(|name| format!("- No such thing. [{name}]\n")).collect();
        Architecture::parse(&format!(
            "# A\n## Crates\n| crate | owns | may depend on |\n|---|---|---|\n{rows}\n## Absences\n{absences}\n## Glossary\n- x [y]\n"
        ))
    }

    /// Name, dependencies, dependencies of tests.
    type Sample = (&'static str, &'static [&'static str], &'static [&'static str]);

    const ROWS: &str = "| `top` | all | `mid` |\n| `mid` | some `x` | `low` |\n| `low` | – | – |\n";

    #[test]
    fn the_table_is_read() {
        let architecture = document(ROWS);
        assert_eq!(architecture.edges["mid"], BTreeSet::from(["low".to_owned()]));
        assert!(architecture.edges["low"].is_empty());
        assert_eq!(architecture.below("top").len(), 2);
        let good = Workspace::sample(&[("top", &["mid"], &["low"]), ("mid", &["low"], &[]), ("low", &[], &[])]);
        assert_eq!(architecture.check(&good), Vec::<String>::new());
    }

    #[test]
    fn each_disagreement_fails() {
        let architecture = document(ROWS);
        let cases: [(&[Sample], &str); 4] = [
            (&[("top", &["mid", "low"], &[]), ("mid", &[], &[]), ("low", &[], &[])], "edge is not in"),
            (&[("top", &[], &[]), ("mid", &[], &[]), ("low", &[], &["mid"])], "not below it"),
            (&[("top", &[], &[]), ("mid", &[], &[])], "there is no crate `low`"),
            (&[("top", &[], &[]), ("mid", &[], &[]), ("low", &[], &[]), ("new", &[], &[])], "has no row"),
        ];
        for (members, part) in cases {
            let problems = architecture.check(&Workspace::sample(members));
            assert!(problems.len() == 1 && problems[0].contains(part), "{problems:?}");
        }
    }

    #[test]
    fn absences_agree() {
        let architecture = Architecture::parse("## Absences\n- Nothing. [unsafe]\n- Else. [other]\n");
        let problems = architecture.check(&Workspace::sample(&[]));
        assert_eq!(problems.len(), ABSENCES.len(), "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("[other]")));
    }
}
