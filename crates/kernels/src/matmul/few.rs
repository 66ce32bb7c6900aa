//! Rows in blocks of a few: codes go from memory to registers to products, nothing is unpacked to memory.
//!
//! Lanes are outputs. TILES tiles run side by side so that enough chains are under way to hide the latency of the
//! multiply-add. With products of bf16 pairs this serves any number of rows.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::operand::SUMS;
use super::{Operand, Part, Plan};
use crate::Compute;
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::quant::Packed;
use crate::quant::pack::{GROUP_TILES, Place, Scales};
use crate::simd::{Kernel, LANES, Simd, XBlock, dispatch_avx2, dispatch_avx512, dispatch_wide};
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles of one work item: what lies side by side in memory.
const ITEM_TILES: usize = GROUP_TILES;

/// Rows of the largest register block.
const ROWS_MAX: usize = 8;
/// Rows of a chunk, whose activations stay in the second-level cache.
const CHUNK_ROWS: usize = 128;

/// Rows up to which this is faster than unpacking for many rows. With products of bf16 pairs it always is: what unpacking would
/// save, the panels cost.
pub(super) fn rows_max(isa: Isa) -> usize {
    match isa {
        Isa::Avx512Bf16 | Isa::Amx => usize::MAX,
        Isa::Avx512 => 8,
        _ => 3,
    }
}

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let plan = Plan::new(weights, ITEM_TILES);
    let out = Disjoint::new(out);
    let chunks = x.rows().div_ceil(CHUNK_ROWS);
    compute.pool().each(plan.items * chunks, &|index| {
        let (part, tiles) = plan.item(index % plan.items);
        let rows = share(0..x.rows(), index / plan.items, chunks);
        let groups = rows.len().div_ceil(ROWS_MAX);
        for group in 0..groups {
            let item = Item {
                x,
                rows: share(rows.clone(), group, groups),
                part,
                tiles: tiles.clone(),
                out,
                stride,
                leads: group == 0,
            };
            by_layout(part.weights.codes(), Chosen { isa: compute.isa(), item });
        }
    });
}

/// Part `index` of a range that is divided into `count` parts of nearly equal size.
fn share(all: Range<usize>, index: usize, count: usize) -> Range<usize> {
    all.start + all.len() * index / count..all.start + all.len() * (index + 1) / count
}

struct Item<'a> {
    x: &'a Operand,
    rows: Range<usize>,
    part: Part<'a>,
    tiles: Range<usize>,
    out: Disjoint<'a, f32>,
    stride: usize,
    /// The first one to read these tiles; it asks for the next ones too.
    leads: bool,
}

struct Chosen<'a> {
    isa: Isa,
    item: Item<'a>,
}

impl ByLayout for Chosen<'_> {
    type Output = ();

    fn run<L: Layout>(self) {
        let Self { isa, item } = self;
        macro_rules! sweeps {
            ($($rows:literal x $tiles:literal)*) => {
                match item.rows.len() {
                    $($rows => dispatch_wide(isa, Sweep::<L, $rows, $tiles>::new(item)),)*
                    _ => unreachable!("invariant: at most ROWS_MAX rows"),
                }
            };
        }
        match (isa, item.rows.len()) {
            (Isa::Avx2, 1) => dispatch_avx2(isa, Sweep::<L, 1, 2>::new(item)),
            (Isa::Avx2, 2) => dispatch_avx2(isa, Sweep::<L, 2, 1>::new(item)),
            (Isa::Avx2, _) => dispatch_avx2(isa, Sweep::<L, 3, 1>::new(item)),
            (Isa::Avx512, 2) => dispatch_avx512(isa, Sweep::<L, 2, 2>::new(item)),
            _ => sweeps!(1 x 4 2 x 4 3 x 2 4 x 1 5 x 1 6 x 1 7 x 1 8 x 1),
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
        let places: [Place; TILES] = std::array::from_fn(|t| weights.place(tile + t));
        let rows: [&[XBlock<S::X>]; ROWS] = std::array::from_fn(|r| self.x.row::<S>(self.rows.start + r));
        let sums: [&[f32]; ROWS] = std::array::from_fn(|r| self.x.row_sums(self.rows.start + r));
        let (stream, ahead) = (weights.stream(), weights.group_bytes());
        let kind = weights.scales();
        let mut y = [[simd.zero(); TILES]; ROWS];
        for block in 0..weights.blocks() {
            let mut code = [&stream[..0]; TILES];
            let mut scale = [&stream[..0]; TILES];
            for t in 0..TILES {
                code[t] = &stream[places[t].codes + block * places[t].record..][..L::BLOCK_BYTES];
                scale[t] = &stream[places[t].scales + block * places[t].record..][..kind.block_bytes()];
                if self.leads {
                    // The next group's lines, which this thread reads next.
                    for line in 0..L::BLOCK_BYTES / 64 {
                        simd.prefetch(code[t].as_ptr().wrapping_add(ahead + line * 64));
                    }
                    simd.prefetch(scale[t].as_ptr().wrapping_add(ahead));
                }
            }
            let mut x = [&rows[0][block]; ROWS];
            for r in 0..ROWS {
                x[r] = &rows[r][block];
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
                let out =
                    unsafe { self.out.part((self.rows.start + r) * self.stride + self.part.column + first, count) };
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
    x: [&XBlock<S::X>; ROWS],
    quads: Range<usize>,
) -> [[S::F; TILES]; ROWS] {
    let mut even = [[simd.zero(); TILES]; ROWS];
    let mut odd = [[simd.zero(); TILES]; ROWS];
    for quad in quads {
        for t in 0..TILES {
            let duos = L::duos(simd, code[t], quad);
            for r in 0..ROWS {
                even[r][t] = simd.dot(even[r][t], duos[0][0], x[r][0][2 * quad]);
                odd[r][t] = simd.dot(odd[r][t], duos[1][0], x[r][1][2 * quad]);
                even[r][t] = simd.dot(even[r][t], duos[0][1], x[r][0][2 * quad + 1]);
                odd[r][t] = simd.dot(odd[r][t], duos[1][1], x[r][1][2 * quad + 1]);
            }
        }
    }
    for r in 0..ROWS {
        for t in 0..TILES {
            even[r][t] = simd.add(even[r][t], odd[r][t]);
        }
    }
    even
}
