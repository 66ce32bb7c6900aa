//! The report of a job: one HTML page with everything in it, to be read offline, in light or dark.
//!
//! It owns how results look, and computes none but the importance of features. Names of columns and classes come from
//! users and are hostile until they are escaped, which [`text::Page`] does for all that it writes. Start at [`Report::html`].

mod chart;
mod importance;
mod sections;
mod text;

use serde::{Deserialize, Serialize};

use crate::Task;
use crate::data::Preview;
use crate::metrics::{Metric, Point, Scores};

pub use importance::{Importance, ImportanceSettings, permutation_importance};

/// All that a page shows. What is empty is left out of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The model's name.
    pub title: String,
    /// What it is for.
    pub task: Task,
    /// What it was chosen by.
    pub metric: Metric,
    /// Algorithm, hyper-parameters, duration and the like, with their values.
    pub summary: Vec<(String, String)>,
    /// What a reader should be warned of.
    pub notes: Vec<String>,
    /// The data.
    pub preview: Option<Preview>,
    /// How good it is, by split.
    pub splits: Vec<SplitScores>,
    /// A forecast's or any other model's baseline, on the last split.
    pub baseline: Option<SplitScores>,
    /// Loss and metrics by step.
    pub curves: Vec<Curves>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// ROC curves of classes, on the last split.
    pub roc: Vec<Line>,
    /// Precision by recall of classes, on the last split.
    pub precision_recall: Vec<Line>,
    /// Truth (x) and prediction (y) in the target's units, on the last split.
    pub predictions: Vec<Point>,
    /// What the model looks at.
    pub importance: Vec<Importance>,
    /// A search's attempts.
    pub trials: Vec<Trial>,
    /// Where the model comes from: digests, versions, seed, jobs.
    pub lineage: Vec<(String, String)>,
}

/// A split with its metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitScores {
    /// `train`, `validation` or `test`.
    pub name: String,
    /// All metrics.
    pub scores: Scores,
}

/// A diagram of lines over steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// What is upwards, such as `loss`.
    pub name: String,
    /// What is to the right, such as `step`.
    pub over: String,
    /// One for each split.
    pub lines: Vec<Line>,
}

/// A line with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// As the legend has it.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// One attempt of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Algorithm and hyper-parameters.
    pub settings: String,
    /// Steps that it was given.
    pub steps: u64,
    /// On the validation split; `None` if it failed.
    pub score: Option<f64>,
    /// Whether it was the one that was taken.
    pub is_chosen: bool,
}

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = text::Page::new(&self.title, self.task.name());
        sections::summary(&mut page, self);
        sections::scores(&mut page, self);
        sections::curves(&mut page, self);
        sections::classes(&mut page, self);
        sections::numbers(&mut page, self);
        sections::importance(&mut page, self);
        sections::trials(&mut page, self);
        sections::data(&mut page, self);
        sections::lineage(&mut page, self);
        page.end()
    }
}
