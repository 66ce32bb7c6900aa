//! The integration tests of `orrery-train`, in one binary.

mod data;
mod exports;
mod fixture;
mod job;
mod linear;
mod logistic;
mod metrics;
mod networks;
mod onnx;
mod prepare;
mod privacy;
mod report;
mod resume;
mod spec;
