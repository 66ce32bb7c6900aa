//! The crate's integration tests, one binary. `sample.rs` makes artefacts and fetches ONNX Runtime's library.

mod artefact;
mod batching;
mod sample;
mod session;
mod shelf;
mod tables;
mod texts;
mod vision;
