//! Token ids against transformers and sentencepiece, and what a tokenizer refuses.

use super::{fixture, gguf, hugging_face, hugging_face_with, ids};
use orrery_model::text::Tokenizer;
use orrery_model::weights::{GgufText, TextSource};
use serde_json::{Value, json};

const BYTE_LEVEL: [&str; 4] = ["gpt2", "smollm", "llama3", "qwen2"];

fn check(name: &str, tokenizer: &Tokenizer, cases: &Value) {
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 20, "{name}: the corpus is missing");
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, false).unwrap(), ids(&case["ids"]), "{name}: {text:?}");
        if let Some(around) = case.get("around") {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids(around), "{name} with BOS: {text:?}");
        }
        if let Some(decoded) = case["decoded"].as_str() {
            assert_eq!(tokenizer.decode(&ids(&case["ids"])), decoded, "{name}: decoding {text:?}");
        }
    }
}

#[test]
fn tokenizer_json_gives_transformers_ids() {
    for name in BYTE_LEVEL.iter().chain(&["spm", "metaspace"]) {
        let fixture = fixture(name);
        check(name, &Tokenizer::new(&hugging_face(&fixture)).unwrap(), &fixture["cases"]);
    }
}

#[test]
fn gguf_keys_give_the_same_ids_as_tokenizer_json() {
    for name in BYTE_LEVEL {
        let fixture = fixture(name);
        check(name, &Tokenizer::new(&TextSource::Gguf(gguf(&fixture))).unwrap(), &fixture["cases"]);
    }
}

#[test]
fn gguf_scores_give_sentencepieces_ids() {
    let fixture = fixture("spm");
    check("spm", &Tokenizer::new(&TextSource::Gguf(gguf(&fixture))).unwrap(), &fixture["sentencepiece"]);
}

