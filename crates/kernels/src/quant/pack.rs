//! The packed form of a weight matrix: tiles of 16 outputs × 32 inputs, laid out for vector units.
//!
//! One stream, ordered [group of 4 tiles][block]{codes of each tile, scales of each tile}, so that a product of few rows reads
//! memory in one sequence. The last group has the tiles that are left; the scales of a record are padded to 64 bytes. One code
//! block (16 columns c, 32 inputs k, pair p = k/2):
//!
//! ```text
//! nibbles  256 B   line p/4, 16 lanes of 32 bits; lane c, from the lowest bits (pairs p%4, e even k, o odd k):
//!                  1e 3e 1o 3o | 0e 2e 0o 2o
//! bytes    512 B   [k][c]
//! bf16   1,024 B   line 2(k/4) + k%2; lane c holds the earlier of its two k in the high half
//! ```
//!
//! A scale block holds, for each 32 or 16 inputs, 16 scales and then 16 minima where the format has them.
//! Each kind is a shift and a table look-up away from duos: two neighbours of one chain of the canonical sum (k and k + 2), the
//! first in the high half of a lane, as VDPBF16PS takes them.

use super::Format;
use super::decode::{Block, decode_block};
use super::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::memory::{Aligned, Disjoint};
use crate::simd::{BLOCK, LANES};
use crate::{Compute, Error};

/// Tiles whose blocks lie side by side.
pub(crate) const GROUP_TILES: usize = 4;

/// Rows of a weight matrix as a file stores them: `outputs` rows of `inputs` weights, row-major.
pub struct Source<'a> {
    pub format: Format,
    pub outputs: usize,
    pub inputs: usize,
    pub bytes: &'a [u8],
    /// Row `i` of the packed matrix is row `row_order[i]` of the file; `None` keeps the order.
    pub row_order: Option<&'a [u32]>,
}

/// How codes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Nibbles 0 … 15.
    Unsigned,
    /// Nibbles −8 … 7, two's complement.
    Signed,
    /// Nibbles that index IQ4's table.
    Table,
    Byte,
    /// No codes: the weights themselves.
    Bf16,
}

impl Codes {
    pub(crate) const fn block_bytes(self) -> usize {
        match self {
            Codes::Unsigned | Codes::Signed | Codes::Table => 256,
            Codes::Byte => 512,
            Codes::Bf16 => 1024,
        }
    }
}

/// IQ4_NL's code book (GGML's `kvalues_iq4nl`).
pub(crate) const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// What a scale block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scales {
    /// f16 as in the file, or f32 where scales are products.
    pub half: bool,
    /// Inputs that share a scale: 32 or 16; 0 without scales.
    pub inputs: usize,
    pub has_min: bool,
}

impl Scales {
    pub(crate) const fn block_bytes(self) -> usize {
        if self.inputs == 0 {
            return 0;
        }
        let numbers = (BLOCK / self.inputs) * LANES * if self.has_min { 2 } else { 1 };
        numbers * if self.half { 2 } else { 4 }
    }
}

/// A weight matrix [outputs × inputs], packed.
pub struct Packed {
    outputs: usize,
    inputs: usize,
    codes: Codes,
    scales: Scales,
    bytes: Aligned<u8>,
}

/// Where a tile's blocks lie: block b's codes at `codes + b · record`, its scales at `scales + b · record`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub codes: usize,
    pub scales: usize,
    pub record: usize,
}

fn layout_of(format: Format) -> (Codes, Scales) {
    let scales = |half, inputs, has_min| Scales { half, inputs, has_min };
    match format {
        Format::F32 | Format::F16 | Format::BF16 => (Codes::Bf16, scales(false, 0, false)),
        Format::Q4_0 => (Codes::Signed, scales(true, 32, false)),
        Format::Q4_1 => (Codes::Unsigned, scales(true, 32, true)),
        Format::Q5_0 | Format::Q8_0 => (Codes::Byte, scales(true, 32, false)),
        Format::Q5_1 => (Codes::Byte, scales(true, 32, true)),
        Format::Q2_K => (Codes::Unsigned, scales(false, 16, true)),
        Format::Q3_K => (Codes::Signed, scales(false, 16, false)),
        Format::Q4_K => (Codes::Unsigned, scales(false, 32, true)),
        Format::Q5_K => (Codes::Byte, scales(false, 32, true)),
        Format::Q6_K => (Codes::Byte, scales(false, 16, false)),
        Format::IQ4_NL => (Codes::Table, scales(true, 32, false)),
        Format::IQ4_XS => (Codes::Table, scales(false, 32, false)),
    }
}

