//! Task pipelines: what a user sends becomes tensors, and a model's tensors what the user gets.
//!
//! One file and one row of [`TASKS`] each. A pipeline computes nothing itself: it gives a [`Plan`], whose runs go through
//! the model's queue like any other request. Inputs and answers are plain types; how they look on a wire is not known here.

mod classes;
mod detect;
mod embed;
mod pixels;
mod resample;
mod series;
mod similarity;
mod table;
mod text;
mod tokens;
mod vision;

pub use table::{Cell, Column, Table};

use crate::artefact::{Artefact, Manifest, Task};
use crate::error::{Error, Result};
use crate::model::Request;
use crate::settings::Settings;
use crate::signature::Signature;
use crate::tensor::{Data, Tensor};
use std::sync::Arc;

/// What a task takes.
#[derive(Debug, Clone)]
pub enum Input {
    /// Rows with named columns: tabular-classification, tabular-regression.
    Table(Table),
    /// The last values of each series, oldest first: time-series-forecasting.
    Series(Vec<Vec<f32>>),
    /// text-classification, feature-extraction.
    Texts(Vec<String>),
    /// sentence-similarity.
    Comparison {
        /// The one that the others are compared with.
        source: String,
        /// The others.
        sentences: Vec<String>,
    },
    /// Compressed images (PNG, JPEG, GIF, WebP, BMP): image-classification, object-detection.
    Images(Vec<Vec<u8>>),
}

impl Input {
    const fn name(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Series(_) => "series of numbers",
            Self::Texts(_) => "texts",
            Self::Comparison { .. } => "a sentence and others to compare it with",
            Self::Images(_) => "images",
        }
    }
}

/// What a task gives: one entry for each item of the input, in its order.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// All labels with their probabilities, the most probable first.
    Classes(Vec<Vec<Class>>),
    /// tabular-regression.
    Numbers(Vec<f64>),
    /// The values that follow each series.
    Forecasts(Vec<Vec<f32>>),
    /// feature-extraction.
    Embeddings {
        /// One for each text.
        vectors: Vec<Vec<f32>>,
        /// Tokens that were computed, special ones included.
        tokens: usize,
    },
    /// Cosines, −1 to 1.
    Similarities {
        /// One for each sentence.
        scores: Vec<f32>,
        /// Tokens that were computed, special ones included.
        tokens: usize,
    },
    /// The objects on each image, the surest first.
    Objects(Vec<Vec<Object>>),
}

/// A label and its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// One of the model's labels.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
}

/// Something that was found on an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// One of the model's labels.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the image as it was sent.
    pub bounds: [f32; 4],
}

/// What is to be computed, and how its results become the answer. `finish` gets one list of outputs for each run.
pub(crate) struct Plan {
    pub runs: Vec<Request>,
    pub finish: Finish,
}

pub(crate) type Finish = Box<dyn FnOnce(Vec<Vec<Tensor>>) -> Result<Answer> + Send>;

/// A task as one model does it. Slow (images are decoded, texts tokenised), and so not for async workers.
pub(crate) trait Pipeline: Send + Sync {
    /// # Errors
    /// [`Error::BadInput`] names the item at fault.
    fn plan(&self, input: Input) -> Result<Plan>;
}

/// What a pipeline is made from.
pub(crate) struct Parts<'a> {
    pub artefact: &'a Artefact,
    pub manifest: &'a Manifest,
    pub signature: &'a Signature,
    pub settings: &'a Settings,
}

type Make = fn(&Parts<'_>) -> Result<Arc<dyn Pipeline>>;

const TASKS: &[(Task, Make)] = &[
    (Task::TabularClassification, table::classification),
    (Task::TabularRegression, table::regression),
    (Task::TimeSeriesForecasting, series::forecasting),
    (Task::TextClassification, text::classification),
    (Task::FeatureExtraction, embed::extraction),
    (Task::SentenceSimilarity, similarity::similarity),
    (Task::ImageClassification, vision::classification),
    (Task::ObjectDetection, detect::detection),
];

/// The pipeline of the artefact's task; `None` where it has none.
pub(crate) fn pipeline(
    artefact: &Artefact,
    signature: &Signature,
    settings: &Settings,
) -> Result<Option<Arc<dyn Pipeline>>> {
    let manifest = artefact.manifest();
    let parts = Parts { artefact, manifest, signature, settings };
    let row = TASKS.iter().find(|(task, _)| *task == manifest.task);
    row.map(|(_, make)| make(&parts)).transpose()
}

impl Parts<'_> {
    /// The name of the output that is `role`, which has to be one of the model's.
    fn output(&self, role: &str) -> Result<String> {
        let name = self.manifest.output(role);
        let exists = self.signature.outputs.iter().any(|port| port.name == name);
        let missing = || {
            let reason = format!("the model has no output `{name}`, which its task needs; name it in `outputs.{role}`");
            Error::BadArtefact(reason)
        };
        exists.then(|| name.to_owned()).ok_or_else(missing)
    }

    /// The model's one input.
    fn only_input(&self) -> Result<String> {
        match self.signature.inputs.as_slice() {
            [port] => Ok(port.name.clone()),
            ports => Err(Error::BadArtefact(format!("its task needs a model with one input; it has {}", ports.len()))),
        }
    }
}

fn wrong_kind(wanted: &str, given: &Input) -> Error {
    Error::bad_input("inputs", format!("this model takes {wanted}, not {}", given.name()))
}

fn check_count(count: usize, settings_max: usize) -> Result<()> {
    if count > settings_max {
        let reason = format!("there are {count} items; at most {settings_max} are taken at once (`items_max`)");
        return Err(Error::bad_input("inputs", reason));
    }
    Ok(())
}

/// The numbers of the output `name` of a run, whatever their type. An output of another shape than it is taken for is the
/// model's fault.
fn numbers(outputs: &[Tensor], name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
    let tensor = outputs.iter().find(|tensor| tensor.name() == name).ok_or_else(|| odd(name, "is missing"))?;
    let values = match tensor.data() {
        Data::Fp32(values) => values.clone(),
        Data::Fp16(values) => values.iter().map(|value| value.to_f32()).collect(),
        #[expect(clippy::cast_possible_truncation, reason = "answers are single precision")]
        Data::Fp64(values) => values.iter().map(|value| *value as f32).collect(),
        _ => return Err(odd(name, &format!("has the type {}, which is not of numbers", tensor.dtype()))),
    };
    Ok((tensor.shape().to_vec(), values))
}

fn odd(name: &str, reason: &str) -> Error {
    Error::Run(format!("its output `{name}` {reason}"))
}