#[test]
fn merges_in_pairs_or_joined_are_the_same() {
    let fixture = fixture("gpt2");
    let mut file: Value = serde_json::from_str(fixture["tokenizer"].as_str().unwrap()).unwrap();
    for merge in file["model"]["merges"].as_array_mut().unwrap() {
        if let Some(pair) = merge.as_array() {
            *merge = json!(format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        }
    }
    let source = hugging_face_with(&file.to_string(), &fixture["tokenizer_config"]);
    check("gpt2", &Tokenizer::new(&source).unwrap(), &fixture["cases"]);
}

#[test]
fn special_tokens_in_text_stay_text() {
    for name in BYTE_LEVEL.iter().chain(&["spm"]) {
        let fixture = fixture(name);
        for source in [hugging_face(&fixture), TextSource::Gguf(gguf(&fixture))] {
            let tokenizer = Tokenizer::new(&source).unwrap();
            let control: Vec<u32> = (0..tokenizer.vocabulary() as u32).filter(|id| tokenizer.is_control(*id)).collect();
            assert!(!control.is_empty(), "{name}");
            for id in control {
                let special = tokenizer.token_text(id);
                let text = format!("x {special}{special} y");
                let found = tokenizer.encode(&text, false).unwrap();
                assert!(found.iter().all(|id| !tokenizer.is_control(*id)), "{name}: {special} became special");
                assert_eq!(tokenizer.decode(&found), text, "{name}");
                assert!(tokenizer.token_bytes(id).is_empty(), "{name}: {special} has bytes");
            }
        }
    }
}

#[test]
fn byte_tokens_are_not_made_from_their_names() {
    let tokenizer = Tokenizer::new(&TextSource::Gguf(gguf(&fixture("spm")))).unwrap();
    let text = "<0x41><0x0A>";
    assert_eq!(tokenizer.decode(&tokenizer.encode(text, false).unwrap()), text);
}

#[test]
fn whole_tokens_are_matched_in_text() {
    let fixture = fixture("qwen2");
    for source in [hugging_face(&fixture), TextSource::Gguf(gguf(&fixture))] {
        let tokenizer = Tokenizer::new(&source).unwrap();
        let found = tokenizer.encode("<think>a</think>", false).unwrap();
        let names: Vec<String> = found.iter().map(|id| tokenizer.token_text(*id)).collect();
        assert_eq!(names, ["<think>", "a", "</think>"]);
    }
}

#[test]
fn stop_tokens_come_from_every_configuration() {
    let fixture = fixture("smollm");
    let from_files = Tokenizer::new(&hugging_face(&fixture)).unwrap();
    assert_eq!(from_files.stop_tokens(), [1, 2]);
    // GGUF: <|endoftext|> and <|im_end|> by name; EOT and EOM by their keys.
    let text = GgufText { eos: None, eot: Some(5), eom: Some(9), ..gguf(&fixture) };
    let from_gguf = Tokenizer::new(&TextSource::Gguf(text)).unwrap();
    assert_eq!(from_gguf.stop_tokens(), [0, 2, 5, 9]);
}

/// Files of fine-tunes list `<|im_end|>` as a user's token, or as any other.
#[test]
fn what_ends_a_turn_is_special_whatever_the_file_says() {
    let fixture = fixture("smollm");
    let mut sources: Vec<TextSource> = Vec::new();
    for kind in [1, 4] {
        let mut text = gguf(&fixture);
        text.token_types[1..3].fill(kind);
        sources.push(TextSource::Gguf(text));
    }
    let json = fixture["tokenizer"].as_str().unwrap().replace("\"special\":true", "\"special\":false");
    sources.push(hugging_face_with(&json, &fixture["tokenizer_config"]));
    for source in sources {
        let tokenizer = Tokenizer::new(&source).unwrap();
        let text = "<|im_end|>\n<|im_start|>system";
        let found = tokenizer.encode(text, false).unwrap();
        assert!(!found.contains(&1) && !found.contains(&2), "{found:?}");
        assert!(tokenizer.is_control(1) && tokenizer.is_control(2) && tokenizer.stop_tokens().contains(&2));
        assert_eq!(tokenizer.decode(&found), text);
    }
}

#[test]
fn bos_follows_the_configuration() {
    let fixture = fixture("spm");
    let with = |add_bos| {
        let text = GgufText { add_bos, add_eos: Some(true), ..gguf(&fixture) };
        Tokenizer::new(&TextSource::Gguf(text)).unwrap().encode("a", true).unwrap()
    };
    let plain = Tokenizer::new(&TextSource::Gguf(gguf(&fixture))).unwrap().encode("a", false).unwrap();
    assert_eq!(with(Some(true)), [&[1], &plain[..], &[2]].concat());
    assert_eq!(with(None), [&[1], &plain[..], &[2]].concat());
    assert_eq!(with(Some(false)), [&plain[..], &[2]].concat());
}

fn refused(source: &TextSource, named: &[&str]) {
    let error = Tokenizer::new(source).expect_err("it should be refused").to_string();
    for part in named {
        assert!(error.contains(part), "{error:?} does not name {part:?}");
    }
}

#[test]
fn unknown_kinds_are_refused_with_what_works() {
    let smollm = gguf(&fixture("smollm"));
    let change = |change: &dyn Fn(&mut GgufText)| {
        let mut text = smollm.clone();
        change(&mut text);
        TextSource::Gguf(text)
    };
    refused(&change(&|text| text.pre = Some("tekken".to_owned())), &["tekken", "smollm", "llama-bpe", "qwen2"]);
    refused(&change(&|text| text.model = "rwkv".to_owned()), &["rwkv", "gpt2", "llama"]);
    refused(&change(&|text| text.tokens.clear()), &["700"]);
    refused(&change(&|text| text.merges[3] = "nospace".to_owned()), &["nospace"]);
    refused(&change(&|text| text.merges[3] = "q zzzz".to_owned()), &["qzzzz"]);
    refused(&change(&|text| text.eos = Some(70_000)), &["eos", "70000"]);
    refused(&change(&|text| text.model = "llama".to_owned()), &["scores"]);

    let fixture = fixture("smollm");
    let file: Value = serde_json::from_str(fixture["tokenizer"].as_str().unwrap()).unwrap();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut file = file.clone();
        change(&mut file);
        hugging_face_with(&file.to_string(), &fixture["tokenizer_config"])
    };
    refused(&change(&|file| file["model"]["type"] = json!("Unigram")), &["Unigram", "BPE"]);
    refused(&change(&|file| file["normalizer"] = json!({ "type": "Lowercase" })), &["Lowercase", "NFC"]);
    refused(&change(&|file| file["pre_tokenizer"] = json!({ "type": "Whitespace" })), &["Whitespace", "ByteLevel"]);
    let split = json!({ "type": "Split", "pattern": { "Regex": "(a*)*" }, "behavior": "Isolated", "invert": false });
    refused(&change(&|file| file["pre_tokenizer"] = split.clone()), &["(a*)*", "Llama 3"]);
    refused(&change(&|file| file["model"]["vocab"]["far"] = json!(4_000_000_000u32)), &["4000000001"]);
    refused(&change(&|file| file["model"]["vocab"]["bad"] = json!(-1)), &["bad", "-1"]);
    refused(&hugging_face_with("{", &json!({})), &["tokenizer.json"]);
}
