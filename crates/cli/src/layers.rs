//! The layers of configuration: defaults, file, environment, flags; each value remembers where it came from.
//!
//! The defaults are the reference file `config/orrery.toml`, so a key exists exactly if that file has it. Values are
//! checked here for their type only; their meaning is `config`'s.

use crate::failure::Usage;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The reference configuration, which is also the source of the defaults.
pub const REFERENCE: &str = include_str!("../../../config/orrery.toml");

/// Where a value came from; shown in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// All keys, `section.key`, with their values.
#[derive(Debug, Clone)]
pub struct Layers {
    values: BTreeMap<String, (Value, Source)>,
}

impl Layers {
    /// Every key at its default.
    pub fn defaults() -> Self {
        let table: Table = REFERENCE.parse().expect("invariant: config/orrery.toml is tested to parse");
        let values = flatten(&table).into_iter().map(|(key, value)| (key, (value, Source::Default))).collect();
        Self { values }
    }

    /// Lays a configuration file over what is there.
    ///
    /// # Errors
    /// Not TOML, an unknown key (the nearest known one is named), or a value of another type than the default's.
    pub fn file(&mut self, path: &Path, text: &str) -> Result<(), Usage> {
        let source = Source::File(path.to_owned());
        let table: Table = text.parse().map_err(|e| Usage(format!("{source} is not a TOML file: {e}")))?;
        for (key, value) in flatten(&table) {
            if !self.values.contains_key(&key) {
                return Err(Usage(format!("{source}: unknown key `{key}`{}", self.suggestion(&key))));
            }
            self.set(&key, value, source.clone())?;
        }
        Ok(())
    }

    /// Lays the environment over what is there: `ORRERY_<KEY>`, and the names that other tools gave to some keys.
    /// Unknown `ORRERY_` variables are left alone, since orchestrators inject some (`ORRERY_SERVICE_HOST`).
    ///
    /// # Errors
    /// A value that cannot be read as the key's type.
    pub fn environment(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), Usage> {
        let borrowed = [
            ("HF_ENDPOINT", "download.hub_endpoint"),
            ("HF_TOKEN", "download.hub_token"),
            ("PIP_INDEX_URL", "download.package_index"),
        ];
        let own: Vec<(String, String)> = self.values.keys().map(|key| (variable_of(key), key.clone())).collect();
        let borrowed = borrowed.into_iter().map(|(name, key)| (name.to_owned(), key.to_owned()));
        for (name, key) in borrowed.chain(own) {
            let Some(text) = variable(&name).filter(|text| !text.is_empty()) else { continue };
            let source = Source::Variable(name);
            let value = self.read(&key, &text, &source)?;
            self.set(&key, value, source)?;
        }
        Ok(())
    }

    /// Lays one flag over what is there.
    ///
    /// # Errors
    /// A value of another type than the default's.
    pub fn flag(&mut self, flag: &'static str, key: &str, value: Option<impl Into<Value>>) -> Result<(), Usage> {
        match value {
            Some(value) => self.set(key, value.into(), Source::Flag(flag)),
            None => Ok(()),
        }
    }

    fn set(&mut self, key: &str, value: Value, source: Source) -> Result<(), Usage> {
        let slot = self.values.get_mut(key).expect("invariant: only keys of the reference file are set");
        // A size may be written as a plain number of bytes.
        let value = match (&slot.0, value) {
            (Value::String(_), Value::Integer(number)) => Value::String(number.to_string()),
            (Value::Float(_), Value::Integer(number)) => Value::Float(number as f64),
            (_, value) => value,
        };
        if !slot.0.same_type(&value) {
            return Err(Usage(format!(
                "{source}: `{key}` must be {}, and is {} `{value}`",
                kind(&slot.0),
                kind(&value)
            )));
        }
        *slot = (value, source);
        Ok(())
    }

    /// Text of a variable as the type of the key's default.
    fn read(&self, key: &str, text: &str, source: &Source) -> Result<Value, Usage> {
        let default = &self.values[key].0;
        let bad = || Usage(format!("{source}: `{text}` is not {}", kind(default)));
        Ok(match default {
            Value::Integer(_) => Value::Integer(text.parse().map_err(|_| bad())?),
            Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| bad())?),
            Value::Float(_) => Value::Float(text.parse().map_err(|_| bad())?),
            Value::Array(_) => {
                Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
            }
            _ => Value::String(text.to_owned()),
        })
    }

    /// Where the value of `key` came from.
    pub fn source(&self, key: &str) -> &Source {
        &self.values[key].1
    }

    /// An error about the value of `key` that names its source.
    pub fn refuse(&self, key: &str, message: impl fmt::Display) -> Usage {
        match self.source(key) {
            Source::Flag(flag) => Usage(format!("{flag}: {message}")),
            source => Usage(format!("`{key}` ({source}): {message}")),
        }
    }

    pub fn text(&self, key: &str) -> &str {
        self.values[key].0.as_str().expect("invariant: types are those of the reference file")
    }

    pub fn boolean(&self, key: &str) -> bool {
        self.values[key].0.as_bool().expect("invariant: types are those of the reference file")
    }

    pub fn list(&self, key: &str) -> Result<Vec<String>, Usage> {
        let items = self.values[key].0.as_array().expect("invariant: types are those of the reference file");
        let text = |item: &Value| item.as_str().map(str::to_owned);
        items.iter().map(text).collect::<Option<_>>().ok_or_else(|| self.refuse(key, "must be a list of strings"))
    }

    /// An integer between `least` and `most`.
    pub fn integer(&self, key: &str, least: u64, most: u64) -> Result<u64, Usage> {
        let value = self.values[key].0.as_integer().expect("invariant: types are those of the reference file");
        match u64::try_from(value) {
            Ok(value) if (least..=most).contains(&value) => Ok(value),
            _ => Err(self.refuse(key, format!("{value} is not between {least} and {most}"))),
        }
    }

    /// A share, 0 to 1.
    pub fn ratio(&self, key: &str) -> Result<f64, Usage> {
        let value = self.values[key].0.as_float().expect("invariant: types are those of the reference file");
        match (0.0..=1.0).contains(&value) {
            true => Ok(value),
            false => Err(self.refuse(key, format!("{value} is not between 0 and 1"))),
        }
    }

    /// A size in bytes, at least `least`.
    pub fn size(&self, key: &str, least: u64) -> Result<u64, Usage> {
        let bytes = crate::size::parse(self.text(key)).map_err(|message| self.refuse(key, message))?;
        if bytes < least {
            return Err(self.refuse(key, format!("{bytes} bytes is less than the least that works, {least}")));
        }
        Ok(bytes)
    }

    /// `; did you mean …?`, where a known key is near.
    fn suggestion(&self, key: &str) -> String {
        let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
        let near = |known: &&String| distance(&last(known), &last(key));
        match self.values.keys().min_by_key(near) {
            Some(known) if near(&known) <= (last(key).len() / 2).min(3) => format!("; did you mean `{known}`?"),
            _ => "; the reference file config/orrery.toml lists all keys".to_owned(),
        }
    }
}

