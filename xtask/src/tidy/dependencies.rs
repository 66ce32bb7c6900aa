//! What cargo knows: members, their dependencies, and licences.

use super::source::Source;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Licences that we may ship with Apache-2.0.
const ALLOWED: [&str; 16] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages whose metadata state no licence, and what the licence file in them says.
const IN_A_FILE: [(&str, &str); 1] = [("cfg_block 0.1.1", "Apache-2.0")];

/// Dependencies that are declared for their features alone, which another dependency of the same crate leaves off.
const FOR_FEATURES: [(&str, &str); 1] = [("train", "burn_flex")];

/// Names that say nothing about what a crate owns.
const VAGUE: [&str; 5] = ["common", "core", "helpers", "types", "util"];

/// One crate of the workspace. Names are without `orrery-`.
#[derive(Debug, Default)]
pub struct Member {
    /// Crates of the workspace, normal and build dependencies.
    pub inner: BTreeSet<String>,
    /// Crates of the workspace, dependencies of tests.
    pub inner_dev: BTreeSet<String>,
    /// All dependencies as they are named in code, and whether they are for tests only.
    declared: Vec<(String, bool)>,
}

#[derive(Debug, Default)]
pub struct Workspace {
    pub members: BTreeMap<String, Member>,
    /// Package and version → licence expression, of everything that is built.
    licences: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
    kind: Option<String>,
    path: Option<String>,
}

impl Workspace {
    /// Reads the output of `cargo metadata`.
    ///
    /// # Errors
    /// A part is missing.
    pub fn parse(metadata: &Value) -> Result<Self> {
        let packages: Vec<Package> =
            serde_json::from_value(metadata["packages"].clone()).context("packages of cargo metadata")?;
        let ids = |value: &Value| -> BTreeSet<String> {
            value.as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
        };
        let members = ids(&metadata["workspace_members"]);
        let nodes = metadata["resolve"]["nodes"].as_array().context("resolve of cargo metadata")?;
        let built: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
        let mut workspace = Self::default();
        for package in &packages {
            if members.contains(&package.id) {
                workspace.members.insert(short(&package.name), member(package));
            } else if built.contains(package.id.as_str()) {
                let name = format!("{} {}", package.name, package.version);
                workspace.licences.insert(name, package.license.clone());
            }
        }
        anyhow::ensure!(!workspace.members.is_empty(), "cargo metadata names no workspace member");
        Ok(workspace)
    }

    /// For tests: members with their inner and their tests' inner dependencies.
    #[cfg(test)]
    pub fn sample(members: &[(&str, &[&str], &[&str])]) -> Self {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let member = |inner, dev| Member { inner: set(inner), inner_dev: set(dev), declared: Vec::new() };
        let members = members.iter().map(|(name, inner, dev)| ((*name).to_owned(), member(inner, dev))).collect();
        Self { members, licences: BTreeMap::new() }
    }
}

fn short(name: &str) -> String {
    name.strip_prefix("orrery-").unwrap_or(name).to_owned()
}

fn member(package: &Package) -> Member {
    let mut member = Member::default();
    for dependency in &package.dependencies {
        let dev = dependency.kind.as_deref() == Some("dev");
        let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
        member.declared.push((name.replace('-', "_"), dev));
        if dependency.path.is_some() {
            let inner = if dev { &mut member.inner_dev } else { &mut member.inner };
            inner.insert(short(&dependency.name));
        }
    }
    member
}

/// Licences, unused dependencies, vague names.
pub fn check(workspace: &Workspace, sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, licence) in &workspace.licences {
        match licence {
            None if IN_A_FILE.iter().any(|(known, licence)| known == package && allowed(licence)) => {}
            None => problems.push(format!("{package} states no licence")),
            Some(licence) if !allowed(licence) => {
                problems.push(format!("{package} is licensed {licence}, which is not on tidy's list"));
            }
            Some(_) => {}
        }
    }
    for (name, member) in &workspace.members {
        if VAGUE.contains(&name.as_str()) {
            problems.push(format!("crate `{name}`: name it after what it owns"));
        }
        problems.extend(unused(name, member, sources));
    }
    problems
}

/// Dependencies that no file of the crate names. A dependency of tests may stand in any file, another must stand in src.
fn unused(name: &str, member: &Member, sources: &[Source]) -> Vec<String> {
    let own: Vec<&Source> = sources.iter().filter(|source| source.krate() == name).collect();
    let words = |sources: &[&Source]| -> BTreeSet<String> {
        sources.iter().flat_map(|source| source.all()).map(|token| token.text.clone()).collect()
    };
    let everywhere = words(&own);
    let product = words(&own.iter().copied().filter(|source| !source.is_test()).collect::<Vec<_>>());
    let is_named = |ident: &String, dev: bool| if dev { everywhere.contains(ident) } else { product.contains(ident) };
    let for_features = |ident: &String| FOR_FEATURES.contains(&(name, ident.as_str()));
    let missing = member.declared.iter().filter(|(ident, dev)| !is_named(ident, *dev) && !for_features(ident));
    missing.map(|(ident, _)| format!("{name} declares the dependency `{ident}` and never names it")).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. Old forms (`MIT/Apache-2.0`) count as a choice.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at);
    met && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut met = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at);
    }
    met
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut met = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at);
    }
    met
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    ALLOWED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn licences() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "", "MIT MIT", "LGPL-2.1 OR AGPL-3.0", "GPL-2.0 WITH x"] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    fn metadata(licence: Value) -> Value {
        let dependency =
            |name: &str, kind: Value, path: Value| json!({"name": name, "rename": null, "kind": kind, "path": path});
        json!({
            "workspace_members": ["top"],
            "resolve": {"nodes": [{"id": "top"}, {"id": "dep"}]},
            "packages": [
                {"id": "top", "name": "orrery-top", "version": "1", "license": null, "dependencies": [
                    dependency("serde-json", json!(null), json!(null)),
                    dependency("proptest", json!("dev"), json!(null)),
                    dependency("orrery-low", json!(null), json!("/x")),
                ]},
                {"id": "dep", "name": "dep", "version": "2", "license": licence, "dependencies": []},
                {"id": "elsewhere", "name": "windows", "version": "2", "license": null, "dependencies": []},
            ],
        })
    }

    #[test]
    fn unused_and_unlicensed_dependencies_fail() {
        let source = |path, text| Source::parse(path, text).expect("Rust");
        let workspace = Workspace::parse(&metadata(json!("GPL-3.0"))).expect("metadata");
        assert_eq!(workspace.members["top"].inner, BTreeSet::from(["low".to_owned()]));
        // The normal dependency is named in a test alone, the tests' one in a comment alone.
        let sources = [
            source("crates/top/src/lib.rs", "// proptest\nuse orrery_low::X;"),
            source("crates/top/tests/it/main.rs", "use serde_json::Value;"),
        ];
        let problems = check(&workspace, &sources);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("dep 2 is licensed GPL-3.0"));
        assert!(problems[1].contains("`serde_json`") && problems[2].contains("`proptest`"));

        let workspace = Workspace::parse(&metadata(json!(null))).expect("metadata");
        let sources = [
            source("crates/top/src/lib.rs", "use orrery_low::X; use serde_json::Value;"),
            source("crates/top/tests/it/main.rs", "use proptest::prelude;"),
        ];
        assert_eq!(check(&workspace, &sources), ["dep 2 states no licence"]);
    }

    #[test]
    fn vague_names_fail() {
        let problems = check(&Workspace::sample(&[("common", &[], &[])]), &[]);
        assert!(problems[0].contains("name it after what it owns"));
    }
}