impl Packed {
    /// Packs on all threads. Refuses byte counts that do not fit the shape, and rows that are no whole number of blocks.
    /// F32 and F16 weights are rounded to bf16.
    pub fn pack(compute: &Compute, source: &Source<'_>) -> Result<Self, Error> {
        let format = source.format;
        if !source.inputs.is_multiple_of(format.block_len()) {
            return Err(Error::Ragged { inputs: source.inputs, block: format.block_len(), format: format.name() });
        }
        let row_bytes = source.inputs / format.block_len() * format.block_bytes();
        let want = row_bytes.saturating_mul(source.outputs);
        if source.bytes.len() != want {
            return Err(Error::Length { what: "weight matrix", got: source.bytes.len(), want });
        }
        if let Some(order) = source.row_order {
            let reaches = order.iter().all(|&row| (row as usize) < source.outputs);
            if order.len() != source.outputs || !reaches {
                return Err(Error::Length { what: "row order", got: order.len(), want: source.outputs });
            }
        }
        let (codes, scales) = layout_of(format);
        let mut packed =
            Self { outputs: source.outputs, inputs: source.inputs, codes, scales, bytes: Aligned::default() };
        packed.bytes = Aligned::zeroed(packed.group_start(packed.tiles().div_ceil(GROUP_TILES)));
        packed.fill(compute, source, row_bytes);
        Ok(packed)
    }

