//! Files whose tensors are not the architecture's.

use crate::support::{folder, try_load};
use orrery_kernels::Compute;
use orrery_model::{LoadSettings, Model};

/// Loads fixture `name` with `from` replaced by `to` (as long), and expects a refusal that says `wanted`.
#[track_caller]
fn check(name: &str, from: &[u8], to: &[u8], wanted: &[&str]) {
    let mut bytes = std::fs::read(folder().join("models").join(name)).unwrap();
    replace(&mut bytes, from, to);
    refused(bytes, wanted);
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut places = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
            places += 1;
        }
    }
    assert!(places > 0, "nothing to replace");
}

#[track_caller]
fn refused(bytes: Vec<u8>, wanted: &[&str]) {
    let file = tempfile::Builder::new().suffix(".gguf").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let error = try_load(file.path(), LoadSettings::default(), None, 1).err().expect("a refusal").to_string();
    for part in wanted {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

/// A u32 of GGUF's metadata: key, type 4, value.
fn pair(key: &str, value: u32) -> Vec<u8> {
    [key.as_bytes(), &4u32.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn a_missing_tensor_is_named() {
    let wanted = ["blk.1.attn_k.weight", "missing", "[64, 64]"];
    check("llama-q8_0.gguf", b"blk.1.attn_k.weight", b"blk.1.attn_x.weight", &wanted);
    check("qwen3-q4_0.gguf", b"qwen3", b"qwen2", &["blk.0.attn_q.bias", "missing", "[128]"]);
}

#[test]
fn a_shape_that_does_not_fit_is_shown() {
    let key = "llama.feed_forward_length";
    let wanted = ["blk.0.ffn_gate.weight", "[160, 64] found", "[192, 64] wanted"];
    check("llama-q8_0.gguf", &pair(key, 160), &pair(key, 192), &wanted);
}

#[test]
fn a_tensor_that_would_change_the_result_is_refused() {
    let mut bytes = std::fs::read(folder().join("models/qwen2-q8_0.gguf")).unwrap();
    replace(&mut bytes, b"qwen2.", b"llama.");
    // The value of `general.architecture`: a string (type 8) of five bytes; the pre-tokenizer's name stays.
    let value =
        |name: &str| [b"architecture".as_slice(), &8u32.to_le_bytes(), &5u64.to_le_bytes(), name.as_bytes()].concat();
    replace(&mut bytes, &value("qwen2"), &value("llama"));
    refused(bytes, &["blk.", ".bias", "llama"]);
}

#[test]
fn another_architecture_is_refused_with_what_works() {
    check("llama-q8_0.gguf", b"llama", b"gemma", &["gemma", "llama", "qwen2", "qwen3"]);
}

#[test]
fn heads_that_do_not_divide_are_refused() {
    let key = "llama.attention.head_count_kv";
    check("llama-q8_0.gguf", &pair(key, 2), &pair(key, 3), &["4", "3"]);
}

#[test]
fn progress_rises_to_one() {
    let mut seen = vec![0.0];
    let path = folder().join("models/llama-q8_0.gguf");
    let compute = Compute::new(None, Some(1)).unwrap();
    let model = Model::load(&path, LoadSettings::default(), compute, &mut |part| seen.push(part)).unwrap();
    assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
    assert_eq!(seen.last(), Some(&1.0));
    assert_eq!(model.tokenizer().vocabulary(), 262);
    assert_eq!(model.kv_block_bytes(), 2 * 2 * 2 * 32 * 32 * 2, "layers, k and v, heads, tokens, dimensions, bytes");
}
