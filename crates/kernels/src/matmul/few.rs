//! One to three rows: codes go from memory to registers to products, nothing is unpacked to memory.
//!
//! Lanes are outputs. TILES tiles run side by side so that enough chains are under way to hide the latency of the
//! multiply-add.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::{Operand, Part, Plan, SUMS};
use crate::Compute;
use crate::memory::Disjoint;
use crate::quant::pack::{BLOCK, Scales};
use crate::simd::{Kernel, LANES, Simd, dispatch_vector};
use std::ops::Range;

/// Tiles of one work item: enough to stream, few enough to share.
const ITEM_TILES: usize = 8;
/// How far ahead of the products the codes are asked for.
const PREFETCH_BYTES: usize = 2048;

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&crate::quant::Packed], out: &mut [f32], stride: usize) {
    let plan = Plan::new(weights, ITEM_TILES);
    let out = Disjoint::new(out);
    let isa = compute.isa();
    compute.pool().each(plan.items, &|index| {
        let (part, tiles) = plan.item(index);
        dispatch_vector(isa, Item { x, part, tiles, out, stride });
    });
}

struct Item<'a> {
    x: &'a Operand,
    part: Part<'a>,
    tiles: Range<usize>,
    out: Disjoint<'a, f32>,
    stride: usize,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        by_layout(self.part.weights.codes(), WithSimd { simd, item: self });
    }
}

struct WithSimd<'a, S> {
    simd: S,
    item: Item<'a>,
}

impl<S: Simd> ByLayout for WithSimd<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Layout>(self) {
        let Self { simd, item } = self;
        match (item.x.rows, S::WIDE) {
            (1, false) => item.sweep::<S, L, 1, 2>(simd),
            (1, true) => item.sweep::<S, L, 1, 4>(simd),
            (2, false) => item.sweep::<S, L, 2, 1>(simd),
            (2, true) => item.sweep::<S, L, 2, 2>(simd),
            (_, false) => item.sweep::<S, L, 3, 1>(simd),
            (_, true) => item.sweep::<S, L, 3, 2>(simd),
        }
    }
}

impl Item<'_> {
    #[inline(always)]
    fn sweep<S: Simd, L: Layout, const ROWS: usize, const TILES: usize>(&self, simd: S) {
        let mut tile = self.tiles.start;
        while tile + TILES <= self.tiles.end {
            self.tiles_at::<S, L, ROWS, TILES>(simd, tile);
            tile += TILES;
        }
        while tile < self.tiles.end {
            self.tiles_at::<S, L, ROWS, 1>(simd, tile);
            tile += 1;
        }
    }

    #[inline(always)]
    fn tiles_at<S: Simd, L: Layout, const ROWS: usize, const TILES: usize>(&self, simd: S, tile: usize) {
        let weights = self.part.weights;
        let codes: [&[u8]; TILES] = std::array::from_fn(|t| weights.tile_codes(tile + t));
        let scales: [&[u8]; TILES] = std::array::from_fn(|t| weights.tile_scales(tile + t));
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| self.x.row(r));
        let sums: [&[f32]; ROWS] = std::array::from_fn(|r| self.x.row_sums(r));
        let kind = weights.scales();
        let mut y = [[simd.zero(); TILES]; ROWS];
        for block in 0..weights.blocks() {
            let mut code = [&codes[0][..0]; TILES];
            let mut scale = [&codes[0][..0]; TILES];
            for t in 0..TILES {
                code[t] = &codes[t][block * L::BLOCK_BYTES..][..L::BLOCK_BYTES];
                scale[t] = &scales[t][block * kind.block_bytes()..][..kind.block_bytes()];
                for line in 0..L::BLOCK_BYTES / 64 {
                    simd.prefetch(code[t].as_ptr().wrapping_add(PREFETCH_BYTES + line * 64));
                }
            }
            let mut x = [&[0.0f32; BLOCK]; ROWS];
            for r in 0..ROWS {
                x[r] = rows[r][block * BLOCK..][..BLOCK].try_into().expect("invariant: BLOCK values");
            }
            if kind.inputs == 16 {
                let s = chains::<S, L, ROWS, TILES, 0, 8>(simd, code, x);
                y = scale_up(simd, y, s, kind, scale, 0, pick(sums, block * SUMS));
                let s = chains::<S, L, ROWS, TILES, 8, 16>(simd, code, x);
                y = scale_up(simd, y, s, kind, scale, 1, pick(sums, block * SUMS + 1));
            } else {
                let s = chains::<S, L, ROWS, TILES, 0, 16>(simd, code, x);
                y = scale_up(simd, y, s, kind, scale, 0, pick(sums, block * SUMS + 2));
            }
        }
        self.write(simd, tile, y);
    }

    #[inline(always)]
    fn write<S: Simd, const ROWS: usize, const TILES: usize>(&self, simd: S, tile: usize, y: [[S::F; TILES]; ROWS]) {
        for (r, row) in y.into_iter().enumerate() {
            for (t, value) in row.into_iter().enumerate() {
                let first = (tile + t) * LANES;
                let count = LANES.min(self.part.weights.outputs() - first);
                let mut lanes = [0.0; LANES];
                simd.store(value, &mut lanes);
                // SAFETY: every tile of every row belongs to one work item.
                let out = unsafe { self.out.part(r * self.stride + self.part.column + first, count) };
                out.copy_from_slice(&lanes[..count]);
            }
        }
    }
}

