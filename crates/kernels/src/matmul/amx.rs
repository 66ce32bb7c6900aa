//! Several rows with AMX: a weight block is unpacked once to bf16 tiles, multiplied by tiles of sixteen rows, and the sums are
//! scaled block by block.
//!
//! A tile of 16 rows × 32 inputs times one of 32 inputs × 16 outputs is one instruction, and its sum is the canonical one. Two tiles of
//! rows and two of outputs are under way together; while they are, the results before them are scaled.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::operand::SUMS;
use super::{Operand, Part, Plan};
use crate::Compute;
use crate::memory::Disjoint;
use crate::quant::Packed;
use crate::quant::pack::Place;
use crate::simd::tiles::{ROWS, Tile, Tiles};
use crate::simd::{Avx512Bf16, BLOCK, Bf16Kernel, DUOS, LANES, Simd, dispatch_bf16};
use std::cell::RefCell;

/// Rows of a chunk, whose results stay in the first-level cache.
const CHUNK_ROWS: usize = 128;
/// Tiles of outputs that one item takes.
const TILES: usize = 2;

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let tiles = Tiles::get().expect("invariant: this instruction set was found at the start");
    let plan = Plan::new(weights, TILES);
    let out = Disjoint::new(out);
    let chunks = x.rows().div_ceil(CHUNK_ROWS);
    compute.pool().each(plan.items * chunks, &|index| {
        let (part, range) = plan.item(index % plan.items);
        let chunk = index / plan.items;
        let rows = chunk * CHUNK_ROWS..((chunk + 1) * CHUNK_ROWS).min(x.rows());
        dispatch_bf16(compute.isa(), Item { tiles, x, part, range, rows, out, stride });
    });
}

struct Item<'a> {
    tiles: Tiles,
    x: &'a Operand,
    part: Part<'a>,
    /// One or two tiles of outputs.
    range: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
    out: Disjoint<'a, f32>,
    stride: usize,
}

/// What a block's weights look like for the products: a tile for each half where halves have scales of their own.
struct Unpacked {
    codes: [[Tile<u32>; TILES]; 2],
    scales: [[[f32; LANES]; TILES]; 2],
    minima: [[[f32; LANES]; TILES]; 2],
}

/// Results of a chunk: [row][tile][output].
#[repr(align(64))]
struct Results([[[f32; LANES]; TILES]; CHUNK_ROWS]);

/// Sums of two tiles of rows, [tile of rows][tile of outputs].
type Sums = [[Tile<f32>; TILES]; 2];

/// What an item works on, kept so that a step allocates and clears nothing.
struct Scratch {
    /// In turn, because sums are scaled while the next block is unpacked.
    unpacked: [Unpacked; 2],
    sums: [Sums; 2],
    results: Results,
}

thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch {
        unpacked: std::array::from_fn(|_| Unpacked {
            codes: [[Tile([[0; 16]; ROWS]); TILES]; 2],
            scales: [[[0.0; LANES]; TILES]; 2],
            minima: [[[0.0; LANES]; TILES]; 2],
        }),
        sums: [[[Tile([[0.0; 16]; ROWS]); TILES]; 2]; 2],
        results: Results([[[0.0; LANES]; TILES]; CHUNK_ROWS]),
    }));
}

/// Sums that wait to be scaled.
#[derive(Clone, Copy)]
struct Pending {
    /// First row within the chunk.
    row: usize,
    block: usize,
    /// Half of the block, where halves have scales of their own.
    half: usize,
}

impl Bf16Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: Avx512Bf16) {
        let halves = self.halves();
        let rows = self.rows.len();
        let first_two = [rows.min(ROWS), rows.saturating_sub(ROWS).min(ROWS)];
        // One pair of row tiles has its exact shape; where there are more, the last one runs into padding.
        let shape = if rows > 2 * ROWS { [ROWS; 2] } else { first_two };
        self.tiles.configure(shape, BLOCK / 2 / halves);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.results.0[..rows].fill([[0.0; LANES]; TILES]);
            self.blocks(simd, halves, scratch);
            self.tiles.release();
            self.write(&scratch.results);
        });
    }
}

impl Item<'_> {
    #[inline(always)]
    fn blocks(&self, simd: Avx512Bf16, halves: usize, scratch: &mut Scratch) {
        let Scratch { unpacked, sums, results } = scratch;
        let rows = self.rows.len();
        let mut pending = None;
        let mut turn = 0;
        for block in 0..self.part.weights.blocks() {
            self.unpack(simd, block, &mut unpacked[block % 2]);
            for half in 0..halves {
                let codes = &unpacked[block % 2].codes[half];
                self.tiles.load_b([&codes[0], &codes[1]]);
                for row in (0..rows).step_by(2 * ROWS) {
                    self.multiply(row, block, half, &mut sums[turn % 2]);
                    if let Some(before) = pending.replace(Pending { row, block, half }) {
                        self.scale(simd, before, &unpacked[before.block % 2], &sums[(turn + 1) % 2], results);
                    }
                    turn += 1;
                }
            }
        }
        if let Some(last) = pending {
            self.scale(simd, last, &unpacked[last.block % 2], &sums[(turn + 1) % 2], results);
        }
    }
}

