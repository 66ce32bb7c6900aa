//! The inputs that fuzzing has found, through the functions of its targets (`fuzz/`, docs/fuzzing.md): what was right once stays right.

#[path = "../../../../fuzz/src/framing.rs"]
mod framing;
#[path = "../../../../fuzz/src/wire.rs"]
mod wire;

use std::path::Path;

fn every_input(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus").flatten() {
        println!("{}", entry.path().display());
        run(&std::fs::read(entry.path()).expect("an input"));
        count += 1;
    }
    assert!(count >= 5, "{count} inputs of {target}");
}

#[test]
fn framing_inputs_stay_right() {
    every_input("framing", framing::run);
}

#[test]
fn wire_inputs_stay_right() {
    every_input("wire", wire::run);
}
