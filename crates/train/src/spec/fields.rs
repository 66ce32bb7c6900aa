//! Reading an object of the job field by field, so that a refusal names the field, its value and the way out.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// The fields of one object that are not read yet.
#[derive(Debug)]
pub struct Fields {
    path: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

/// What a number must be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    least: f64,
    most: f64,
    /// Whether `least` itself is refused.
    above: bool,
}

impl Bounds {
    /// From `least` to `most`, both allowed.
    pub const fn within(least: f64, most: f64) -> Bounds {
        Bounds { least, most, above: false }
    }

    /// Over `least`, up to `most`.
    pub const fn over(least: f64, most: f64) -> Bounds {
        Bounds { least, most, above: true }
    }

    fn holds(self, number: f64) -> bool {
        number.is_finite() && number <= self.most && if self.above { number > self.least } else { number >= self.least }
    }

    fn words(self) -> String {
        match self.above {
            true => format!("over {} and at most {}", self.least, self.most),
            false => format!("from {} to {}", self.least, self.most),
        }
    }
}

impl Fields {
    /// The fields of `value`, which stands at `path` in the job (empty for the job itself). `null` is an empty object.
    ///
    /// # Errors
    /// [`Error::BadSpec`] when it is no object.
    pub fn of(path: &str, value: Value) -> Result<Fields> {
        let left = match value {
            Value::Object(left) => left,
            Value::Null => Map::new(),
            other => return Err(bad(path, format!("{} is {other}; it must be an object", name_of(path)))),
        };
        Ok(Fields { path: path.to_owned(), left, known: Vec::new() })
    }

    /// The field as it stands; `None` when it is missing or `null`.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Whether the field is missing or `null`.
    pub fn absent(&self, name: &str) -> bool {
        self.left.get(name).is_none_or(Value::is_null)
    }

    /// A number within `bounds`, or `otherwise`.
    ///
    /// # Errors
    /// [`Error::BadSpec`], as for every reader here.
    pub fn number(&mut self, name: &'static str, bounds: Bounds, otherwise: f64) -> Result<f64> {
        let Some(value) = self.take(name) else { return Ok(otherwise) };
        match value.as_f64() {
            Some(number) if bounds.holds(number) => Ok(number),
            _ => Err(self.refuse(name, &value, &format!("give a number {}", bounds.words()))),
        }
    }

    /// A whole number from `least` to `most`, or `otherwise`.
    ///
    /// # Errors
    /// See [`Fields::number`].
    pub fn count(&mut self, name: &'static str, (least, most): (u64, u64), otherwise: u64) -> Result<u64> {
        let Some(value) = self.take(name) else { return Ok(otherwise) };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refuse(name, &value, &format!("give a whole number from {least} to {most}"))),
        }
    }

    /// A truth value, or `otherwise`.
    ///
    /// # Errors
    /// See [`Fields::number`].
    pub fn flag(&mut self, name: &'static str, otherwise: bool) -> Result<bool> {
        let Some(value) = self.take(name) else { return Ok(otherwise) };
        value.as_bool().ok_or_else(|| self.refuse(name, &value, "give true or false"))
    }

    /// One of `choices`, or the first of them.
    ///
    /// # Errors
    /// See [`Fields::number`].
    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Result<T> {
        let Some(value) = self.take(name) else { return Ok(choices[0].1) };
        let found = value.as_str().and_then(|text| choices.iter().find(|choice| choice.0 == text));
        found.map(|choice| choice.1).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|choice| format!("\"{}\"", choice.0)).collect();
            self.refuse(name, &value, &format!("give one of {}", names.join(", ")))
        })
    }

    /// A list of at most `longest` whole numbers from 1 to `most`, or `otherwise`.
    ///
    /// # Errors
    /// See [`Fields::number`].
    pub fn sizes(&mut self, name: &'static str, longest: usize, most: u64, otherwise: &[usize]) -> Result<Vec<usize>> {
        let Some(value) = self.take(name) else { return Ok(otherwise.to_vec()) };
        let size = |item: &Value| item.as_u64().filter(|size| (1..=most).contains(size)).map(|size| size as usize);
        let sizes = value.as_array().filter(|items| items.len() <= longest);
        sizes.and_then(|items| items.iter().map(size).collect()).ok_or_else(|| {
            self.refuse(name, &value, &format!("give a list of at most {longest} whole numbers from 1 to {most}"))
        })
    }

    /// A text that is not empty; `None` when it is missing.
    ///
    /// # Errors
    /// See [`Fields::number`].
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(value) => Err(self.refuse(name, &value, "give a text that is not empty")),
        }
    }

    /// That no field is left.
    ///
    /// # Errors
    /// [`Error::BadSpec`] naming the first field that nobody reads, and those that are read.
    pub fn finish(self) -> Result<()> {
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let takes = match self.known.is_empty() {
            true => "no fields at all".to_owned(),
            false => self.known.join(", "),
        };
        let path = join(&self.path, name);
        let message = format!("`{path}` is not a field of {}; it takes {takes}", name_of(&self.path));
        Err(bad(&path, message))
    }

    /// The error for a field with a value that cannot be.
    pub fn refuse(&self, name: &str, value: &Value, way_out: &str) -> Error {
        let path = join(&self.path, name);
        let message = format!("`{path}` is {}; {way_out}", shortened(value));
        bad(&path, message)
    }
}

/// A refusal of the field at `path`.
pub fn bad(path: &str, message: String) -> Error {
    Error::BadSpec { field: path.to_owned(), message }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn name_of(path: &str) -> String {
    if path.is_empty() { "the job".to_owned() } else { format!("`{path}`") }
}

/// Messages go into logs and answers: a value of megabytes must not.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
