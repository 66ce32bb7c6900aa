//! The integration tests of `orrery-train`, in one binary.

mod onnx;