    fn fill(&mut self, compute: &Compute, source: &Source<'_>, row_bytes: usize) {
        let groups = self.tiles().div_ceil(GROUP_TILES);
        let (codes, scales, outputs) = (self.codes, self.scales, self.outputs);
        let starts: Vec<usize> = (0..=groups).map(|group| self.group_start(group)).collect();
        let places: Vec<Place> = (0..self.tiles()).map(|tile| self.place(tile)).collect();
        let bytes = Disjoint::new(self.bytes.as_mut_slice());
        compute.pool().each(groups, &|group| {
            let start = starts[group];
            // SAFETY: each group has its own range.
            let part = unsafe { bytes.part(start, starts[group + 1] - start) };
            let first = group * GROUP_TILES * LANES;
            for output in first..(first + GROUP_TILES * LANES).min(outputs) {
                let Place { codes: code, scales: scale, record } = places[output / LANES];
                let mut to = Column {
                    column: output % LANES,
                    codes,
                    scales,
                    bytes: part,
                    place: Place { codes: code - start, scales: scale - start, record },
                };
                let row = source.row_order.map_or(output, |order| order[output] as usize);
                let bytes = &source.bytes[row * row_bytes..][..row_bytes];
                match codes {
                    Codes::Bf16 => to.pack_floats(source.format, bytes),
                    _ => to.pack_coded(source.format, bytes),
                }
            }
        });
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of memory that the packed form takes.
    pub fn bytes(&self) -> usize {
        self.bytes.as_slice().len()
    }

    /// The weights of several output rows as float32 (the embeddings of tokens); `out` has `inputs` places for each.
    pub fn rows(&self, compute: &Compute, outputs: &[u32], out: &mut [f32]) {
        assert_eq!(out.len(), outputs.len() * self.inputs, "a row has one place for each input");
        let places = Disjoint::new(out);
        compute.pool().each(outputs.len(), &|index| {
            // SAFETY: each item has its own row.
            let row = unsafe { places.part(index * self.inputs, self.inputs) };
            self.row(outputs[index] as usize, row);
        });
    }

    /// The weights of one output row as float32 (an embedding row); `out` has `inputs` places.
    pub fn row(&self, output: usize, out: &mut [f32]) {
        assert!(output < self.outputs, "row {output} of a matrix of {} rows", self.outputs);
        assert_eq!(out.len(), self.inputs, "a row has one place for each input");
        for (k, place) in out.iter_mut().enumerate() {
            let code = self.code(output, k);
            *place = match self.scale_and_min(output, k) {
                None => code,
                Some((scale, min)) => scale * code + min,
            };
        }
    }

    pub(crate) fn codes(&self) -> Codes {
        self.codes
    }

    pub(crate) fn scales(&self) -> Scales {
        self.scales
    }

    pub(crate) fn tiles(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.inputs.div_ceil(BLOCK)
    }

    /// Bytes of one block of a group of `tiles` tiles.
    fn record(&self, tiles: usize) -> usize {
        tiles * self.codes.block_bytes() + (tiles * self.scales.block_bytes()).next_multiple_of(64)
    }

    /// First byte of a group; of the group past the last one, the length of all.
    fn group_start(&self, group: usize) -> usize {
        let full = self.tiles() / GROUP_TILES;
        let rest = if group > full { self.record(self.tiles() % GROUP_TILES) } else { 0 };
        self.blocks() * (group.min(full) * self.record(GROUP_TILES) + rest)
    }

    /// Bytes from a block to the block of the next group.
    pub(crate) fn group_bytes(&self) -> usize {
        self.blocks() * self.record(GROUP_TILES)
    }

    pub(crate) fn place(&self, tile: usize) -> Place {
        let (group, index) = (tile / GROUP_TILES, tile % GROUP_TILES);
        let tiles = GROUP_TILES.min(self.tiles() - group * GROUP_TILES);
        let start = self.group_start(group);
        Place {
            codes: start + index * self.codes.block_bytes(),
            scales: start + tiles * self.codes.block_bytes() + index * self.scales.block_bytes(),
            record: self.record(tiles),
        }
    }

    /// All bytes, for [`Place`]s.
    pub(crate) fn stream(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    fn block_codes(&self, tile: usize, block: usize) -> &[u8] {
        let place = self.place(tile);
        &self.stream()[place.codes + block * place.record..][..self.codes.block_bytes()]
    }

    fn block_scales(&self, tile: usize, block: usize) -> &[u8] {
        let place = self.place(tile);
        &self.stream()[place.scales + block * place.record..][..self.scales.block_bytes()]
    }

    /// The code (or the weight itself) at (`output`, `k`), as a number.
    pub(crate) fn code(&self, output: usize, k: usize) -> f32 {
        let (column, pair, odd) = (output % LANES, k % BLOCK / 2, k % 2);
        let block = self.block_codes(output / LANES, k / BLOCK);
        let nibble = || {
            let (at, shift) = nibble_place(column, pair, odd);
            (block[at] >> shift) & 15
        };
        match self.codes {
            Codes::Unsigned => f32::from(nibble()),
            Codes::Signed => f32::from((nibble() << 4) as i8 >> 4),
            Codes::Table => f32::from(IQ4_VALUES[nibble() as usize]),
            Codes::Byte => f32::from(block[(k % BLOCK) * LANES + column] as i8),
            Codes::Bf16 => {
                let at = float_place(k % BLOCK, column);
                bf16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
            }
        }
    }

    /// Scale and minimum at (`output`, `k`); the minimum is 0 where the format has none. `None` without scales.
    pub(crate) fn scale_and_min(&self, output: usize, k: usize) -> Option<(f32, f32)> {
        if self.scales.inputs == 0 {
            return None;
        }
        let block = self.block_scales(output / LANES, k / BLOCK);
        let rows = if self.scales.has_min { 2 } else { 1 };
        let at = k % BLOCK / self.scales.inputs * rows * LANES + output % LANES;
        let number = |at: usize| {
            if self.scales.half {
                f16_to_f32(u16::from_le_bytes([block[2 * at], block[2 * at + 1]]))
            } else {
                f32::from_le_bytes([block[4 * at], block[4 * at + 1], block[4 * at + 2], block[4 * at + 3]])
            }
        };
        Some((number(at), if self.scales.has_min { number(at + LANES) } else { 0.0 }))
    }
}

/// First byte of a bf16 within its code block.
fn float_place(k: usize, column: usize) -> usize {
    let (line, low) = (k / 4 * 2 + k % 2, k % 4 / 2);
    (line * LANES + column) * 4 + 2 * (1 - low)
}

/// Byte and shift of a nibble within its code block.
fn nibble_place(column: usize, pair: usize, odd: usize) -> (usize, u32) {
    let bit = 16 * (1 - pair % 2) + 8 * odd + 4 * (pair % 4 / 2);
    (pair / 4 * 64 + column * 4 + bit / 8, bit as u32 % 8)
}

/// One output's place in its group, to be filled.
struct Column<'a> {
    column: usize,
    codes: Codes,
    scales: Scales,
    bytes: &'a mut [u8],
    place: Place,
}

impl Column<'_> {
    fn codes(&mut self, block: usize) -> &mut [u8] {
        &mut self.bytes[self.place.codes + block * self.place.record..][..self.codes.block_bytes()]
    }

