//! The inputs that fuzzing has found, through the functions of its targets (`fuzz/`, docs/fuzzing.md): what was right once stays right.

#[path = "../../../../fuzz/src/gguf.rs"]
mod gguf;
#[path = "../../../../fuzz/src/safetensors.rs"]
mod safetensors;
#[path = "../../../../fuzz/src/template.rs"]
mod template;
#[path = "../../../../fuzz/src/tokenizer.rs"]
mod tokenizer;

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
fn gguf_inputs_stay_right() {
    every_input("gguf", gguf::run);
}

#[test]
fn safetensors_inputs_stay_right() {
    every_input("safetensors", safetensors::run);
}

#[test]
fn template_inputs_stay_right() {
    every_input("template", template::run);
}

#[test]
fn tokenizer_inputs_stay_right() {
    every_input("tokenizer", tokenizer::run);
}
