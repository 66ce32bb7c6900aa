//! One to three rows: codes go from memory to registers to products, nothing is unpacked to memory.
//!
//! Lanes are outputs. TILES tiles run side by side so that enough chains are under way to hide the latency of the
//! multiply-add.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::{Operand, Part, Plan, SUMS};
use crate::Compute;
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::quant::Packed;
use crate::quant::pack::{BLOCK, Scales};
use crate::simd::{Kernel, LANES, Simd, dispatch_vector};
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles of one work item: enough to stream, few enough to share.
const ITEM_TILES: usize = 8;
/// How far ahead of the products the codes are asked for.
const PREFETCH_BYTES: usize = 2048;

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let plan = Plan::new(weights, ITEM_TILES);
    let out = Disjoint::new(out);
    compute.pool().each(plan.items, &|index| {
        let (part, tiles) = plan.item(index);
        by_layout(part.weights.codes(), Chosen { isa: compute.isa(), item: Item { x, part, tiles, out, stride } });
    });
}

struct Item<'a> {
    x: &'a Operand,
    part: Part<'a>,
    tiles: Range<usize>,
    out: Disjoint<'a, f32>,
    stride: usize,
}

struct Chosen<'a> {
    isa: Isa,
    item: Item<'a>,
}

impl ByLayout for Chosen<'_> {
    type Output = ();

    fn run<L: Layout>(self) {
        let Self { isa, item } = self;
        match (item.x.rows, isa) {
            (1, Isa::Avx512) => dispatch_vector(isa, Sweep::<L, 1, 4>::new(item)),
            (1, _) => dispatch_vector(isa, Sweep::<L, 1, 2>::new(item)),
            (2, _) => dispatch_vector(isa, Sweep::<L, 2, 1>::new(item)),
            _ => dispatch_vector(isa, Sweep::<L, 3, 1>::new(item)),
        }
    }
}

/// One item, TILES tiles at a time. Each kind is a function of its own, so that none grows large.
struct Sweep<'a, L, const ROWS: usize, const TILES: usize> {
    item: Item<'a>,
    layout: PhantomData<L>,
}

impl<'a, L, const ROWS: usize, const TILES: usize> Sweep<'a, L, ROWS, TILES> {
    fn new(item: Item<'a>) -> Self {
        Self { item, layout: PhantomData }
    }
}

impl<L: Layout, const ROWS: usize, const TILES: usize> Kernel for Sweep<'_, L, ROWS, TILES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let item = self.item;
        let mut tile = item.tiles.start;
        while tile + TILES <= item.tiles.end {
            item.tiles_at::<S, L, ROWS, TILES>(simd, tile);
            tile += TILES;
        }
        while TILES > 1 && tile < item.tiles.end {
            item.tiles_at::<S, L, ROWS, 1>(simd, tile);
            tile += 1;
        }
    }
}

impl Item<'_> {
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
                for group in 0..2 {
                    let s = chains::<S, L, ROWS, TILES>(simd, code, x, 2 * group..2 * group + 2);
                    y = scale_up(simd, y, s, kind, scale, group, pick(sums, block * SUMS + group));
                }
            } else {
                let s = chains::<S, L, ROWS, TILES>(simd, code, x, 0..4);
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

/// S over `quads` of four pairs of a block: the even chain plus the odd chain.
#[inline(always)]
fn chains<S: Simd, L: Layout, const ROWS: usize, const TILES: usize>(
    simd: S,
    code: [&[u8]; TILES],
    x: [&[f32; BLOCK]; ROWS],
    quads: Range<usize>,
) -> [[S::F; TILES]; ROWS] {
    let mut even = [[simd.zero(); TILES]; ROWS];
    let mut odd = [[simd.zero(); TILES]; ROWS];
    for quad in quads {
        macro_rules! steps {
            ($($phase:literal)*) => {$(
                for t in 0..TILES {
                    let (low, high) = L::pair::<S, $phase>(simd, code[t], quad);
                    for r in 0..ROWS {
                        even[r][t] = simd.fma(simd.splat(x[r][quad * 8 + 2 * $phase]), low, even[r][t]);
                        odd[r][t] = simd.fma(simd.splat(x[r][quad * 8 + 2 * $phase + 1]), high, odd[r][t]);
                    }
                }
            )*};
        }
        steps!(0 1 2 3);
    }
    for r in 0..ROWS {
        for t in 0..TILES {
            even[r][t] = simd.add(even[r][t], odd[r][t]);
        }
    }
    even
}
