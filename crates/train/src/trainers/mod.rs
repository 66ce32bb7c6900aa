//! The algorithms: one file and one row of [`TRAINERS`] each.
//!
//! A row reads its settings from the job and makes a [`Trainer`]; that learns from prepared examples and gives a [`Model`],
//! which predicts and writes itself as nodes of an ONNX graph. Neither knows columns, words or files.

pub mod convolution;
pub mod dense;
mod learnt;
mod linear;
mod logistic;
pub mod recurrent;

pub use learnt::LearntModel;

use crate::fit::Run;
use crate::fit::random::Random;
use crate::onnx::{Graph, Value};
use crate::spec::Fields;
use crate::{Dataset, Inputs, Matrix, Result, Task};

/// One algorithm.
#[derive(Debug)]
pub struct Row {
    /// Its name in jobs.
    pub name: &'static str,
    /// What it can be trained for.
    pub tasks: &'static [Task],
    /// Whether it can learn under differential privacy.
    pub private: bool,
    /// Settings to try in a search.
    pub vary: fn(&mut Random) -> serde_json::Value,
    /// Reads its settings; what it does not read is refused by the caller.
    pub read: fn(&mut Fields) -> Result<Box<dyn Trainer>>,
}

/// All algorithms, in the order in which they are listed and tried.
pub const TRAINERS: &[Row] =
    &[linear::ROW, logistic::ROW, dense::ROW, convolution::ROW, recurrent::GRU, recurrent::LSTM];

/// The row of a name.
pub fn of_name(name: &str) -> Option<&'static Row> {
    TRAINERS.iter().find(|row| row.name == name)
}

/// The splits that training sees.
#[derive(Clone, Copy, Debug)]
pub struct Splits<'a> {
    /// What is learnt from.
    pub train: &'a Dataset,
    /// What tells when to stop; never learnt from.
    pub validation: Option<&'a Dataset>,
}

/// An algorithm with its settings.
pub trait Trainer: Send + Sync {
    /// The settings, defaults filled in.
    fn settings(&self) -> serde_json::Value;

    /// About how many bytes learning takes over those of the dataset itself.
    fn bytes(&self, train: &Dataset) -> u64;

    /// Learns. The same seed, data and settings give the same model, bit for bit, also when the run was broken off and
    /// taken up from a checkpoint.
    ///
    /// # Errors
    /// [`crate::Error::BadData`], [`crate::Error::Diverged`], [`crate::Error::LimitReached`], or
    /// [`crate::Error::Cancelled`] when the caller asked for it.
    fn fit(&self, splits: Splits, run: &mut Run) -> Result<Box<dyn Model>>;
}

/// What was learnt.
pub trait Model: Send + Sync {
    /// `[rows][outputs]`: the probability of each class, or the numbers.
    ///
    /// # Errors
    /// [`crate::Error::BadData`] for inputs of another kind or shape than those it learnt from.
    fn predict(&self, inputs: &Inputs) -> Result<Matrix>;

    /// Adds the same computation to `graph`: from `input`, which has the dataset's shape (32-bit floats for matrices and
    /// windows, 64-bit integers for tokens; of pixels the prepared floats `[batch][channels][height][width]`), to 32-bit
    /// floats of [`Model::predict`]'s shape. Of classes these are logits: a softmax makes them probabilities.
    fn export(&self, graph: &mut Graph, input: &Value) -> Value;

    /// What a reader of the model's card may want to know: iterations, coefficients, what privacy was spent.
    fn notes(&self) -> serde_json::Value;
}
