//! Known fields that a later version will serve: refused with a 400 that names the field, unless the value asks for
//! nothing. Silently ignoring them would give an answer to another question.

use crate::error::ApiError;
use crate::wire::fields::Fields;
use serde_json::Value;

/// A field with the values that ask for nothing. `null` and absence never ask.
struct NotBuilt {
    name: &'static str,
    asks_nothing: fn(&Value) -> bool,
}

const fn field(name: &'static str, asks_nothing: fn(&Value) -> bool) -> NotBuilt {
    NotBuilt { name, asks_nothing }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

fn never(_: &Value) -> bool {
    false
}

fn zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn none_or_auto(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

fn boolean(value: &Value) -> bool {
    value.is_boolean()
}

fn text_format(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("text")
}

fn text_only(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(|item| item.as_str() == Some("text")))
}

/// Fields of OpenAI's chat and completion APIs.
const OPENAI: &[NotBuilt] = &[
    field("tools", empty),
    // Without tools, "none" and "auto" both mean that no tool is called.
    field("tool_choice", none_or_auto),
    field("parallel_tool_calls", boolean),
    field("functions", empty),
    field("function_call", none_or_auto),
    field("response_format", text_format),
    field("modalities", text_only),
    field("audio", never),
    field("prediction", never),
    field("store", empty),
    field("web_search_options", never),
    field("reasoning_effort", |value| value.as_str() == Some("none")),
    field("verbosity", |value| value.as_str() == Some("medium")),
    field("moderation", never),
    field("suffix", |value| value.as_str() == Some("")),
];

/// Extras of other servers that change the answer.
const EXTRAS: &[NotBuilt] = &[
    field("structured_outputs", never),
    field("guided_json", never),
    field("guided_regex", never),
    field("guided_choice", never),
    field("guided_grammar", never),
    field("grammar", never),
    field("json_schema", never),
    field("regex", never),
    field("chat_template", never),
    field("chat_template_kwargs", empty),
    field("continue_final_message", empty),
    field("add_generation_prompt", |value| value.as_bool() == Some(true)),
    field("documents", empty),
    field("prompt_logprobs", never),
    field("prompt_embeds", never),
    field("min_tokens", zero),
    field("stop_token_ids", empty),
    field("bad_words", empty),
    field("allowed_token_ids", empty),
    field("use_beam_search", empty),
    field("length_penalty", one),
    field("truncate_prompt_tokens", never),
    field("include_stop_str_in_output", empty),
    field("return_token_ids", empty),
    field("return_token_strs", empty),
];

/// Refuses the first field that asks for something that is not built.
pub fn refuse(fields: &Fields) -> Result<(), ApiError> {
    for row in OPENAI.iter().chain(EXTRAS) {
        if fields.get(row.name).is_some_and(|value| !(row.asks_nothing)(value)) {
            let message = format!("`{}` with this value is not built yet in this server; leave it out.", row.name);
            return Err(ApiError::unsupported(fields.param(row.name), message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn param(body: Value) -> Option<String> {
        let Value::Object(map) = body else { panic!("an object") };
        refuse(&Fields::new(map)).err().and_then(|error| error.body.param)
    }

    #[test]
    fn what_asks_for_nothing_is_accepted() {
        let body = json!({
            "tools": [], "tool_choice": "none", "parallel_tool_calls": true, "functions": null,
            "response_format": {"type": "text"}, "modalities": ["text"], "audio": null, "store": false,
            "service_tier": "auto", "user": "u", "metadata": {}, "suffix": "", "min_tokens": 0, "not_a_field": [1],
        });
        assert_eq!(param(body), None);
    }

    #[test]
    fn what_asks_is_refused_by_name() {
        let tool = json!([{"type": "function", "function": {"name": "f"}}]);
        assert_eq!(param(json!({"tools": tool})).as_deref(), Some("tools"));
        for (name, value) in [
            ("tool_choice", json!("required")),
            ("functions", json!([{"name": "f"}])),
            ("response_format", json!({"type": "json_object"})),
            ("response_format", json!("json")),
            ("modalities", json!(["text", "audio"])),
            ("audio", json!({"voice": "x"})),
            ("prediction", json!({"type": "content", "content": "x"})),
            ("store", json!(true)),
            ("web_search_options", json!({})),
            ("suffix", json!("end")),
            ("guided_json", json!({})),
            ("min_tokens", json!(5)),
        ] {
            assert_eq!(param(json!({name: value})).as_deref(), Some(name));
        }
    }
}
