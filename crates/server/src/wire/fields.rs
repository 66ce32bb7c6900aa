//! A typed reader of a JSON object: each mistake becomes a 400 that names the field and says what is right.
//!
//! `null` is the same as absent, as in OpenAI's API. Messages quote numbers but never text: a prompt must not end up in
//! an error body or a log.

use crate::error::ApiError;
use crate::wire::params::{Flag, Integer, Number};
use serde_json::{Map, Value};

/// One JSON object, read field by field.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    map: Map<String, Value>,
    /// Where the object stands in the body (`messages[0]`); empty for the body itself.
    path: String,
}

impl Fields {
    pub fn new(map: Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    pub fn nested(map: Map<String, Value>, path: String) -> Self {
        Self { map, path }
    }

    /// The path of a field, for `param`.
    pub fn param(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a field out; `None` when it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub fn missing(&self, name: &str) -> ApiError {
        let param = self.param(name);
        let message = format!("Missing required parameter: `{param}`.");
        ApiError::invalid(param, message)
    }

    pub fn wrong_type(&self, name: &str, wanted: &str, got: &Value) -> ApiError {
        let param = self.param(name);
        let message = format!("`{param}` must be {wanted}, not {}.", type_name(got));
        ApiError::invalid(param, message)
    }

    pub fn number(&mut self, spec: &Number) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.take(spec.name) else { return Ok(None) };
        let Some(number) = value.as_f64() else { return Err(self.wrong_type(spec.name, "a number", &value)) };
        if !(spec.min..=spec.max).contains(&number) {
            return Err(self.out_of_range(spec.name, &value, spec.min, spec.max));
        }
        Ok(Some(number as f32))
    }

    pub fn integer(&mut self, spec: &Integer) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(spec.name) else { return Ok(None) };
        let integral = value.as_i64().or_else(|| whole(value.as_f64()?));
        if integral.is_none() && (value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)) {
            return Err(self.out_of_range(spec.name, &value, spec.min, spec.max));
        }
        let Some(integer) = integral else { return Err(self.wrong_type(spec.name, "an integer", &value)) };
        if !(spec.min..=spec.max).contains(&integer) {
            return Err(self.out_of_range(spec.name, &value, spec.min, spec.max));
        }
        Ok(Some(integer))
    }

    /// An integer whose range has no negative part.
    pub fn count(&mut self, spec: &Integer) -> Result<Option<usize>, ApiError> {
        Ok(self.integer(spec)?.map(|integer| usize::try_from(integer).unwrap_or(0)))
    }

    pub fn flag(&mut self, spec: &Flag) -> Result<bool, ApiError> {
        match self.take(spec.name) {
            None => Ok(spec.default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong_type(spec.name, "true or false", &other)),
        }
    }

    /// A string without NUL characters.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => checked_text(text, || self.param(name)).map(Some),
            Some(other) => Err(self.wrong_type(name, "a string", &other)),
        }
    }

    pub fn required_text(&mut self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Fields>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields::nested(map, self.param(name)))),
            Some(other) => Err(self.wrong_type(name, "an object", &other)),
        }
    }

    pub fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong_type(name, "an array", &other)),
        }
    }

    /// What was not read yet, for a reader of its own.
    pub fn rest(self) -> Map<String, Value> {
        self.map.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// The field is there, and null.
    pub fn is_null(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// Refuses what was not read: for routes of our own, where no client of another server sends more.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => {
                let param = self.param(&crate::state::printable(name));
                let message = format!("`{param}` is no field of this request.");
                Err(ApiError::invalid(param, message))
            }
        }
    }

    fn out_of_range(
        &self,
        name: &str,
        value: &Value,
        min: impl std::fmt::Display,
        max: impl std::fmt::Display,
    ) -> ApiError {
        let param = self.param(name);
        let message = format!("`{param}` is {value}; it must be between {min} and {max}.");
        ApiError::invalid(param, message)
    }
}

/// `5.0` is an integer in JSON Schema, and some languages write their integers so. Past 2^53 a float is no exact integer.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = (1u64 << 53) as f64;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Refuses U+0000, which no model is trained on and which ends a string early in many systems behind a prompt.
pub fn checked_text(text: String, param: impl FnOnce() -> String) -> Result<String, ApiError> {
    let Some(offset) = text.find('\0') else { return Ok(text) };
    let param = param();
    let message = format!("`{param}` has a NUL character (U+0000) at byte {offset}; remove it.");
    Err(ApiError::invalid(param, message))
}

/// Token ids of an array; `param` names the array.
pub fn token_ids(values: &[Value], param: &str) -> Result<Vec<u32>, ApiError> {
    let id = |(index, value): (usize, &Value)| {
        value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            let path = format!("{param}[{index}]");
            let message = format!("`{path}` must be a token id (an integer from 0 to {}).", u32::MAX);
            ApiError::invalid(path, message)
        })
    };
    values.iter().enumerate().map(id).collect()
}

pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
