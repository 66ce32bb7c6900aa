//! Weights: the storage formats of model files, and the packed form that the kernels multiply.
//!
//! [`formats`] decodes what files hold, [`pack`] lays it out for the processor. Start at [`Packed`].

pub mod formats;
pub mod half;
pub mod pack;

pub use formats::{Format, dequantize, quantize_q8_0};
pub use pack::{Packed, Source};
