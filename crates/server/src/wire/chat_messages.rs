//! The messages of a chat request: roles, and contents as text or as parts of text.

use crate::error::ApiError;
use crate::wire::fields::{Fields, checked_text, type_name};
use crate::wire::params::{RequestSchema, string};
use orrery_platform::ChatMessage;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};

/// Length of `name` in bytes, as in OpenAI's API.
const NAME_BYTES_MAX: usize = 64;

/// Reads `messages`; the body must have it.
pub fn read(fields: &mut Fields) -> Result<Vec<ChatMessage>, ApiError> {
    let values = fields.array("messages")?.ok_or_else(|| fields.missing("messages"))?;
    if values.is_empty() {
        return Err(ApiError::invalid("messages", "`messages` is empty; send at least one message."));
    }
    values.into_iter().enumerate().map(|(index, value)| message(index, value)).collect()
}

fn message(index: usize, value: Value) -> Result<ChatMessage, ApiError> {
    let path = format!("messages[{index}]");
    let mut fields = match value {
        Value::Object(map) => Fields::nested(map, path),
        other => {
            return Err(ApiError::invalid(&path, format!("`{path}` must be an object, not {}.", type_name(&other))));
        }
    };
    let role = role(&mut fields)?;
    refuse_calls(&fields)?;
    // Chat templates have no place for names; a bad one is still a mistake.
    if fields.text("name")?.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        let param = fields.param("name");
        let message = format!("`{param}` is over {NAME_BYTES_MAX} bytes.");
        return Err(ApiError::invalid(param, message));
    }
    let content = content(&mut fields, role)?;
    Ok(ChatMessage { role: role.to_owned(), content })
}

fn role(fields: &mut Fields) -> Result<&'static str, ApiError> {
    let param = fields.param("role");
    match fields.required_text("role")?.as_str() {
        // Templates know the developer under the older name.
        "system" | "developer" => Ok("system"),
        "user" => Ok("user"),
        "assistant" => Ok("assistant"),
        "tool" | "function" => {
            let message = format!("`{param}`: tool messages are not built yet in this server.");
            Err(ApiError::unsupported(param, message))
        }
        _ => {
            let message = format!("`{param}` must be one of system, developer, user and assistant.");
            Err(ApiError::invalid(param, message))
        }
    }
}

fn refuse_calls(fields: &Fields) -> Result<(), ApiError> {
    for name in ["tool_calls", "function_call", "tool_call_id", "audio"] {
        let asks = fields.get(name).is_some_and(|value| value.as_array().is_none_or(|calls| !calls.is_empty()));
        if asks {
            let param = fields.param(name);
            let message = format!("`{param}` is not built yet in this server; leave it out.");
            return Err(ApiError::unsupported(param, message));
        }
    }
    Ok(())
}

fn content(fields: &mut Fields, role: &str) -> Result<String, ApiError> {
    match fields.take("content") {
        Some(Value::String(text)) => checked_text(text, || fields.param("content")),
        Some(Value::Array(parts)) => parts_text(fields, parts, role),
        Some(other) => Err(fields.wrong_type("content", "a string or an array of parts", &other)),
        // An answer that was refused comes back with its refusal and no content.
        None => match fields.text("refusal")? {
            Some(refusal) if role == "assistant" => Ok(refusal),
            _ => Err(fields.missing("content")),
        },
    }
}

fn parts_text(fields: &Fields, parts: Vec<Value>, role: &str) -> Result<String, ApiError> {
    let param = fields.param("content");
    if parts.is_empty() {
        let message = format!("`{param}` is an empty array; send at least one part.");
        return Err(ApiError::invalid(param, message));
    }
    let texts = parts.into_iter().enumerate().map(|(index, part)| part_text(format!("{param}[{index}]"), part, role));
    texts.collect()
}

fn part_text(path: String, part: Value, role: &str) -> Result<String, ApiError> {
    let Value::Object(map) = part else {
        let message = format!("`{path}` must be an object, not {}.", type_name(&part));
        return Err(ApiError::invalid(path, message));
    };
    let mut part = Fields::nested(map, path);
    match part.required_text("type")?.as_str() {
        "text" => part.required_text("text"),
        "refusal" if role == "assistant" => part.required_text("refusal"),
        "image_url" | "input_audio" | "file" | "video_url" | "audio_url" => {
            let param = part.param("type");
            let message = format!("`{param}`: only parts of type `text` are built in this server.");
            Err(ApiError::unsupported(param, message))
        }
        _ => {
            let param = part.param("type");
            let message = format!("`{param}` must be `text`.");
            Err(ApiError::invalid(param, message))
        }
    }
}

pub fn schema() -> RefOr<Schema> {
    let part = RequestSchema::new("A part of text.")
        .text("type", "`text`.")
        .text("text", "The text.")
        .required("type")
        .required("text")
        .build();
    let content = OneOfBuilder::new()
        .item(string("The text."))
        .item(ArrayBuilder::new().items(part).min_items(Some(1)))
        .description(Some("Text, or parts of it."));
    let role = string("Who speaks.").enum_values(Some(["system", "developer", "user", "assistant"]));
    let message = RequestSchema::new("One message.")
        .property("role", role)
        .property("content", Schema::OneOf(content.build()))
        .text("name", "Accepted; not seen by the model.")
        .required("role")
        .required("content")
        .build();
    Schema::Array(ArrayBuilder::new().items(message).min_items(Some(1)).build()).into()
}
