//! `orrery.json`: what an artefact is for. docs/artefact.md describes it for those who write one.
//!
//! Fields that are not known are ignored; a known one with a wrong value is an error that names it.

use super::files::is_plain;
use super::pipeline::Pipeline;
use crate::error::{Error, Result, shown};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The version of the format that is written and read.
const FORMAT: u64 = 1;
const FILES_MAX: usize = 64;
const LABELS_MAX: usize = 1_000_000;

/// What a model is for, by the names of the Hugging Face hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Task {
    TabularClassification,
    TabularRegression,
    TimeSeriesForecasting,
    TextClassification,
    FeatureExtraction,
    SentenceSimilarity,
    ImageClassification,
    ObjectDetection,
    /// No pipeline: tensors in, tensors out.
    Other,
}

/// What one input means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum InputKind {
    Number,
    Category,
    Text,
    Date,
    Image,
    Series,
    Tokens,
}

/// One input of the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InputSpec {
    /// Its name in the model; for tables, the column's.
    pub name: String,
    /// What it means.
    pub kind: InputKind,
    /// Of a category: the values that the model was trained on.
    #[serde(default)]
    pub values: Vec<String>,
    /// Its dimensions, where they say more than the model does.
    #[serde(default)]
    pub shape: Vec<i64>,
}

/// `orrery.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// What it is for.
    pub task: Task,
    /// The file with the model.
    pub model: String,
    /// File name → sha256. No other file is read.
    pub files: BTreeMap<String, String>,
    /// Its inputs.
    pub inputs: Vec<InputSpec>,
    /// What an output is → its name in the model.
    pub outputs: BTreeMap<String, String>,
    /// The labels, in the order of probabilities.
    pub labels: Vec<String>,
    /// What stands around the model.
    pub pipeline: Pipeline,
    /// Figures by split, as training wrote them.
    pub metrics: Value,
    /// What it was trained on.
    pub data: Value,
    /// How it was trained.
    pub training: Value,
    /// The model's card.
    pub card: Value,
}

impl Manifest {
    /// # Errors
    /// [`Error::BadArtefact`] names the field.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let mut fields: Map<String, Value> = serde_json::from_slice(json).map_err(|error| bad(&error.to_string()))?;
        let format: u64 = required(&mut fields, "format")?;
        if format != FORMAT {
            return Err(bad(&format!("field `format` is {format}; this version reads {FORMAT}")));
        }
        let manifest = Self {
            name: required(&mut fields, "name")?,
            task: required(&mut fields, "task")?,
            model: required(&mut fields, "model")?,
            files: required(&mut fields, "files")?,
            inputs: list(&mut fields, "inputs")?,
            outputs: optional(&mut fields, "outputs")?,
            labels: optional(&mut fields, "labels")?,
            pipeline: pipeline(&mut fields)?,
            metrics: optional(&mut fields, "metrics")?,
            data: optional(&mut fields, "data")?,
            training: optional(&mut fields, "training")?,
            card: optional(&mut fields, "card")?,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        if self.files.is_empty() || self.files.len() > FILES_MAX {
            return Err(bad(&format!("field `files` has {} entries; 1 to {FILES_MAX} are read", self.files.len())));
        }
        for (name, sha256) in &self.files {
            if !is_plain(name) || name == super::MANIFEST_NAME {
                let name = shown(name);
                return Err(bad(&format!("field `files`: `{name}` is not a plain name of a file beside it")));
            }
            if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad(&format!("field `files`: the sha256 of `{name}` is not 64 hexadecimal digits")));
            }
        }
        if self.labels.len() > LABELS_MAX {
            return Err(bad(&format!("field `labels` has {} entries; at most {LABELS_MAX}", self.labels.len())));
        }
        if let Some(image) = &self.pipeline.image {
            image.check()?;
        }
        if let Some(detection) = &self.pipeline.detection {
            detection.check()?;
        }
        match &self.pipeline.text {
            Some(text) if text.max_tokens == 0 => Err(bad("field `pipeline.text.max_tokens` is 0; set 1 or more")),
            _ => Ok(()),
        }
    }

    /// The name of the output that is `role`; the role's own name where none is given.
    #[must_use]
    pub fn output<'a>(&'a self, role: &'a str) -> &'a str {
        self.outputs.get(role).map_or(role, |name| name)
    }
}

fn pipeline(fields: &mut Map<String, Value>) -> Result<Pipeline> {
    let mut inner: Map<String, Value> = optional(fields, "pipeline")?;
    let within = |error: Error| match error {
        Error::BadArtefact(message) => Error::BadArtefact(message.replacen("field `", "field `pipeline.", 1)),
        other => other,
    };
    let mut read = || -> Result<Pipeline> {
        Ok(Pipeline {
            text: optional(&mut inner, "text")?,
            image: optional(&mut inner, "image")?,
            detection: optional(&mut inner, "detection")?,
            softmax: optional(&mut inner, "softmax")?,
            batching: optional(&mut inner, "batching")?,
        })
    };
    read().map_err(within)
}

fn required<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<T> {
    let value = fields.remove(name).ok_or_else(|| bad(&format!("field `{name}` is missing")))?;
    typed(value, name)
}

fn optional<T: DeserializeOwned + Default>(fields: &mut Map<String, Value>, name: &str) -> Result<T> {
    fields.remove(name).filter(|value| !value.is_null()).map_or_else(|| Ok(T::default()), |value| typed(value, name))
}

fn list<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<T>> {
    let values: Vec<Value> = optional(fields, name)?;
    values.into_iter().enumerate().map(|(index, value)| typed(value, &format!("{name}[{index}]"))).collect()
}

fn typed<T: DeserializeOwned>(value: Value, name: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|error| bad(&format!("field `{name}`: {error}")))
}

pub(super) fn bad(reason: &str) -> Error {
    Error::BadArtefact(format!("{}: {reason}", super::MANIFEST_NAME))
}
