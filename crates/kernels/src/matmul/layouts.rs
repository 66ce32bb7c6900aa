//! How each packed layout turns into lanes: duos of codes, scales per block. The code layout is chosen at compile
//! time, so that the inner loops hold no branch; scales are read once a block.

use crate::quant::pack::{Codes, IQ4_VALUES, Scales};
use crate::simd::{LANES, Nibbles, Simd};
use std::marker::PhantomData;

/// A code layout (see `quant::pack`).
pub(super) trait Layout {
    const BLOCK_BYTES: usize;
    /// The codes of inputs 8·quad … 8·quad + 7 of a block as duos, [chain][neighbour]: even inputs (0, 2) and (4, 6), odd ones
    /// (1, 3) and (5, 7).
    fn duos<S: Simd>(simd: S, block: &[u8], quad: usize) -> [[S::Duo; 2]; 2];
}

/// Four-bit codes that stand for what `N` says.
pub(super) struct NibbleCodes<N>(PhantomData<N>);
pub(super) struct Bytes;
pub(super) struct Floats;

pub(super) struct Unsigned;
pub(super) struct Signed;
pub(super) struct Table;

const IQ4_TABLE: [f32; 16] = {
    let mut table = [0.0; 16];
    let mut index = 0;
    while index < 16 {
        table[index] = IQ4_VALUES[index] as f32;
        index += 1;
    }
    table
};

/// Codes as bf16, twice; all are exact.
const fn pairs(codes: [f32; 16]) -> [u16; 32] {
    let mut pairs = [0; 32];
    let mut index = 0;
    while index < 32 {
        pairs[index] = (codes[index % 16].to_bits() >> 16) as u16;
        index += 1;
    }
    pairs
}

impl Nibbles for Unsigned {
    const PAIRS: [u16; 32] = pairs([0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]);

    #[inline(always)]
    fn lanes<S: Simd, const SHIFT: u32>(simd: S, bits: S::I) -> S::F {
        simd.nibble_unsigned::<SHIFT>(bits)
    }
}

impl Nibbles for Signed {
    const PAIRS: [u16; 32] = pairs([0., 1., 2., 3., 4., 5., 6., 7., -8., -7., -6., -5., -4., -3., -2., -1.]);

    #[inline(always)]
    fn lanes<S: Simd, const SHIFT: u32>(simd: S, bits: S::I) -> S::F {
        simd.nibble_signed::<SHIFT>(bits)
    }
}

impl Nibbles for Table {
    const PAIRS: [u16; 32] = pairs(IQ4_TABLE);

    #[inline(always)]
    fn lanes<S: Simd, const SHIFT: u32>(simd: S, bits: S::I) -> S::F {
        simd.nibble_table::<SHIFT>(bits, &IQ4_TABLE)
    }
}

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

impl<N: Nibbles> Layout for NibbleCodes<N> {
    const BLOCK_BYTES: usize = 256;

    #[inline(always)]
    fn duos<S: Simd>(simd: S, block: &[u8], quad: usize) -> [[S::Duo; 2]; 2] {
        simd.duos_of_nibbles::<N>(line(simd, block, quad))
    }
}

impl Layout for Bytes {
    const BLOCK_BYTES: usize = 512;

    #[inline(always)]
    fn duos<S: Simd>(simd: S, block: &[u8], quad: usize) -> [[S::Duo; 2]; 2] {
        let bytes: &[u8; 8 * LANES] = block[quad * 8 * LANES..][..8 * LANES].try_into().expect("invariant: 128 bytes");
        // SAFETY: i8 and u8 have the same layout.
        let rows = unsafe { &*bytes.as_ptr().cast::<[[i8; LANES]; 8]>() };
        [
            [simd.duo_of_bytes(&rows[0], &rows[2]), simd.duo_of_bytes(&rows[4], &rows[6])],
            [simd.duo_of_bytes(&rows[1], &rows[3]), simd.duo_of_bytes(&rows[5], &rows[7])],
        ]
    }
}

impl Layout for Floats {
    const BLOCK_BYTES: usize = 1024;

    #[inline(always)]
    fn duos<S: Simd>(simd: S, block: &[u8], quad: usize) -> [[S::Duo; 2]; 2] {
        let at = 4 * quad;
        [
            [simd.duo_of_line(line(simd, block, at)), simd.duo_of_line(line(simd, block, at + 2))],
            [simd.duo_of_line(line(simd, block, at + 1)), simd.duo_of_line(line(simd, block, at + 3))],
        ]
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
        Codes::Unsigned => work.run::<NibbleCodes<Unsigned>>(),
        Codes::Signed => work.run::<NibbleCodes<Signed>>(),
        Codes::Table => work.run::<NibbleCodes<Table>>(),
        Codes::Byte => work.run::<Bytes>(),
        Codes::Bf16 => work.run::<Floats>(),
    }
}
