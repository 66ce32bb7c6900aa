//! `orrery vault`: the keys under which files are encrypted.

use crate::run::{finish, orrery};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn keys_are_replaced_on_the_command_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("vault.key");
    let run = |more: &[&str]| {
        let mut command = orrery(&["vault", "rotate", "--data-dir"]);
        let run = finish(command.arg(folder.path()).args(more));
        assert_eq!(run.code, Some(0), "{}", run.err);
        (run.out, std::fs::read_to_string(&path).expect("a master key"))
    };
    let (out, first) = run(&[]);
    assert_eq!(out, "a new master key is in force; data keys wrapped by it: 0\ntenants with a new data key: 0\n");
    assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    let (out, second) = run(&["--only", "master"]);
    assert_eq!(out, "a new master key is in force; data keys wrapped by it: 0\n");
    assert_ne!(first, second);
    let (out, third) = run(&["--only", "data"]);
    assert_eq!(out, "tenants with a new data key: 0\n");
    assert_eq!(second, third);
}

#[test]
fn the_master_key_may_stand_elsewhere_and_must_be_closed_to_others() {
    let (folder, other) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let path = other.path().join("master");
    let run = || {
        let mut command = orrery(&["key", "list", "--data-dir"]);
        finish(command.arg(folder.path()).env("ORRERY_MASTER_KEY", &path))
    };
    assert_eq!(run().code, Some(0));
    assert!(path.exists() && !folder.path().join("vault.key").exists());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("opened");
    let refused = run();
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}
