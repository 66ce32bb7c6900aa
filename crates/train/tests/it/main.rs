//! The integration tests of `orrery-train`, in one binary.

mod metrics;
mod onnx;
mod prepare;
