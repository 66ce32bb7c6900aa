//! The integration tests of `orrery-train`, in one binary.

mod fixture;
mod linear;
mod logistic;
mod networks;
mod onnx;
mod privacy;
mod resume;
mod spec;