    fn scales(&mut self, block: usize) -> &mut [u8] {
        &mut self.bytes[self.place.scales + block * self.place.record..][..self.scales.block_bytes()]
    }

    fn put_float(&mut self, k: usize, value: u16) {
        let at = float_place(k % BLOCK, self.column);
        self.codes(k / BLOCK)[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn pack_floats(&mut self, format: Format, bytes: &[u8]) {
        match format {
            Format::F32 => {
                for (k, b) in bytes.as_chunks::<4>().0.iter().enumerate() {
                    self.put_float(k, f32_to_bf16(f32::from_le_bytes(*b)));
                }
            }
            Format::F16 => {
                for (k, b) in bytes.as_chunks::<2>().0.iter().enumerate() {
                    self.put_float(k, f32_to_bf16(f16_to_f32(u16::from_le_bytes(*b))));
                }
            }
            _ => {
                for (k, b) in bytes.as_chunks::<2>().0.iter().enumerate() {
                    self.put_float(k, u16::from_le_bytes(*b));
                }
            }
        }
    }

    fn pack_coded(&mut self, format: Format, bytes: &[u8]) {
        let (column, codes, scales) = (self.column, self.codes, self.scales);
        let mut block = Block { codes: [0; 256], scales: [0.0; 16], mins: [0.0; 16] };
        for (index, raw) in bytes.chunks_exact(format.block_bytes()).enumerate() {
            decode_block(format, raw, &mut block);
            let first = index * format.block_len();
            for part in 0..format.block_len() / BLOCK {
                let at = first / BLOCK + part;
                let values: &[i8; BLOCK] =
                    block.codes[part * BLOCK..][..BLOCK].try_into().expect("invariant: a slice of BLOCK codes");
                put_codes(codes, values, column, self.codes(at));
                let groups = BLOCK / scales.inputs;
                for group in 0..groups {
                    let (d, m) = (block.scales[part * groups + group], block.mins[part * groups + group]);
                    put_scales(scales, group, column, d, m, self.scales(at));
                }
            }
        }
    }
}

fn put_codes(codes: Codes, values: &[i8; BLOCK], column: usize, out: &mut [u8]) {
    for (k, &value) in values.iter().enumerate() {
        if codes == Codes::Byte {
            out[k * LANES + column] = value as u8;
            continue;
        }
        let nibble = match codes {
            Codes::Table => {
                IQ4_VALUES.iter().position(|&entry| entry == value).expect("invariant: IQ4 codes come from the table")
                    as u8
            }
            _ => value as u8 & 15,
        };
        let (at, shift) = nibble_place(column, k / 2, k % 2);
        out[at] |= nibble << shift;
    }
}

fn put_scales(scales: Scales, group: usize, column: usize, d: f32, m: f32, out: &mut [u8]) {
    let rows = if scales.has_min { 2 } else { 1 };
    let at = group * rows * LANES + column;
    let mut put = |at: usize, value: f32| {
        if scales.half {
            out[2 * at..2 * at + 2].copy_from_slice(&f32_to_f16(value).to_le_bytes());
        } else {
            out[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        }
    };
    put(at, d);
    if scales.has_min {
        put(at + LANES, m);
    }
}
