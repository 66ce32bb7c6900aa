//! `orrery.json`: what an artefact is for. docs/artefact.md describes it for those who write one.
//!
//! Fields that are not known are ignored; a known one with a wrong value is an error that names it.

use super::files::is_plain;
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

/// What stands around the model: how an input becomes tensors, and tensors a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pipeline {
    /// For models that take tokens.
    pub text: Option<TextPipeline>,
    /// For models that take pixels.
    pub image: Option<Image>,
    /// For models that find objects.
    pub detection: Option<Detection>,
    /// The outputs are logits: a softmax makes them probabilities.
    pub softmax: bool,
    /// Whether rows of several requests may be computed together. Unset: where that changes no result.
    pub batching: Option<bool>,
}

/// How text becomes tokens, and a token's vectors an embedding.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TextPipeline {
    /// The file with the tokenizer, in Hugging Face's format.
    pub tokenizer: String,
    /// Tokens of one text, special ones included; what is longer is cut.
    pub max_tokens: usize,
    /// How one vector comes of those of all tokens.
    #[serde(default)]
    pub pooling: Pooling,
    /// Embeddings are brought to length 1.
    #[serde(default)]
    pub normalize: bool,
}

/// How one vector comes of those of all tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first one.
    Cls,
    /// The model has done it: its output has a vector for each text.
    None,
}

/// How an image becomes the model's input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Height and width of the model's input.
    pub size: [u32; 2],
    /// How the image comes to that size.
    pub resize: Resize,
    /// `stretch` and `crop`: the image is brought to this size first (both sides; the shorter side), and the middle is cut
    /// out. 0: none, as `size` is.
    pub resize_to: u32,
    /// How pixels between pixels are worked out.
    pub filter: Filter,
    /// When shrinking, the filter takes in all pixels that come to lie in one (as Pillow does, and OpenCV does not).
    pub antialias: bool,
    /// The order of the model's dimensions.
    pub layout: Layout,
    /// The order of colours.
    pub channels: Channels,
    /// A pixel of 0 to 255 is multiplied by this, then `mean` is taken away, then it is divided by `std`.
    pub scale: f32,
    /// By channel, in the order of `channels`. Empty: 0.
    pub mean: Vec<f32>,
    /// By channel, in the order of `channels`. Empty: 1.
    pub std: Vec<f32>,
    /// `letterbox`: the colour of what is beside the image.
    pub fill: u8,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            size: [0, 0],
            resize: Resize::default(),
            resize_to: 0,
            filter: Filter::default(),
            antialias: true,
            layout: Layout::default(),
            channels: Channels::default(),
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            fill: 0,
        }
    }
}

/// How an image comes to the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Both sides, whatever becomes of the proportions.
    #[default]
    Stretch,
    /// The shorter side, and the middle is cut out.
    Crop,
    /// The longer side, in the middle of a field of `fill`.
    Letterbox,
}

/// How pixels between pixels are worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Filter {
    Nearest,
    #[default]
    Bilinear,
    Bicubic,
    Lanczos,
}

/// The order of an image's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

/// The order of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Channels {
    #[default]
    Rgb,
    Bgr,
    Gray,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// How a detector's outputs become boxes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Detection {
    /// The family of models.
    pub decoder: Decoder,
    /// Pixels of the input that one cell stands for, by level.
    #[serde(default)]
    pub strides: Vec<u32>,
    /// The outputs with scores, by level.
    pub scores: Vec<String>,
    /// The outputs with boxes, by level.
    pub boxes: Vec<String>,
    /// Boxes of a lower score are left out.
    #[serde(default = "threshold")]
    pub threshold: f32,
    /// Of two boxes of one label that overlap more (intersection over union), the one with the lower score is left out.
    #[serde(default = "overlap")]
    pub overlap: f32,
    /// Candidates by level, and by label.
    #[serde(default = "candidates_max")]
    pub candidates_max: usize,
    /// Boxes by label.
    #[serde(default = "boxes_max")]
    pub boxes_max: usize,
}

const fn threshold() -> f32 {
    0.5
}

const fn overlap() -> f32 {
    0.5
}

const fn candidates_max() -> usize {
    1000
}

const fn boxes_max() -> usize {
    100
}

/// A family of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// A grid of cells for each stride; each side's distance from the cell's middle is a distribution over whole strides.
    Picodet,
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

const SIDE_MAX: u32 = 8192;

impl Image {
    fn check(&self) -> Result<()> {
        if self.size.iter().any(|side| !(1..=SIDE_MAX).contains(side)) || self.resize_to > SIDE_MAX {
            return Err(bad(&format!("field `pipeline.image.size` needs two numbers of 1 to {SIDE_MAX}")));
        }
        if self.resize_to != 0
            && (self.size.iter().any(|side| *side > self.resize_to) || self.resize == Resize::Letterbox)
        {
            return Err(bad("field `pipeline.image.resize_to` is smaller than `size`, from which the middle is cut"));
        }
        let channels = self.channels.count();
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !values.is_empty() && values.len() != channels {
                return Err(bad(&format!("field `pipeline.image.{name}` needs {channels} numbers")));
            }
        }
        match self.std.contains(&0.0) {
            true => Err(bad("field `pipeline.image.std` holds a 0, by which nothing can be divided")),
            false => Ok(()),
        }
    }
}

impl Detection {
    fn check(&self) -> Result<()> {
        let levels = self.strides.len();
        if levels == 0 || self.scores.len() != levels || self.boxes.len() != levels || self.strides.contains(&0) {
            return Err(bad(
                "field `pipeline.detection` needs as many `scores` and `boxes` as `strides`, none of them 0",
            ));
        }
        match self.candidates_max == 0 || self.boxes_max == 0 {
            true => Err(bad("field `pipeline.detection`: `candidates_max` and `boxes_max` have to be 1 or more")),
            false => Ok(()),
        }
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

fn bad(reason: &str) -> Error {
    Error::BadArtefact(format!("{}: {reason}", super::MANIFEST_NAME))
}
