//! What a job tells while it runs, one JSON object a line where it runs in a process of its own.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Values of metrics by their names.
pub type Values = BTreeMap<String, f64>;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A sentence for the reader of the job's log.
    Log {
        /// The sentence.
        message: String,
    },
    /// Steps were made. Not every step is told: about a thousand in a job, and one a second.
    Step {
        /// How many steps are done.
        step: u64,
        /// The epoch that they are in, from 1.
        epoch: u64,
        /// How many steps the job has at the most.
        total: u64,
        /// Mean loss of the examples of the epoch so far.
        loss: f64,
        /// Learning rate of the step.
        learning_rate: f64,
    },
    /// A split was measured.
    Metrics {
        /// `train`, `validation` or `test`.
        split: String,
        /// How many steps were done then.
        step: u64,
        /// What was measured.
        values: Values,
    },
    /// What is learnt up to this step is on the disk.
    Checkpoint {
        /// How many steps were done then.
        step: u64,
    },
    /// A candidate of a search was tried.
    Trial {
        /// Number of the trial, from 1.
        trial: u64,
        /// How many there are.
        total: u64,
        /// The candidate's algorithm.
        algorithm: String,
        /// Its settings.
        hyperparameters: serde_json::Value,
        /// Its share of a whole training, from 0 to 1.
        budget: f64,
        /// Its value of the validation metric; `None` when it failed.
        score: Option<f64>,
    },
    /// The job is at its end.
    Done {
        /// Folder of the artefact.
        artefact: PathBuf,
        /// Metrics by split.
        metrics: BTreeMap<String, Values>,
    },
}

/// What the one who hears an event wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// To go on.
    Continue,
    /// To end: the step is finished and a checkpoint written before.
    Cancel,
}