#[inline(always)]
fn pick<const ROWS: usize>(sums: [&[f32]; ROWS], at: usize) -> [f32; ROWS] {
    let mut picked = [0.0; ROWS];
    for r in 0..ROWS {
        picked[r] = sums[r][at];
    }
    picked
}

/// y = fma(S, d, y), then y = fma(Σx, m, y); y + S without scales.
#[inline(always)]
fn scale_up<S: Simd, const ROWS: usize, const TILES: usize>(
    simd: S,
    mut y: [[S::F; TILES]; ROWS],
    s: [[S::F; TILES]; ROWS],
    kind: Scales,
    scale: [&[u8]; TILES],
    group: usize,
    sums: [f32; ROWS],
) -> [[S::F; TILES]; ROWS] {
    for t in 0..TILES {
        if kind.inputs == 0 {
            for r in 0..ROWS {
                y[r][t] = simd.add(y[r][t], s[r][t]);
            }
            continue;
        }
        let first = if kind.has_min { 2 * group } else { group };
        let d = numbers(simd, kind, scale[t], first);
        for r in 0..ROWS {
            y[r][t] = simd.fma(s[r][t], d, y[r][t]);
        }
        if kind.has_min {
            let m = numbers(simd, kind, scale[t], first + 1);
            for r in 0..ROWS {
                y[r][t] = simd.fma(simd.splat(sums[r]), m, y[r][t]);
            }
        }
    }
    y
}

/// S over the pairs FROM … TO − 1 of a block: the even chain plus the odd chain.
#[inline(always)]
fn chains<S: Simd, L: Layout, const ROWS: usize, const TILES: usize, const FROM: usize, const TO: usize>(
    simd: S,
    code: [&[u8]; TILES],
    x: [&[f32; BLOCK]; ROWS],
) -> [[S::F; TILES]; ROWS] {
    let mut even = [[simd.zero(); TILES]; ROWS];
    let mut odd = [[simd.zero(); TILES]; ROWS];
    macro_rules! steps {
        ($($pair:literal)*) => {$(
            if FROM <= $pair && $pair < TO {
                for t in 0..TILES {
                    let (low, high) = L::pair::<S, $pair>(simd, code[t]);
                    for r in 0..ROWS {
                        even[r][t] = simd.fma(simd.splat(x[r][2 * $pair]), low, even[r][t]);
                        odd[r][t] = simd.fma(simd.splat(x[r][2 * $pair + 1]), high, odd[r][t]);
                    }
                }
            }
        )*};
    }
    steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for r in 0..ROWS {
        for t in 0..TILES {
            even[r][t] = simd.add(even[r][t], odd[r][t]);
        }
    }
    even
}
