//! What may stand where: the absences of ARCHITECTURE.md.

use super::source::{Source, Token, find};

/// The absences by the names that ARCHITECTURE.md gives them. [`check`] holds each of them, but `edges`, which is
/// `architecture`'s, and `licences`, which is `dependencies`'.
pub const ABSENCES: [&str; 9] =
    ["async", "database", "edges", "environment", "licences", "re-exports", "unsafe", "wire", "wire-types"];

/// Every absence over all files.
pub fn check(sources: &[Source]) -> Vec<String> {
    let rules = [unsafe_code, forbid_unsafe, no_async, environment, wire_names, wire_types, re_exports, database];
    sources.iter().flat_map(|source| rules.iter().filter_map(move |rule| rule(source))).collect()
}

fn word(tokens: &[Token], words: &[&'static str]) -> Option<(&'static str, usize)> {
    words.iter().find_map(|word| find(tokens, &[*word]).map(|line| (*word, line)))
}

fn unsafe_code(source: &Source) -> Option<String> {
    if source.path.starts_with("crates/kernels/src/") {
        return None;
    }
    // The attribute `forbid(unsafe_code)` is another word.
    let line = find(source.all(), &["unsafe"])?;
    Some(format!("{}:{line}: `unsafe` stands outside crates/kernels/src", source.path))
}

fn forbid_unsafe(source: &Source) -> Option<String> {
    let needed = source.is_crate_root() && source.krate() != "kernels";
    let forbids = find(source.all(), &["forbid", "unsafe_code"]).is_some();
    (needed && !forbids).then(|| format!("{}: must say `#![forbid(unsafe_code)]`", source.path))
}

fn no_async(source: &Source) -> Option<String> {
    let quiet = ["crates/kernels/src/", "crates/model/src/", "crates/engine/src/core/", "crates/train/src/"];
    if !quiet.iter().any(|place| source.path.starts_with(place)) {
        return None;
    }
    let (word, line) = word(source.all(), &["async", "await", "tokio"])?;
    Some(format!("{}:{line}: `{word}` in code that is never async", source.path))
}

fn environment(source: &Source) -> Option<String> {
    if matches!(source.krate(), "cli" | "xtask") || source.is_test() {
        return None;
    }
    let tokens = source.product();
    let functions = ["var", "vars", "var_os", "vars_os", "args", "args_os"];
    let line = find(tokens, &["std", ":", ":", "env"])
        .or_else(|| functions.iter().find_map(|function| find(tokens, &["env", ":", ":", *function])))?;
    Some(format!("{}:{line}: reads the environment; only cli does, and passes settings down", source.path))
}

fn wire_names(source: &Source) -> Option<String> {
    if !matches!(source.krate(), "engine" | "predict" | "train") {
        return None;
    }
    let tokens = source.all();
    let (word, line) =
        krate(tokens, &["axum", "hyper", "http", "reqwest", "sqlx"]).or_else(|| word(tokens, &["tenant", "Tenant"]))?;
    Some(format!("{}:{line}: `{word}`: {} knows no HTTP, database or tenant", source.path, source.krate()))
}

fn wire_types(source: &Source) -> Option<String> {
    if source.krate() == "server" {
        return None;
    }
    let (word, line) = krate(source.product(), &["axum", "utoipa", "tonic"])?;
    Some(format!("{}:{line}: `{word}`: wire types are server's alone", source.path))
}

/// The first of `names` that stands for a crate: after `use`, or before `::` (a method may be called `hyper`).
fn krate(tokens: &[Token], names: &[&'static str]) -> Option<(&'static str, usize)> {
    let named = |name: &str| find(tokens, &["use", name]).or_else(|| find(tokens, &[name, ":", ":"]));
    names.iter().find_map(|name| named(name).map(|line| (*name, line)))
}

fn database(source: &Source) -> Option<String> {
    if source.krate() == "store" {
        return None;
    }
    let (word, line) = krate(source.all(), &["sqlx", "object_store"])?;
    Some(format!("{}:{line}: `{word}`: the database and the blobs are store's alone", source.path))
}

fn re_exports(source: &Source) -> Option<String> {
    let tokens = source.all();
    let lines = tokens.windows(3).filter(|window| window[0].text == "pub" && window[1].text == "use");
    let line = lines.filter(|window| window[2].text.starts_with("orrery_")).map(|window| window[0].line).next()?;
    Some(format!("{}:{line}: re-exports another crate; name the crate where it is used", source.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str, text: &str) -> Option<String> {
        let source = Source::parse(path, text).expect("Rust");
        check(&[source]).into_iter().next()
    }

    #[test]
    fn each_absence_fails_on_a_bad_sample() {
        for (path, text, part) in [
            ("crates/model/src/x.rs", "fn f() { unsafe { g() } }", "outside crates/kernels"),
            ("crates/model/tests/it/x.rs", "unsafe fn f() {}", "outside crates/kernels"),
            ("crates/model/src/lib.rs", "fn f() {}", "must say"),
            ("crates/model/src/x.rs", "async fn f() {}", "`async`"),
            ("crates/engine/src/core/x.rs", "fn f() { x.await }", "`await`"),
            ("crates/kernels/src/x.rs", "use tokio::sync;", "`tokio`"),
            ("crates/server/src/x.rs", "fn f() { std::env::var(\"X\"); }", "reads the environment"),
            ("crates/server/src/x.rs", "use std::{env, io}; fn f() { env::var_os(\"X\"); }", "reads the environment"),
            ("crates/engine/src/x.rs", "use http::Request;", "`http`"),
            ("crates/engine/src/x.rs", "fn f(x: ::hyper::Body) {}", "`hyper`"),
            ("crates/engine/src/x.rs", "struct Tenant;", "`Tenant`"),
            ("crates/cli/src/x.rs", "use axum::Router;", "`axum`"),
            ("crates/platform/src/x.rs", "fn f(x: sqlx::Error) {}", "store's alone"),
            ("crates/server/tests/it/x.rs", "use object_store::path::Path;", "store's alone"),
            ("crates/platform/src/x.rs", "pub use orrery_engine::Handle;", "re-exports"),
        ] {
            let problem = problem(path, text).unwrap_or_else(|| panic!("{path} passed: {text}"));
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn good_samples_pass() {
        for (path, text) in [
            ("crates/kernels/src/x.rs", "unsafe fn f() {}"),
            (
                "crates/model/src/lib.rs",
                "#![forbid(unsafe_code)]\n// unsafe async\nconst S: &str = \"std::env::var http\";",
            ),
            ("crates/store/src/x.rs", "use sqlx::Row;"),
            ("crates/engine/src/worker.rs", "async fn f() { model.hyper(); }"),
            ("crates/cli/src/x.rs", "fn f() { std::env::var(\"X\"); }"),
            ("crates/server/src/x.rs", "const V: &str = env!(\"CARGO_PKG_VERSION\");"),
            ("crates/server/src/x.rs", "#[cfg(test)]\nmod tests { fn f() { std::env::temp_dir(); } }"),
            ("crates/platform/src/x.rs", "use orrery_engine::Handle;"),
        ] {
            assert_eq!(problem(path, text), None, "{path}: {text}");
        }
    }
}
