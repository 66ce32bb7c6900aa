//! `orrery-train`: from a file of rows to an ONNX model that takes raw rows.
//!
//! It owns datasets, their preparation, the trainers, metrics, checkpoints and the export. It knows no tenant, no HTTP and
//! no database, and has no async: one job is one call that runs to its end.
//!
//! Start at `dataset.rs`: everything before it makes a [`Dataset`], everything after it learns from one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod artefact;
pub mod checkpoint;
pub mod data;
mod dataset;
mod error;
mod event;
pub mod fit;
pub mod job;
pub mod metrics;
pub mod onnx;
pub mod prepare;
pub mod privacy;
pub mod report;
pub mod search;
mod spec;
mod task;
pub mod trainers;

pub use dataset::{Dataset, Inputs, Matrix, Pixels, Target, Tokens, Windows};
pub use error::{Error, Result};
pub use event::{Control, Event, Values};
pub use spec::{Algorithm, PrivacySpec, Spec};
pub use task::Task;
