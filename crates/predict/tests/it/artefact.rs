//! Artefacts that are broken or hostile: refused by name, and no other file is read.

use crate::sample::{digest, fetched, fixture, folder, load, open, refusal, small};
use orrery_predict::{Artefact, Error, Settings};
use serde_json::json;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

#[test]
fn wrong_fields_are_named_and_unknown_ones_ignored() {
    assert!(open(&small("lookup", &json!({"novelty": [1], "pipeline": {"novelty": 1}}))).is_ok());
    for (fields, part) in [
        (json!({"format": 2}), "`format` is 2"),
        (json!({"name": 3}), "`name`"),
        (json!({"task": "divination"}), "`task`: unknown variant `divination`"),
        (json!({"inputs": [{"name": "a", "kind": "number"}, {"name": "b", "kind": "colour"}]}), "`inputs[1]`"),
        (json!({"labels": [1]}), "`labels`"),
        (json!({"files": {}}), "`files` has 0 entries"),
        (json!({"files": {"model.onnx": "12"}}), "64 hexadecimal digits"),
        (json!({"files": {"../model.onnx": "0".repeat(64)}}), "`../model.onnx` is not a plain name"),
        (json!({"files": {"orrery.json": "0".repeat(64)}}), "not a plain name"),
        (json!({"model": "other.onnx"}), "`other.onnx` is not listed"),
        (json!({"pipeline": {"text": {"tokenizer": "t.json", "max_tokens": 0}}}), "`pipeline.text.max_tokens` is 0"),
        (json!({"pipeline": {"softmax": "yes"}}), "`pipeline.softmax`"),
        (json!({"pipeline": {"image": {"size": [0, 4]}}}), "`pipeline.image.size`"),
        (json!({"pipeline": {"image": {"size": [4, 4], "mean": [1.0]}}}), "`pipeline.image.mean` needs 3"),
        (json!({"pipeline": {"image": {"size": [4, 4], "std": [1.0, 0.0, 1.0]}}}), "holds a 0"),
        (json!({"pipeline": {"detection": {"decoder": "magic", "scores": [], "boxes": []}}}), "`magic`"),
        (json!({"pipeline": {"detection": {"decoder": "picodet", "scores": [], "boxes": []}}}), "as many `scores`"),
    ] {
        let message = refusal(open(&small("lookup", &fields)));
        assert!(message.contains(part), "{fields}: {message}");
    }
}

#[test]
fn a_file_that_changed_is_refused() {
    let folder = small("lookup", &json!({}));
    let mut bytes = fixture("lookup.onnx");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(folder.path().join("model.onnx"), bytes).expect("written");
    assert!(refusal(open(&folder)).contains("has the sha256"));
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let settings = Settings { file_bytes_max: 100, ..Settings::default() };
    let folder = small("lookup", &json!({}));
    let message = refusal(Artefact::open(folder.path(), &settings));
    assert!(message.contains("at most 100 are read (`file_bytes_max`)"), "{message}");
}

#[test]
fn pickles_are_known_by_their_content() {
    let bare = b"\x80\x04\x95\x1f\x00cposix\nsystem\n.".to_vec();
    let old = b"cposix\nsystem\n(S'true'\ntR.".to_vec();
    let zipped = b"PK\x03\x04archive/data.pkl".to_vec();
    for bytes in [bare, old, zipped] {
        for name in ["model.onnx", "tokenizer.json"] {
            let mut files = vec![("model.onnx", fixture("lookup.onnx"))];
            files.retain(|(other, _)| *other != name);
            files.push((name, bytes.clone()));
            let folder = folder(&files, &json!({"model": "model.onnx"}));
            assert!(refusal(open(&folder)).contains("never read"), "{name}");
        }
    }
}

#[test]
fn what_is_no_onnx_is_refused() {
    let mut ort = fixture("lookup.onnx");
    ort[4..8].copy_from_slice(b"ORTM");
    let cut = fixture("lookup.onnx")[..60].to_vec();
    for (bytes, part) in [
        (ort, "ONNX Runtime's own format"),
        (cut, "cut short or broken"),
        (b"hello".to_vec(), "not a model in ONNX's format"),
        (Vec::new(), "not a model in ONNX's format"),
    ] {
        let message = refusal(open(&folder(&[("model.onnx", bytes)], &json!({}))));
        assert!(message.contains(part), "{message}");
    }
}

/// No prefix and no flipped bit of a model does harm: it is refused, or ONNX Runtime gets it.
#[test]
fn broken_models_do_no_harm() {
    let whole = fixture("external.onnx");
    for end in 0..whole.len() {
        let _ = open(&with_weights(whole[..end].to_vec()));
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(artefact) = open(&with_weights(bytes)) {
            assert!(artefact.manifest().files.contains_key("weights.bin"));
        }
    }
}

fn with_weights(model: Vec<u8>) -> TempDir {
    folder(&[("model.onnx", model), ("weights.bin", fixture("weights.bin"))], &json!({}))
}

/// The model with another location of its weights, of the same length, so that no length in it changes.
fn located(location: &str) -> Vec<u8> {
    assert_eq!(location.len(), "weights.bin".len());
    let model = fixture("external.onnx");
    let place = model.windows(11).position(|part| part == b"weights.bin").expect("the location");
    let mut model = model;
    model[place..place + 11].copy_from_slice(location.as_bytes());
    model
}

