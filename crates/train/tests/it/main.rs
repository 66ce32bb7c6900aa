//! The integration tests of `orrery-train`, in one binary.

mod data;
mod metrics;
mod onnx;
mod prepare;
mod report;
