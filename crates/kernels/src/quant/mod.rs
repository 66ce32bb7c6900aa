//! Weights: the storage formats of model files, and the packed form that the kernels multiply.
//!
//! [`formats`] names and measures what files hold, [`decode`] reads it, [`pack`] lays it out for the processor. Start
//! at [`Packed`].

pub mod decode;
pub mod formats;
pub mod half;
pub mod pack;

pub use decode::{Block, decode_block, dequantize, quantize_q8_0};
pub use formats::Format;
pub use pack::{Packed, Source};