/// `engine.kv_memory` → `ORRERY_KV_MEMORY`. Training and prediction have limits of the same names as others: `training.file_max` →
/// `ORRERY_TRAINING_FILE_MAX`.
fn variable_of(key: &str) -> String {
    let name = match key.split_once('.') {
        Some((section @ ("training" | "predict"), name)) => format!("{section}_{name}"),
        Some((_, name)) => name.to_owned(),
        None => key.to_owned(),
    };
    format!("ORRERY_{}", name.to_uppercase())
}

fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                out.extend(section.iter().map(|(inner, value)| (format!("{key}.{inner}"), value.clone())));
            }
            value => out.push((key.clone(), value.clone())),
        }
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a decimal number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a table",
    }
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let mut layers = Layers::defaults();
        assert_eq!(layers.source("engine.threads"), &Source::Default);
        layers
            .file(Path::new("a.toml"), "[engine]\nthreads = 3\nkv_memory = 1048576\nqueue_max = 7")
            .expect("good file");
        let variables = |name: &str| (name == "ORRERY_THREADS").then(|| "4".to_owned());
        layers.environment(&variables).expect("good variable");
        assert_eq!(layers.integer("engine.threads", 0, 9), Ok(4));
        layers.flag("--threads", "engine.threads", Some(5)).expect("good flag");
        assert_eq!(layers.integer("engine.threads", 0, 9), Ok(5));
        assert_eq!(layers.size("engine.kv_memory", 0), Ok(1 << 20));
        assert_eq!(layers.integer("engine.queue_max", 0, 9), Ok(7));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        let message = |text| Layers::defaults().file(Path::new("a.toml"), text).expect_err(text).0;
        assert!(
            message("[engine]\nthread = 3").contains("unknown key `engine.thread`; did you mean `engine.threads`?")
        );
        assert!(message("threads = 3").contains("did you mean `engine.threads`?"));
        assert!(message("[zebra]\nstripes = 3").contains("lists all keys"));
        assert!(message("[engine]\nthreads = \"x\"").contains("must be an integer, and is a string"));
        assert!(message("[engine\n").contains("is not a TOML file"));
        assert!(message("[engine.threads]\nx = 1").contains("must be an integer, and is a table"));
    }

    #[test]
    fn variables_of_other_tools_give_way_to_our_own() {
        let variables = |name: &str| match name {
            "HF_ENDPOINT" => Some("http://hub".to_owned()),
            "PIP_INDEX_URL" => Some("http://index".to_owned()),
            "ORRERY_PACKAGE_INDEX" => Some("http://own".to_owned()),
            "ORRERY_MODELS" => Some("a, b".to_owned()),
            "ORRERY_PREFIX_CACHE" => Some("false".to_owned()),
            "ORRERY_TRACE_SAMPLE_RATIO" => Some("0.25".to_owned()),
            "ORRERY_LISTEN" => Some(String::new()),
            "ORRERY_SERVICE_HOST" => Some("10.0.0.1".to_owned()),
            _ => None,
        };
        let mut layers = Layers::defaults();
        layers.environment(&variables).expect("good variables");
        assert_eq!(layers.text("download.hub_endpoint"), "http://hub");
        assert_eq!(layers.text("download.package_index"), "http://own");
        assert_eq!(layers.list("models"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(!layers.boolean("engine.prefix_cache"));
        assert_eq!(layers.ratio("telemetry.trace_sample_ratio"), Ok(0.25));
        assert_eq!(layers.source("server.listen"), &Source::Default);
    }

    #[test]
    fn bad_values_name_their_source() {
        let mut layers = Layers::defaults();
        let bad = |name: &str| (name == "ORRERY_QUEUE_MAX").then(|| "lots".to_owned());
        assert_eq!(
            layers.environment(&bad).expect_err("bad").0,
            "environment variable ORRERY_QUEUE_MAX: `lots` is not an integer"
        );
        layers.environment(&none).expect("nothing set");
        layers.flag("--kv-memory", "engine.kv_memory", Some("1G")).expect("a string");
        assert!(layers.size("engine.kv_memory", 0).expect_err("bad unit").0.starts_with("--kv-memory: the size `1G`"));
    }

    #[test]
    fn variables_are_unambiguous() {
        let layers = Layers::defaults();
        let mut names: Vec<String> = layers.values.keys().map(|key| variable_of(key)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("threads", "threads"), 0);
        assert_eq!(distance("thread", "threads"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
