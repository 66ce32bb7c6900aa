//! `orrery-train`: from a file of rows to an ONNX model that takes raw rows.
//!
//! It owns datasets, their preparation, the trainers, metrics, checkpoints and the export. It knows no tenant, no HTTP and
//! no database, and has no async: one job is one call that runs to its end.
//!
//! Start at `dataset.rs`: everything before it makes a [`Dataset`], everything after it learns from one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod data;
mod dataset;
mod error;
pub mod metrics;
pub mod onnx;
pub mod prepare;
pub mod report;
mod task;

pub use dataset::{Dataset, Inputs, Matrix, Pixels, Target, Tokens, Windows};
pub use error::{Error, Result};
pub use task::Task;
