//! Flags, files and exit codes.

use crate::run::{finish, orrery};
use std::net::TcpListener;

pub const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/llama-q8_0.gguf");

#[test]
fn wrong_usage_exits_with_2_and_names_the_way_out() {
    for (arguments, part) in [
        (&["serve", "--isa", "mmx"][..], "`mmx` is not one of auto, scalar, avx2, avx512, avx512bf16, amx"),
        (&["serve", "--kv-memory", "1G"], "write for example 512MB or 1GiB"),
        (&["serve", "--listen", "8080"], "is not HOST:PORT"),
        (&["serve", "--grace-ms", "soon"], "--grace-ms"),
        (&["serve", "--log", "loud"], "such as text/info"),
        (&["serve", "--config", "/nonexistent/a.toml"], "/nonexistent/a.toml cannot be read"),
        (&["chat", "--model", "a", "--model", "b", "hi"], "takes one model"),
        (&["chat"], "nothing to ask"),
        (&["chat", "--url", "ftp://x", "hi"], "is not an http:// or https:// address"),
        (&["chat", "--temperature", "nan", "hi"], "--temperature: write a number from 0"),
        (&["bench", "--rate", "0"], "positive number"),
        (&["bench", "--clients", "0"], "--clients"),
        (&["bench", "--clients", "4", "engine"], "cannot be used with"),
        (&["bench", "engine", "--rounds", "0"], "--rounds"),
        (&["fly"], "unrecognized subcommand"),
    ] {
        let run = finish(&mut orrery(arguments));
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(part), "{arguments:?}: {}", run.err);
        assert_eq!(run.out, "", "{arguments:?}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("orrery.toml");
    std::fs::write(&file, "[engine]\nkv_memry = \"1GiB\"\n").expect("writable");
    let run = finish(orrery(&["list", "--config"]).arg(&file));
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("unknown key `engine.kv_memry`; did you mean `engine.kv_memory`?"), "{}", run.err);
}

#[test]
fn the_environment_and_the_file_of_the_configuration_folder_are_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::create_dir(folder.path().join("orrery")).expect("writable");
    std::fs::write(folder.path().join("orrery/orrery.toml"), "[server]\nlisten = \"wrong\"\n").expect("writable");
    let run = finish(orrery(&["list"]).env("XDG_CONFIG_HOME", folder.path()));
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("orrery/orrery.toml): `wrong` is not HOST:PORT"), "{}", run.err);
    let run = finish(orrery(&["list"]).env("ORRERY_LISTEN", "bad"));
    assert!(run.err.contains("environment variable ORRERY_LISTEN): `bad` is not HOST:PORT"), "{}", run.err);
}

#[test]
fn a_taken_port_is_a_failure_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let run = finish(&mut orrery(&["serve", "--listen", &address]));
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains(&address) && run.err.contains("another program listens there"), "{}", run.err);
}

/// Takes every certificate away.
fn without_certificates(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent")
}

#[test]
fn without_certificates_a_pull_says_so_and_how_to_get_some() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = finish(without_certificates(&mut orrery(&["pull", crate::model::NAME, "--data-dir"])).arg(folder.path()));
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("no CA certificates") && run.err.contains("ca-certificates"), "{}", run.err);
    let run = finish(without_certificates(&mut orrery(&["chat", "hi", "--url", "https://127.0.0.1:1"])));
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("ca-certificates"), "{}", run.err);
}

#[test]
fn without_certificates_a_local_file_is_served_and_chatted_with() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let arguments = ["chat", "hi", "--listen", "127.0.0.1:1", "--max-tokens", "2", "--model", FIXTURE, "--data-dir"];
    let run = finish(without_certificates(&mut orrery(&arguments)).arg(folder.path()));
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("started an engine for llama-q8_0"), "{}", run.err);
}

#[test]
fn settings_that_cannot_run_are_refused_before_a_download() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (arguments, code, part) in [
        (&["--threads", "1000"][..], 2, "1000 threads were asked for; this machine allows 1 to "),
        (&["--threads", "9999"], 2, "--threads: 9999 is not between 0 and 1024"),
        (&["--isa", "sse"], 2, "`sse` is not one of auto"),
        (&["--kv-memory", "64KiB", "--model", FIXTURE], 1, "a KV memory of 65536 bytes holds"),
    ] {
        let mut command = orrery(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        let run = finish(command.arg(folder.path()).args(arguments));
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(part), "{arguments:?}: {}", run.err);
        assert!(!run.err.contains("downloading"), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn a_model_that_is_not_there_ends_serve_with_its_name() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--model", "./no-such-model.gguf", "--data-dir"];
    let run = finish(orrery(&arguments).arg(folder.path()));
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("no-such-model.gguf"), "{}", run.err);
}

#[test]
fn an_empty_data_folder_lists_the_catalogue() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let run = finish(orrery(&["list", "--json", "--data-dir"]).arg(folder.path()));
    assert_eq!(run.code, Some(0), "{}", run.err);
    let json: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(json["models"], serde_json::json!([]));
    assert_eq!(json["catalogue"][0]["name"], crate::model::NAME);
    let run = finish(orrery(&["rm", "nothing", "--data-dir"]).arg(folder.path()));
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("there is no model `nothing`"), "{}", run.err);
}

#[test]
fn every_shell_has_completions_and_every_command_a_help() {
    for shell in ["bash", "zsh", "fish"] {
        let run = finish(&mut orrery(&["completions", shell]));
        assert_eq!(run.code, Some(0));
        assert!(run.out.contains("kv-memory"), "{shell}");
    }
    for command in [
        "serve",
        "pull",
        "list",
        "rm",
        "key",
        "tenant",
        "price",
        "usage",
        "audit",
        "chat",
        "bench",
        "eval",
        "completions",
    ] {
        let run = finish(&mut orrery(&[command, "--help"]));
        assert_eq!(run.code, Some(0), "{command}");
        assert!(!run.out.contains('\u{1b}'), "{command}: colours in a pipe");
    }
}
