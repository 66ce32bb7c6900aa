//! The storage formats of GGUF and safetensors: sizes, decoding, and quantising to Q8_0.
//!
//! A block decodes to integer codes and to scales such that weight = scale · code + min. Layouts follow the GGML
//! block structures (`ggml-common.h`); values equal the `gguf` Python package bit for bit.

/// A tensor format. The names are GGML's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

/// One decoded block: `Format::block_len()` codes, and one scale and min for each `Format::scale_len()` codes.
pub struct Block {
    pub codes: [i8; 256],
    pub scales: [f32; 16],
    pub mins: [f32; 16],
}
