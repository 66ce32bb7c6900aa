//! The integration tests of `orrery-train`, in one binary.

mod fixture;
mod linear;
mod onnx;
mod spec;
