//! Chat templates against transformers' renderer, and where templates come from.

use super::{fixture, gguf, hugging_face_with, message, messages, with_template};
use orrery_model::Error;
use orrery_model::text::{ChatTemplate, Tokenizer};
use orrery_model::weights::{GgufText, TextSource};
use serde_json::json;

#[test]
fn templates_render_as_transformers_does() {
    let fixture = fixture("templates");
    let mut refusals = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (_, template) = with_template(fixture["templates"][name].as_str().unwrap());
        let start = case["add_generation_prompt"].as_bool().unwrap();
        match (template.render(&messages(&case["messages"]), start), case["refused"].as_str()) {
            (Ok(rendered), None) => assert_eq!(rendered.plain_text(), case["text"], "{name}"),
            (Err(Error::TemplateRefused(reason)), Some(expected)) => {
                assert_eq!(reason, expected, "{name}");
                refusals += 1;
            }
            (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
        }
    }
    assert!(refusals > 0);
}

#[test]
fn long_chats_have_fuel_and_time_in_every_template() {
    let fixture = fixture("templates");
    for (name, source) in fixture["templates"].as_object().unwrap() {
        let (_, template) = with_template(source.as_str().unwrap());
        let long = format!("<think>\n{}</think>\n\nword", "word ".repeat(100_000));
        let turns = |count: usize, text: &str| -> Vec<_> {
            (0..count).map(|turn| message(if turn % 2 == 0 { "user" } else { "assistant" }, text)).collect()
        };
        for messages in [turns(3, &long), turns(1, &long.repeat(4)), turns(1_001, "hi")] {
            let found = template.render(&messages, true);
            assert!(found.is_ok(), "{name}, {} messages: {found:?}", messages.len());
        }
    }
}

#[test]
fn without_a_template_a_chatml_vocabulary_has_chatml() {
    let source = TextSource::Gguf(gguf(&fixture("smollm")));
    let tokenizer = Tokenizer::new(&source).unwrap();
    let template = ChatTemplate::new(&source, &tokenizer).unwrap();
    let rendered = template.render(&[message("user", "Hi")], true).unwrap();
    assert_eq!(rendered.plain_text(), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");

    let source = TextSource::Gguf(gguf(&fixture("gpt2")));
    let tokenizer = Tokenizer::new(&source).unwrap();
    let template = ChatTemplate::new(&source, &tokenizer).unwrap();
    let error = template.render(&[message("user", "Hi")], true).unwrap_err();
    assert!(matches!(&error, Error::Template(reason) if reason.contains("text completion")), "{error}");
}

#[test]
fn a_folder_may_hold_the_template_in_three_places() {
    let fixture = fixture("smollm");
    let tokenizer_json = fixture["tokenizer"].as_str().unwrap();
    let render = |source: TextSource| {
        let tokenizer = Tokenizer::new(&source).unwrap();
        let template = ChatTemplate::new(&source, &tokenizer).unwrap();
        template.render(&[message("user", "Hi")], false).unwrap().plain_text()
    };
    let config = |template| json!({ "bos_token": "<|im_start|>", "chat_template": template });
    let one = config(json!("one {{ bos_token }}"));
    assert_eq!(render(hugging_face_with(tokenizer_json, &one)), "one <|im_start|>");
    let named = json!([{ "name": "tool_use", "template": "no" }, { "name": "default", "template": "two" }]);
    assert_eq!(render(hugging_face_with(tokenizer_json, &config(named))), "two");
    let mut source = hugging_face_with(tokenizer_json, &one);
    if let TextSource::HuggingFace { chat_template, .. } = &mut source {
        *chat_template = Some("{% generation %}three{% endgeneration %}".to_owned());
    }
    assert_eq!(render(source), "three");
}

#[test]
fn none_is_not_iterable() {
    let (_, template) = with_template(
        "{% if tools is iterable and tools | length > 0 %}no{% endif %}{{ [] is iterable }} {{ 'a' is iterable }} \
         {{ nosuch is iterable }} {{ 1 is iterable }}",
    );
    assert_eq!(template.render(&[], false).unwrap().plain_text(), "True True True False");
}

#[test]
fn the_day_is_always_the_same() {
    let (_, template) = with_template("{{ strftime_now('%d %b %Y, %-m/%-d %A') }}");
    assert_eq!(template.render(&[], false).unwrap().plain_text(), "26 Jul 2024, 7/26 Friday");
    let (_, template) = with_template("{{ strftime_now('%Q') }}");
    assert!(matches!(template.render(&[], false), Err(Error::Template(reason)) if reason.contains("%Q")));
}

#[test]
fn broken_templates_are_not_the_callers_fault() {
    let text = GgufText { chat_template: Some("{% for %}".to_owned()), ..gguf(&fixture("smollm")) };
    let source = TextSource::Gguf(text);
    let tokenizer = Tokenizer::new(&source).unwrap();
    assert!(
        matches!(ChatTemplate::new(&source, &tokenizer), Err(Error::Template(reason)) if reason.contains("line 1"))
    );
    for template in
        ["{{ nosuch() }}", "{{ messages[0].nosuch.deeper }}", "{{ messages.nosuch() }}", "{% include 'x' %}"]
    {
        let text = GgufText { chat_template: Some(template.to_owned()), ..gguf(&fixture("smollm")) };
        let source = TextSource::Gguf(text);
        let built = ChatTemplate::new(&source, &tokenizer);
        let found = built.and_then(|built| built.render(&[message("user", "Hi")], true));
        assert!(matches!(found, Err(Error::Template(_))), "{template}: {found:?}");
    }
}
