//! `orrery-predict`: models in ONNX's format: sessions of ONNX Runtime, dynamic batching, task pipelines.
//!
//! It knows no caller, no wire format and no place where models come from: it is given a folder and the path of ONNX
//! Runtime's library. Compute runs on threads of its own; async callers wait on channels.
//!
//! Start at `artefact/mod.rs` for what a model is, at `model.rs` for how one is run, at `shelf.rs` for many of them, and at
//! `tasks/mod.rs` for pipelines.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod artefact;
mod batching;
mod error;
mod model;
mod runner;
mod runtime;
mod session;
mod settings;
mod shelf;
mod signature;
mod tasks;
mod tensor;
mod watch;
mod workers;

pub use artefact::{
    Artefact, Channels, Decoder, Detection, Filter, Image, InputKind, InputSpec, Layout, MANIFEST_NAME, Manifest,
    Pipeline, Pooling, Resize, Task, TextPipeline,
};
pub use batching::{BatchStatistics, Pending, Spent, Statistics};
pub use error::{Error, Result};
pub use model::{Model, Request};
pub use runner::Runner;
pub use runtime::Runtime;
pub use settings::{ImageLimits, Settings, ShelfSettings};
pub use shelf::{Listing, Shelf};
pub use signature::{Port, Signature};
pub use tasks::{Answer, Cell, Class, Column, Input, Object, Table};
pub use tensor::{Data, DataType, Tensor};
pub use workers::Workers;