impl Item<'_> {
    fn halves(&self) -> usize {
        if self.part.weights.scales().inputs == 16 { 2 } else { 1 }
    }

    #[inline(always)]
    fn unpack(&self, simd: Avx512Bf16, block: usize, to: &mut Unpacked) {
        let weights = self.part.weights;
        let halves = self.halves();
        for (t, tile) in self.range.clone().enumerate() {
            let Place { codes, scales, record } = weights.place(tile);
            let code = &weights.stream()[codes + block * record..][..weights.codes().block_bytes()];
            by_layout(weights.codes(), Unpack { simd, code, halves, tile: t, to: &mut to.codes });
            let kind = weights.scales();
            let scale = &weights.stream()[scales + block * record..][..kind.block_bytes()];
            for half in 0..if kind.inputs == 0 { 0 } else { halves } {
                let row = if kind.has_min { 2 * half } else { half };
                simd.store(numbers(simd, kind, scale, row), &mut to.scales[half][t]);
                if kind.has_min {
                    simd.store(numbers(simd, kind, scale, row + 1), &mut to.minima[half][t]);
                }
            }
        }
    }

    /// The sums of up to 32 rows from `row` with the B tiles, over the inputs of `block` from the given half on.
    #[inline(always)]
    fn multiply(&self, row: usize, block: usize, half: usize, sums: &mut Sums) {
        let (words, stride) = self.x.tile_rows(self.rows.start + row, block);
        let from = words.as_ptr().wrapping_add(half * BLOCK / 4);
        // SAFETY: the operand has memory for whole tiles of rows after any row that is a multiple of 16, and
        // chunks begin at such rows.
        unsafe { self.tiles.load_a::<0>(from, stride) };
        self.tiles.multiply::<0>(&mut sums[0]);
        if self.rows.len() > row + ROWS {
            // SAFETY: as above.
            unsafe { self.tiles.load_a::<1>(from.wrapping_byte_add(ROWS * stride), stride) };
            self.tiles.multiply::<1>(&mut sums[1]);
        }
    }

    /// y = fma(S, d, y), then y = fma(Σx, m, y); y + S without scales.
    #[inline(always)]
    fn scale(&self, simd: Avx512Bf16, at: Pending, weights: &Unpacked, sums: &Sums, results: &mut Results) {
        let kind = self.part.weights.scales();
        let which = if self.halves() == 2 { at.half } else { 2 };
        let count = (2 * ROWS).min(self.rows.len() - at.row);
        for (t, (scales, minima)) in weights.scales[at.half].iter().zip(&weights.minima[at.half]).enumerate() {
            let d = simd.load(scales);
            let m = simd.load(minima);
            for r in 0..count {
                let y = &mut results.0[at.row + r][t];
                let s = simd.load(&sums[r / ROWS][t].0[r % ROWS]);
                let old = simd.load(y);
                let mut new = if kind.inputs == 0 { simd.add(old, s) } else { simd.fma(s, d, old) };
                if kind.has_min {
                    let sum = self.x.row_sums(self.rows.start + at.row + r)[at.block * SUMS + which];
                    new = simd.fma(simd.splat(sum), m, new);
                }
                simd.store(new, y);
            }
        }
    }

    fn write(&self, results: &Results) {
        let column = self.range.start * LANES;
        let count = (self.range.len() * LANES).min(self.part.weights.outputs() - column);
        for (row, lanes) in self.rows.clone().zip(&results.0) {
            // SAFETY: every tile of every chunk belongs to one work item.
            let out = unsafe { self.out.part(row * self.stride + self.part.column + column, count) };
            out.copy_from_slice(&lanes.as_flattened()[..count]);
        }
    }
}

struct Unpack<'a> {
    simd: Avx512Bf16,
    code: &'a [u8],
    halves: usize,
    tile: usize,
    to: &'a mut [[Tile<u32>; TILES]; 2],
}

impl ByLayout for Unpack<'_> {
    type Output = ();

    /// Row p of a tile has the codes of inputs 2p (low halves) and 2p + 1 (high halves).
    #[inline(always)]
    fn run<L: Layout>(self) {
        let Self { simd, code, halves, tile, to } = self;
        for quad in 0..DUOS / 2 {
            let duos = L::duos(simd, code, quad);
            // A tile of a half begins at its first row.
            let (half, row) = if halves == 2 { (quad / 2, quad % 2 * 4) } else { (0, quad * 4) };
            let rows = &mut to[half][tile].0[row..row + 4];
            for (index, rows) in rows.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                simd.pairs_of_duos(duos[0][index], duos[1][index], rows);
            }
        }
    }
}
