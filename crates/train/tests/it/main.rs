//! The integration tests of `orrery-train`, in one binary.

mod fixture;
mod linear;
mod metrics;
mod onnx;
mod prepare;
mod spec;
