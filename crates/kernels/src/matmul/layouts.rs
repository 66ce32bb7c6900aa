//! How each packed layout turns into lanes: a code pair per step, scales per block. The code layout is chosen at compile
//! time, so that the inner loops hold no branch; scales are read once a block.

use crate::quant::pack::{Codes, IQ4_VALUES, Scales};
use crate::simd::{LANES, Simd};

/// A code layout (see `quant::pack`).
pub(super) trait Layout {
    const BLOCK_BYTES: usize;
    /// Codes at inputs 2·p and 2·p + 1 of a block for p = 4·quad + PHASE, sixteen outputs each. PHASE is 0 … 3.
    fn pair<S: Simd, const PHASE: usize>(simd: S, block: &[u8], quad: usize) -> (S::F, S::F);
}

pub(super) struct UnsignedNibbles;
pub(super) struct SignedNibbles;
pub(super) struct TableNibbles;
pub(super) struct Bytes;
pub(super) struct Floats;

const IQ4_TABLE: [f32; 16] = {
    let mut table = [0.0; 16];
    let mut index = 0;
    while index < 16 {
        table[index] = IQ4_VALUES[index] as f32;
        index += 1;
    }
    table
};

/// Line `line` of a block as sixteen 32-bit lanes.
#[inline(always)]
fn line<S: Simd>(simd: S, block: &[u8], line: usize) -> S::I {
    let bytes: &[u8; 64] = block[line * 64..line * 64 + 64].try_into().expect("invariant: 64 bytes");
    // SAFETY: blocks start at multiples of 64 bytes in 64-byte aligned memory, so the line is aligned for u32, and any
    // bytes are valid u32.
    let words = unsafe { &*bytes.as_ptr().cast::<[u32; LANES]>() };
    debug_assert!(bytes.as_ptr().cast::<u32>().is_aligned());
    simd.load_bits(words)
}

macro_rules! nibble_layout {
    ($name:ident, $method:ident $(, $table:expr)?) => {
        impl Layout for $name {
            const BLOCK_BYTES: usize = 256;

            #[inline(always)]
            fn pair<S: Simd, const PHASE: usize>(simd: S, block: &[u8], quad: usize) -> (S::F, S::F) {
                let bits = line(simd, block, quad);
                match PHASE {
                    0 => (simd.$method::<0>(bits $(, $table)?), simd.$method::<16>(bits $(, $table)?)),
                    1 => (simd.$method::<4>(bits $(, $table)?), simd.$method::<20>(bits $(, $table)?)),
                    2 => (simd.$method::<8>(bits $(, $table)?), simd.$method::<24>(bits $(, $table)?)),
                    _ => (simd.$method::<12>(bits $(, $table)?), simd.$method::<28>(bits $(, $table)?)),
                }
            }
        }
    };
}

nibble_layout!(UnsignedNibbles, nibble_unsigned);
nibble_layout!(SignedNibbles, nibble_signed);
nibble_layout!(TableNibbles, nibble_table, &IQ4_TABLE);

impl Layout for Bytes {
    const BLOCK_BYTES: usize = 512;

    #[inline(always)]
    fn pair<S: Simd, const PHASE: usize>(simd: S, block: &[u8], quad: usize) -> (S::F, S::F) {
        let at = (quad * 4 + PHASE) * 32;
        let bytes: &[u8; 32] = block[at..at + 32].try_into().expect("invariant: 32 bytes");
        // SAFETY: i8 and u8 have the same layout.
        let codes = unsafe { &*bytes.as_ptr().cast::<[[i8; LANES]; 2]>() };
        (simd.load_i8(&codes[0]), simd.load_i8(&codes[1]))
    }
}

impl Layout for Floats {
    const BLOCK_BYTES: usize = 1024;

    #[inline(always)]
    fn pair<S: Simd, const PHASE: usize>(simd: S, block: &[u8], quad: usize) -> (S::F, S::F) {
        let bits = line(simd, block, quad * 4 + PHASE);
        (simd.low_bf16(bits), simd.high_bf16(bits))
    }
}

/// Number row `row` of a scale block, sixteen outputs (scales and minima alternate where there are minima).
#[inline(always)]
pub(super) fn numbers<S: Simd>(simd: S, scales: Scales, block: &[u8], row: usize) -> S::F {
    if scales.half {
        let bytes: &[u8; 32] = block[row * 32..row * 32 + 32].try_into().expect("invariant: 32 bytes");
        debug_assert!(bytes.as_ptr().cast::<u16>().is_aligned());
        // SAFETY: scale blocks are multiples of 32 bytes in 64-byte aligned memory; any bytes are valid u16.
        simd.load_f16(unsafe { &*bytes.as_ptr().cast::<[u16; LANES]>() })
    } else {
        let bytes: &[u8; 64] = block[row * 64..row * 64 + 64].try_into().expect("invariant: 64 bytes");
        debug_assert!(bytes.as_ptr().cast::<f32>().is_aligned());
        // SAFETY: scale blocks are multiples of 64 bytes in 64-byte aligned memory; any bytes are valid f32.
        simd.load(unsafe { &*bytes.as_ptr().cast::<[f32; LANES]>() })
    }
}

/// Work that is instantiated for a matrix's code layout.
pub(super) trait ByLayout {
    type Output;
    fn run<L: Layout>(self) -> Self::Output;
}

/// Calls `work` with the layout of `codes`.
#[inline(always)]
pub(super) fn by_layout<W: ByLayout>(codes: Codes, work: W) -> W::Output {
    match codes {
        Codes::Unsigned => work.run::<UnsignedNibbles>(),
        Codes::Signed => work.run::<SignedNibbles>(),
        Codes::Table => work.run::<TableNibbles>(),
        Codes::Byte => work.run::<Bytes>(),
        Codes::Bf16 => work.run::<Floats>(),
    }
}