#[test]
fn weights_beside_the_model_are_read() {
    let model = load(&with_weights(fixture("external.onnx")), &Settings::default()).expect("it loads");
    let x = orrery_predict::Tensor::new("x", [1, 2], orrery_predict::Data::Fp32(vec![1.0, 2.0])).expect("a tensor");
    let request = orrery_predict::Request { inputs: vec![x], ..Default::default() };
    let outputs = model.submit(request).and_then(orrery_predict::Pending::wait).expect("computed");
    assert_eq!(*outputs[0].data(), orrery_predict::Data::Fp32(vec![19.0]));
}

/// The canary lies where the location leads, and holds what the model wants: it would load, were it read.
#[test]
fn weights_elsewhere_are_never_read() {
    let outer = tempfile::tempdir().expect("a folder");
    for location in
        ["../canary.b", "/tmp/canary", "..//canary.", "sub/canary.", "..\\canary.b", "weights\0bin", "*/_ORT_MEM*"]
    {
        let inner = outer.path().join("artefact");
        std::fs::create_dir_all(inner.join("sub")).expect("a folder");
        for canary in ["canary.b", "canary.", "artefact/sub/canary."] {
            std::fs::write(outer.path().join(canary), fixture("weights.bin")).expect("written");
        }
        let mut location = location.to_owned();
        while location.len() < 11 {
            location.push('x');
        }
        let model = located(&location);
        std::fs::write(inner.join("model.onnx"), &model).expect("written");
        let manifest = json!({"format": 1, "name": "n", "task": "other", "model": "model.onnx", "files": {"model.onnx": digest(&model)}});
        std::fs::write(inner.join("orrery.json"), manifest.to_string()).expect("written");
        let message = refusal(Artefact::open(&inner, &Settings::default()));
        assert!(message.contains("only plain names"), "{location}: {message}");
    }
}

#[test]
fn weights_that_are_not_listed_or_too_short_are_refused() {
    let unlisted = folder(&[("model.onnx", fixture("external.onnx"))], &json!({}));
    std::fs::write(unlisted.path().join("weights.bin"), fixture("weights.bin")).expect("written");
    assert!(refusal(open(&unlisted)).contains("`weights.bin` is not listed"));
    let short = folder(&[("model.onnx", fixture("external.onnx")), ("weights.bin", vec![0; 7])], &json!({}));
    assert!(refusal(open(&short)).contains("wants bytes up to 8"));
}

#[test]
fn links_are_refused() {
    let canary = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(canary.path(), fixture("weights.bin")).expect("written");
    for name in ["weights.bin", "model.onnx"] {
        for hard in [false, true] {
            let folder = with_weights(fixture("external.onnx"));
            let path = folder.path().join(name);
            let content = std::fs::read(&path).expect("read");
            std::fs::write(canary.path(), content).expect("written");
            std::fs::remove_file(&path).expect("removed");
            if hard {
                std::fs::hard_link(canary.path(), &path).expect("linked");
            } else {
                symlink(canary.path(), &path).expect("linked");
            }
            let message = refusal(open(&folder));
            assert!(message.contains("link"), "{message}");
        }
    }
}

#[test]
fn a_task_that_the_model_cannot_do_is_refused_at_load() {
    for (name, fields, part) in [
        ("lookup", json!({"task": "tabular-regression"}), "no output `prediction`"),
        ("lookup", json!({"task": "feature-extraction"}), "`pipeline.text` is missing"),
        ("lookup", json!({"task": "object-detection"}), "`pipeline.detection` is missing"),
        ("text", json!({"task": "text-classification", "labels": ["one"]}), "`labels` has 1 entries"),
        (
            "regression",
            json!({"task": "tabular-regression", "inputs": [{"name": "c", "kind": "number"}]}),
            "no input `c`",
        ),
        (
            "regression",
            json!({"task": "tabular-regression", "inputs": [{"name": "a", "kind": "text"}]}),
            "is of the kind Text",
        ),
    ] {
        let message = refusal(load(&small(name, &fields), &Settings::default()));
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_library_that_is_none_is_refused() {
    let missing = orrery_predict::Runtime::load(std::path::Path::new("/nowhere/libonnxruntime.so"));
    let Err(error @ Error::Library { .. }) = missing else { panic!("it was loaded") };
    let message = error.to_string();
    assert!(message.contains("/nowhere/libonnxruntime.so") && message.contains("set the path"), "{message}");
    // The first one stays.
    let _ = crate::sample::runtime();
    let other = fetched("tokenizer.json");
    let message = refusal(orrery_predict::Runtime::load(&other));
    assert!(message.contains("has loaded"), "{message}");
}

/// In a process of its own, which has loaded no library yet: one that is none is refused, and the right one still loads.
#[test]
fn a_wrong_library_is_no_end() {
    const CHILD: &str = "ORRERY_PREDICT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let library = fetched("tokenizer.json");
        let message = refusal(orrery_predict::Runtime::load(&library));
        assert!(message.contains("tokenizer.json") && message.contains("set the path"), "{message}");
        let message = refusal(orrery_predict::Runtime::load(library.parent().expect("a folder")));
        assert!(message.contains("is not a file"), "{message}");
        let _ = crate::sample::runtime();
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().expect("the path of this test"));
    let child =
        child.args(["--exact", "artefact::a_wrong_library_is_no_end"]).env(CHILD, "1").output().expect("it starts");
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}
