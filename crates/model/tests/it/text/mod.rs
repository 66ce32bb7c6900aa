//! Text against other implementations' frozen answers (`fixtures/make_text.py`), hostile input and hostile templates.

mod escaping;
mod hostile;
mod smollm2;
mod streaming;
mod templates;
mod tokens;

use orrery_model::text::{ChatTemplate, Message, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};
use serde_json::{Value, json};
use std::path::Path;

/// A fixture of `fixtures/text/`.
fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/text").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The fixture's vocabulary as GGUF keys.
fn gguf(fixture: &Value) -> GgufText {
    let keys = &fixture["gguf"];
    let id = |name: &str| keys[name].as_u64().map(|id| id as u32);
    GgufText {
        model: keys["model"].as_str().unwrap().to_owned(),
        pre: keys["pre"].as_str().map(str::to_owned),
        tokens: strings(&keys["tokens"]),
        scores: list(&keys["scores"], |value| value.as_f64().unwrap() as f32),
        token_types: list(&keys["token_types"], |value| value.as_i64().unwrap() as i32),
        merges: strings(&keys["merges"]),
        bos: id("bos"),
        eos: id("eos"),
        unknown: id("unknown"),
        ..GgufText::default()
    }
}

/// The fixture's vocabulary as a Hugging Face folder's files.
fn hugging_face(fixture: &Value) -> TextSource {
    hugging_face_with(fixture["tokenizer"].as_str().unwrap(), &fixture["tokenizer_config"])
}

fn hugging_face_with(tokenizer: &str, config: &Value) -> TextSource {
    TextSource::HuggingFace {
        tokenizer: tokenizer.to_owned(),
        tokenizer_config: Some(config.to_string()),
        generation_config: Some(json!({ "eos_token_id": [1, 2] }).to_string()),
        config: json!({ "eos_token_id": 2 }).to_string(),
        chat_template: None,
    }
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(item).collect()
}

fn strings(value: &Value) -> Vec<String> {
    list(value, |value| value.as_str().unwrap().to_owned())
}

fn ids(value: &Value) -> Vec<u32> {
    list(value, |value| value.as_u64().unwrap() as u32)
}

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}

fn messages(value: &Value) -> Vec<Message> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list(value, |message| Message { role: text(&message["role"]), content: text(&message["content"]) })
}

/// A tokenizer of the SmolLM family with this template.
fn with_template(template: &str) -> (Tokenizer, ChatTemplate) {
    let text = GgufText { chat_template: Some(template.to_owned()), bos: Some(1), ..gguf(&fixture("smollm")) };
    let source = TextSource::Gguf(text);
    let tokenizer = Tokenizer::new(&source).unwrap();
    let template = ChatTemplate::new(&source, &tokenizer).unwrap();
    (tokenizer, template)
}
