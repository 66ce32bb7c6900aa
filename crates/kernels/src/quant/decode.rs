//! Reading and writing blocks: integer codes with scales and minima, float32 values, and quantising to Q8_0.
//!
//! Values equal the `gguf` Python package's bit for bit (fixtures/quant). Start at [`decode_block`].

use super::Format;
use super::half::{bf16_to_f32, f16_to_f32, f32_to_f16};
use crate::Error;

/// One decoded block: weight i = `scales[g] · codes[i] + mins[g]` with g = i / `Format::scale_len()`, the product
/// rounded to float32 before the sum.
///
/// `Format::block_len()` codes and as many scales and mins as groups are set; the rest is left over from before.
/// Formats without minima have −0 there, which changes no sum (+0 would turn a product of −0 into +0).
#[derive(Debug, Clone)]
pub struct Block {
    pub codes: [i8; 256],
    pub scales: [f32; 16],
    pub mins: [f32; 16],
}

impl Default for Block {
    fn default() -> Self {
        Self { codes: [0; 256], scales: [0.0; 16], mins: [-0.0; 16] }
    }
}

/// The sixteen values that a code of IQ4_NL and IQ4_XS chooses from (`kvalues_iq4nl` of `ggml-common.h`).
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Decodes the block that `bytes` begins with. A float counts as a block of one weight: code 1, the value as scale.
///
/// # Panics
/// When `bytes` is shorter than `format.block_bytes()`; callers check lengths with [`Format::bytes`].
pub fn decode_block(format: Format, bytes: &[u8], block: &mut Block) {
    let bytes = &bytes[..format.block_bytes()];
    if !format.has_min() {
        block.mins = [-0.0; 16];
    }
    match format {
        Format::F32 => one_value(block, f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        Format::F16 => one_value(block, half(bytes, 0)),
        Format::BF16 => one_value(block, bf16_to_f32(u16_at(bytes, 0))),
        Format::Q4_0 => q4_0(bytes, block),
        Format::Q4_1 => q4_1(bytes, block),
        Format::Q5_0 => q5_0(bytes, block),
        Format::Q5_1 => q5_1(bytes, block),
        Format::Q8_0 => q8_0(bytes, block),
        Format::Q2_K => q2_k(bytes, block),
        Format::Q3_K => q3_k(bytes, block),
        Format::Q4_K => q4_k(bytes, block),
        Format::Q5_K => q5_k(bytes, block),
        Format::Q6_K => q6_k(bytes, block),
        Format::IQ4_NL => iq4_nl(bytes, block),
        Format::IQ4_XS => iq4_xs(bytes, block),
    }
}

/// The weights of `bytes` as float32. `out` has as many places as `bytes` has weights, in whole blocks.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check_lengths(format, out.len(), bytes.len())?;
    match format {
        Format::F32 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        Format::F16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16_to_f32(u16::from_le_bytes(*raw));
            }
        }
        Format::BF16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16_to_f32(u16::from_le_bytes(*raw));
            }
        }
        _ => dequantize_blocks(format, bytes, out),
    }
    Ok(())
}

fn dequantize_blocks(format: Format, bytes: &[u8], out: &mut [f32]) {
    let mut block = Block::default();
    for (raw, values) in bytes.chunks_exact(format.block_bytes()).zip(out.chunks_exact_mut(format.block_len())) {
        decode_block(format, raw, &mut block);
        let codes = block.codes.chunks_exact(format.scale_len());
        for (group, (values, codes)) in values.chunks_exact_mut(format.scale_len()).zip(codes).enumerate() {
            for (value, code) in values.iter_mut().zip(codes) {
                *value = block.scales[group] * f32::from(*code) + block.mins[group];
            }
        }
    }
}

