//! Flags, files and exit codes.

use crate::run::{finish, orrery};
use std::net::TcpListener;

#[test]
fn wrong_usage_exits_with_2_and_names_the_way_out() {
    for (arguments, part) in [
        (&["serve", "--isa", "amx"][..], "amx is not built yet"),
        (&["serve", "--kv-memory", "1G"], "write for example 512MB or 1GiB"),
        (&["serve", "--listen", "8080"], "is not HOST:PORT"),
        (&["serve", "--grace-ms", "soon"], "--grace-ms"),
        (&["serve", "--log", "loud"], "such as text/info"),
        (&["serve", "--config", "/nonexistent/a.toml"], "/nonexistent/a.toml cannot be read"),
        (&["chat", "--model", "a", "--model", "b", "hi"], "takes one model"),
        (&["chat"], "nothing to ask"),
        (&["chat", "--url", "ftp://x", "hi"], "is not an http:// or https:// address"),
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
    for command in ["serve", "pull", "list", "rm", "chat", "bench", "eval", "completions"] {
        let run = finish(&mut orrery(&[command, "--help"]));
        assert_eq!(run.code, Some(0), "{command}");
        assert!(!run.out.contains('\u{1b}'), "{command}: colours in a pipe");
    }
}
