//! What a server and its worker say to each other, over the worker's standard input and output.
//!
//! In: one line of JSON ([`Order`]), then the content of each file that it lists, then nothing more. The input stays open: its end
//! asks the worker to stop, and comes by itself when the server dies. Out: a line of JSON for each [`Word`]; the last one is
//! `done`, `failed` or `cancelled`.

use orrery_train::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Only to be written into the model's description.
    pub job: String,
    pub name: String,
    pub spec: Value,
    /// Where checkpoints and the model go; the worker writes nowhere else.
    pub folder: PathBuf,
    pub time_max_s: u64,
    pub memory_max_bytes: u64,
    pub disk_max_bytes: u64,
    /// The training file, then the validation file if there is one.
    pub files: Vec<OrderFile>,
}

/// A file whose content follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFile {
    /// As its owner calls it: the ending tells its format.
    pub name: String,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word {
    /// It goes on.
    Event { event: Event },
    /// The model is in the folder.
    Done,
    /// It cannot be done; to try again would be of no use.
    Failed { code: String, message: String, param: Option<String> },
    /// It stopped because it was asked to; a checkpoint is in the folder.
    Cancelled,
}

/// A line of a worker is at most so long.
pub const LINE_BYTES_MAX: usize = 1 << 20;
