//! What chat and completion requests share, from JSON to `platform::Generate`.

use crate::Limits;
use crate::error::ApiError;
use crate::wire::fields::{Fields, checked_text};
use crate::wire::{not_built, params};
use orrery_platform::Generate;
use serde_json::Value;

/// How to answer: at once or as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub stream: bool,
    pub include_usage: bool,
}

/// Reads all shared fields. `max_tokens` and `logprobs` differ between the two APIs and are filled in by them.
pub fn read(fields: &mut Fields, limits: &Limits) -> Result<(Generate, Delivery), ApiError> {
    not_built::refuse(fields)?;
    let generate = Generate {
        max_tokens: None,
        n: fields.count(&params::N.up_to(limits.choices_max))?.unwrap_or(1),
        temperature: number(fields, &params::TEMPERATURE)?,
        top_k: fields.integer(&params::TOP_K)?.map_or(0, |k| usize::try_from(k).unwrap_or(0)),
        top_p: number(fields, &params::TOP_P)?,
        min_p: number(fields, &params::MIN_P)?,
        presence_penalty: number(fields, &params::PRESENCE)?,
        frequency_penalty: number(fields, &params::FREQUENCY)?,
        repetition_penalty: number(fields, &params::REPETITION)?,
        logit_bias: logit_bias(fields)?,
        // Any 64 bits are a seed; a negative one keeps its bits.
        seed: fields.integer(&params::SEED)?.map(i64::cast_unsigned),
        stop: stop(fields, limits)?,
        ignore_eos: fields.flag(&params::IGNORE_EOS)?,
        logprobs: None,
        cache_salt: cache_salt(fields)?,
        priority: fields.integer(&params::PRIORITY)?.and_then(|value| i32::try_from(value).ok()).unwrap_or(0),
    };
    check_ignored(fields)?;
    Ok((generate, delivery(fields)?))
}

pub fn model(fields: &mut Fields) -> Result<String, ApiError> {
    optional_model(fields)?.ok_or_else(|| fields.missing("model"))
}

/// A name that could be a model's: short, and without control characters. Nothing else gets near a look-up or a path.
pub fn optional_model(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let model = fields.text("model")?;
    match &model {
        Some(name) if name.len() > params::MODEL_BYTES_MAX => {
            let message = format!("`model` has {} bytes; at most {} are allowed.", name.len(), params::MODEL_BYTES_MAX);
            Err(ApiError::invalid("model", message))
        }
        Some(name) if name.chars().any(char::is_control) => {
            Err(ApiError::invalid("model", "`model` has a control character; remove it."))
        }
        _ => Ok(model),
    }
}

fn number(fields: &mut Fields, spec: &params::Number) -> Result<f32, ApiError> {
    Ok(fields.number(spec)?.unwrap_or(spec.default))
}

fn stop(fields: &mut Fields, limits: &Limits) -> Result<Vec<String>, ApiError> {
    let values = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(one @ Value::String(_)) => vec![one],
        Some(other) => return Err(fields.wrong_type("stop", "a string or an array of strings", &other)),
    };
    if values.len() > limits.stop_strings_max {
        let (count, limit) = (values.len(), limits.stop_strings_max);
        let message = format!("`stop` has {count} strings; at most {limit} are allowed.");
        return Err(ApiError::invalid("stop", message));
    }
    values.into_iter().map(|value| stop_string(fields, value, limits.stop_bytes_max)).collect()
}

fn stop_string(fields: &Fields, value: Value, bytes_max: usize) -> Result<String, ApiError> {
    match value {
        Value::String(text) if text.is_empty() => {
            Err(ApiError::invalid("stop", "`stop` has an empty string; remove it."))
        }
        Value::String(text) if text.len() > bytes_max => {
            let message = format!("`stop` has a string of {} bytes; at most {bytes_max} are allowed.", text.len());
            Err(ApiError::invalid("stop", message))
        }
        Value::String(text) => checked_text(text, || "stop".to_owned()),
        other => Err(fields.wrong_type("stop", "a string or an array of strings", &other)),
    }
}

fn logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>, ApiError> {
    const NAME: &str = "logit_bias";
    let map = match fields.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(fields.wrong_type(NAME, "an object from token ids to numbers", &other)),
    };
    if map.len() > params::LOGIT_BIAS_MAX {
        let message = format!("`{NAME}` has {} entries; at most {} are allowed.", map.len(), params::LOGIT_BIAS_MAX);
        return Err(ApiError::invalid(NAME, message));
    }
    let entry = |(token, bias): (&String, &Value)| {
        let id = token.parse::<u32>();
        let id = id.map_err(|_| ApiError::invalid(NAME, format!("`{NAME}` has a key that is not a token id.")))?;
        let in_range = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias));
        let message = || format!("`{NAME}` of token {id} must be a number between -100 and 100.");
        in_range.map(|bias| (id, bias as f32)).ok_or_else(|| ApiError::invalid(NAME, message()))
    };
    map.iter().map(entry).collect()
}

fn cache_salt(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let salt = fields.text("cache_salt")?;
    if let Some(bytes) = salt.as_ref().map(String::len).filter(|bytes| *bytes > params::SALT_BYTES_MAX) {
        let message = format!("`cache_salt` has {bytes} bytes; at most {} are allowed.", params::SALT_BYTES_MAX);
        return Err(ApiError::invalid("cache_salt", message));
    }
    Ok(salt)
}

/// Fields that change nothing here, but whose types a client should hear about when they are wrong.
fn check_ignored(fields: &mut Fields) -> Result<(), ApiError> {
    for name in ["user", "service_tier", "safety_identifier", "prompt_cache_key"] {
        fields.text(name)?;
    }
    fields.object("metadata")?;
    Ok(())
}

fn delivery(fields: &mut Fields) -> Result<Delivery, ApiError> {
    let stream = fields.flag(&params::STREAM)?;
    let Some(mut options) = fields.object("stream_options")? else {
        return Ok(Delivery { stream, include_usage: false });
    };
    if !stream {
        let message = "`stream_options` is only allowed with `stream: true`.";
        return Err(ApiError::invalid("stream_options", message));
    }
    Ok(Delivery { stream, include_usage: options.flag(&params::INCLUDE_USAGE)? })
}