/// Quantises to Q8_0 as `ggml-quants.c` does: d = max|x| / 127, codes round(x · (1/d)) with halves away from zero, d
/// stored as binary16. `values` are whole blocks of 32, and `out` has `Format::Q8_0.bytes(values.len())` bytes.
///
/// Finite values give finite weights up to |x| = 127 · 65504; a NaN or an infinity spoils its block's scale.
pub fn quantize_q8_0(values: &[f32], out: &mut [u8]) -> Result<(), Error> {
    check_lengths(Format::Q8_0, values.len(), out.len())?;
    let blocks = out.chunks_exact_mut(Format::Q8_0.block_bytes());
    for (values, block) in values.chunks_exact(Format::Q8_0.block_len()).zip(blocks) {
        let largest = values.iter().fold(0.0_f32, |max, value| if max >= value.abs() { max } else { value.abs() });
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        block[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
        for (code, value) in block[2..].iter_mut().zip(values) {
            *code = (value * inverse).round() as i8 as u8;
        }
    }
    Ok(())
}

fn check_lengths(format: Format, elements: usize, bytes: usize) -> Result<(), Error> {
    if !elements.is_multiple_of(format.block_len()) {
        return Err(Error::Ragged { inputs: elements, block: format.block_len(), format: format.name() });
    }
    let want = format.bytes(elements);
    if bytes != want {
        return Err(Error::Length { what: format.name(), got: bytes, want });
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32(u16_at(bytes, at))
}

fn one_value(block: &mut Block, value: f32) {
    block.codes[0] = 1;
    block.scales[0] = value;
}

/// The two nibbles of each byte: the low ones first, then the high ones.
fn nibbles(packed: &[u8], codes: &mut [i8], code: impl Fn(u8) -> i8) {
    let (low, high) = codes.split_at_mut(packed.len());
    for ((byte, low), high) in packed.iter().zip(low).zip(high) {
        *low = code(byte & 15);
        *high = code(byte >> 4);
    }
}

/// [d: f16][16 × nibble pair]
fn q4_0(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    nibbles(&bytes[2..], &mut block.codes[..32], |nibble| nibble as i8 - 8);
}

/// [d: f16][m: f16][16 × nibble pair]
fn q4_1(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    block.mins[0] = half(bytes, 2);
    nibbles(&bytes[4..], &mut block.codes[..32], |nibble| nibble as i8);
}

/// Low four bits from nibbles, the fifth of code i from bit i of `high`.
fn five_bits(high: &[u8], low: &[u8], codes: &mut [i8]) {
    nibbles(low, codes, |nibble| nibble as i8);
    for (index, code) in codes.iter_mut().enumerate() {
        *code |= (((high[index / 8] >> (index % 8)) & 1) << 4) as i8;
    }
}

/// [d: f16][qh: 32 × bit][16 × nibble pair]
fn q5_0(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    five_bits(&bytes[2..6], &bytes[6..], &mut block.codes[..32]);
    block.codes[..32].iter_mut().for_each(|code| *code -= 16);
}

/// [d: f16][m: f16][qh: 32 × bit][16 × nibble pair]
fn q5_1(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    block.mins[0] = half(bytes, 2);
    five_bits(&bytes[4..8], &bytes[8..], &mut block.codes[..32]);
}

/// [d: f16][32 × i8]
fn q8_0(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    for (code, byte) in block.codes.iter_mut().zip(&bytes[2..]) {
        *code = *byte as i8;
    }
}

/// 256 two-bit codes from 64 bytes: each half of 32 bytes holds four rows of 32 codes, at bits 0, 2, 4 and 6.
fn two_bits(packed: &[u8], codes: &mut [i8; 256]) {
    for (index, code) in codes.iter_mut().enumerate() {
        let (half, shift, at) = (index / 128, index / 32 % 4 * 2, index % 32);
        *code = ((packed[half * 32 + at] >> shift) & 3) as i8;
    }
}

/// [scales: 16 × (scale nibble | min nibble)][64 × four codes][d: f16][dmin: f16]
fn q2_k(bytes: &[u8], block: &mut Block) {
    let (d, d_min) = (half(bytes, 80), half(bytes, 82));
    for (group, byte) in bytes[..16].iter().enumerate() {
        block.scales[group] = d * f32::from(byte & 15);
        block.mins[group] = -(d_min * f32::from(byte >> 4));
    }
    two_bits(&bytes[16..80], &mut block.codes);
}

/// [hmask: 32 × eight bits][64 × two low bits of four codes][scales: 16 × 6 bits][d: f16]
///
/// A clear bit in the mask subtracts 4: bit b of byte j belongs to code 32·b + j. Scale s has its low nibble in byte
/// s % 8 (low for s < 8) and its upper two bits in byte 8 + s % 4, at 2·(s / 4).
fn q3_k(bytes: &[u8], block: &mut Block) {
    let scales = &bytes[96..108];
    let d = half(bytes, 108);
    for group in 0..16 {
        let low = (scales[group % 8] >> (group / 8 * 4)) & 15;
        let high = (scales[8 + group % 4] >> (group / 4 * 2)) & 3;
        block.scales[group] = d * f32::from((low | high << 4) as i8 - 32);
    }
    two_bits(&bytes[32..96], &mut block.codes);
    for (index, code) in block.codes.iter_mut().enumerate() {
        if (bytes[index % 32] >> (index / 32)) & 1 == 0 {
            *code -= 4;
        }
    }
}

/// The eight six-bit scales and minima that Q4_K and Q5_K pack into twelve bytes, after [d: f16][dmin: f16].
fn k_scales(bytes: &[u8], block: &mut Block) {
    let (d, d_min) = (half(bytes, 0), half(bytes, 2));
    let packed = &bytes[4..16];
    for group in 0..8 {
        let (scale, min) = match group {
            0..4 => (packed[group] & 63, packed[group + 4] & 63),
            _ => (
                (packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4),
                (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4),
            ),
        };
        block.scales[group] = d * f32::from(scale);
        block.mins[group] = -(d_min * f32::from(min));
    }
}

/// 256 nibbles from 128 bytes: every 32 bytes hold 64 codes, the low nibbles first.
fn k_nibbles(packed: &[u8], codes: &mut [i8; 256]) {
    for (packed, codes) in packed.chunks_exact(32).zip(codes.chunks_exact_mut(64)) {
        nibbles(packed, codes, |nibble| nibble as i8);
    }
}

/// [d: f16][dmin: f16][12 bytes of scales][128 × nibble pair]
fn q4_k(bytes: &[u8], block: &mut Block) {
    k_scales(bytes, block);
    k_nibbles(&bytes[16..], &mut block.codes);
}

/// [d: f16][dmin: f16][12 bytes of scales][qh: 32 × eight bits][128 × nibble pair]; bit b of qh's byte j is the fifth
/// bit of code 32·b + j.
fn q5_k(bytes: &[u8], block: &mut Block) {
    k_scales(bytes, block);
    k_nibbles(&bytes[48..], &mut block.codes);
    let high = &bytes[16..48];
    for (index, code) in block.codes.iter_mut().enumerate() {
        *code |= (((high[index % 32] >> (index / 32)) & 1) << 4) as i8;
    }
}

/// [ql: 128 × nibble pair][qh: 64 × four pairs of bits][scales: 16 × i8][d: f16]
///
/// Each half of 64 bytes of ql holds 128 codes: 64 low nibbles, then 64 high ones. Each half of 32 bytes of qh holds
/// the upper bits of 128 codes, as `two_bits` reads them.
fn q6_k(bytes: &[u8], block: &mut Block) {
    let d = half(bytes, 208);
    for (group, scale) in bytes[192..208].iter().enumerate() {
        block.scales[group] = d * f32::from(*scale as i8);
    }
    two_bits(&bytes[128..192], &mut block.codes);
    for (index, code) in block.codes.iter_mut().enumerate() {
        let (half, shift, at) = (index / 128, index / 64 % 2 * 4, index % 64);
        let low = (bytes[half * 64 + at] >> shift) & 15;
        *code = (low as i8 | *code << 4) - 32;
    }
}

/// [d: f16][16 × nibble pair], the nibbles indices into [`IQ4_VALUES`]
fn iq4_nl(bytes: &[u8], block: &mut Block) {
    block.scales[0] = half(bytes, 0);
    nibbles(&bytes[2..], &mut block.codes[..32], |nibble| IQ4_VALUES[usize::from(nibble)]);
}

/// [d: f16][scales_h: 8 × 2 bits][scales_l: 8 × nibble][128 × nibble pair], 32 codes to 16 bytes
fn iq4_xs(bytes: &[u8], block: &mut Block) {
    let d = half(bytes, 0);
    let high = u16_at(bytes, 2);
    for group in 0..8 {
        let low = (bytes[4 + group / 2] >> (group % 2 * 4)) & 15;
        let scale = low | (((high >> (2 * group)) & 3) as u8) << 4;
        block.scales[group] = d * f32::from(scale as i8 - 32);
    }
    for (packed, codes) in bytes[8..].chunks_exact(16).zip(block.codes.chunks_exact_mut(32)) {
        nibbles(packed, codes, |nibble| IQ4_VALUES[usize::from(nibble)]);
    }
}
