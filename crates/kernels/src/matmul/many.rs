//! Many rows: a weight block is unpacked once to duos in L1 and serves all rows of a chunk.
//!
//! The activations are laid out as panels first, [chunk][block][group][chain][duo][row of the group], so that the inner
//! loop reads both sides in sequence. A register block is ROWS rows × TILES tiles.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::operand::SUMS;
use super::{Operand, Part, Plan};
use crate::Compute;
use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint, from_words};
use crate::quant::Packed;
use crate::quant::pack::{Place, Scales};
use crate::simd::{BLOCK, DUOS, Kernel, LANES, Simd, dispatch_avx2, dispatch_avx512, words_of_x};
use std::cell::RefCell;

/// Rows that share one unpacked block; their results stay in L1.
const CHUNK_ROWS: usize = 96;
/// Rows of the largest register block.
const GROUP_ROWS: usize = 6;
/// Tiles of a register block where there are 32 wide registers.
const WIDE_TILES: usize = 2;

thread_local! {
    /// The panels of the products that this thread asks for; kept so that a step allocates nothing.
    static PANELS: RefCell<Aligned<u32>> = RefCell::new(Aligned::default());
}

/// How rows are divided into chunks, and chunks into groups of nearly equal size.
#[derive(Clone, Copy)]
struct Division {
    rows: usize,
    blocks: usize,
    chunks: usize,
    groups: usize,
    /// Words of one panel: a block of a group.
    panel: usize,
}

impl Division {
    fn new(x: &Operand, words_of_x: usize) -> Self {
        let chunks = x.rows().div_ceil(CHUNK_ROWS);
        let groups = x.rows().div_ceil(chunks).div_ceil(GROUP_ROWS);
        Self { rows: x.rows(), blocks: x.blocks(), chunks, groups, panel: 2 * DUOS * GROUP_ROWS * words_of_x }
    }

    /// First row of a chunk.
    fn chunk(self, chunk: usize) -> usize {
        self.rows * chunk / self.chunks
    }

    /// First row of a group within the batch.
    fn group(self, chunk: usize, group: usize) -> usize {
        let (first, end) = (self.chunk(chunk), self.chunk(chunk + 1));
        first + (end - first) * group / self.groups
    }

    fn panel(self, chunk: usize, block: usize, group: usize) -> usize {
        ((chunk * self.blocks + block) * self.groups + group) * self.panel
    }

    fn len(self) -> usize {
        self.chunks * self.blocks * self.groups * self.panel
    }
}

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let isa = compute.isa();
    let division = Division::new(x, words_of_x(isa));
    let tiles = if isa == Isa::Avx2 { 1 } else { WIDE_TILES };
    PANELS.with_borrow_mut(|panels| {
        panels.grow(division.len());
        let places = Disjoint::new(panels.as_mut_slice());
        compute.pool().each(division.chunks * division.groups, &|index| {
            fill_panels(x, division, index / division.groups, index % division.groups, places);
        });
        let panels = &panels.as_slice()[..division.len()];
        let plan = Plan::new(weights, tiles);
        let out = Disjoint::new(out);
        compute.pool().each(plan.items * division.chunks, &|index| {
            let (part, tiles) = plan.item(index % plan.items);
            let chunk = index / plan.items;
            let item = Item { x, panels, division, part, tile: tiles.start, chunk, out, stride };
            match (isa, tiles.len()) {
                (Isa::Avx2, _) => dispatch_avx2(isa, item),
                (_, 1) => dispatch_avx512(isa, Single(item)),
                _ => dispatch_avx512(isa, Wide(item)),
            }
        });
    });
}

/// Panels are filled in whole words, whatever they stand for.
fn fill_panels(x: &Operand, division: Division, chunk: usize, group: usize, places: Disjoint<'_, u32>) {
    let (first, end) = (division.group(chunk, group), division.group(chunk, group + 1));
    let (width, words) = (end - first, division.panel / (2 * DUOS * GROUP_ROWS));
    for block in 0..division.blocks {
        // SAFETY: each (chunk, group) has panels of its own.
        let panel = unsafe { places.part(division.panel(chunk, block, group), division.panel) };
        for (r, row) in (first..end).enumerate() {
            let from = &x.words(row)[block * 2 * DUOS * words..][..2 * DUOS * words];
            if words == 1 {
                from.iter().enumerate().for_each(|(duo, &value)| panel[duo * width + r] = value);
            } else {
                let pairs = panel.as_chunks_mut::<2>().0;
                from.as_chunks::<2>().0.iter().enumerate().for_each(|(duo, &value)| pairs[duo * width + r] = value);
            }
        }
    }
}

struct Item<'a> {
    x: &'a Operand,
    panels: &'a [u32],
    division: Division,
    part: Part<'a>,
    tile: usize,
    chunk: usize,
    out: Disjoint<'a, f32>,
    stride: usize,
}

/// A weight block of one tile: codes [chain][duo], then scales and minima [group][output].
#[repr(align(64))]
struct Unpacked<S: Simd> {
    codes: [[S::Stored; DUOS]; 2],
    scales: [[f32; LANES]; 2],
    minima: [[f32; LANES]; 2],
}

/// The results of a chunk: [row][tile][output].
#[repr(align(64))]
struct Results<const TILES: usize>([[[f32; LANES]; TILES]; CHUNK_ROWS]);

/// One tile, for instruction sets with few registers.
impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.multiply::<S, 1>(simd);
    }
}

/// The last tile where their number is odd.
struct Single<'a>(Item<'a>);

impl Kernel for Single<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.multiply::<S, 1>(simd);
    }
}

struct Wide<'a>(Item<'a>);

impl Kernel for Wide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.multiply::<S, WIDE_TILES>(simd);
    }
}

struct Unpack<'a, S: Simd> {
    simd: S,
    code: &'a [u8],
    to: &'a mut [[S::Stored; DUOS]; 2],
}

impl<S: Simd> ByLayout for Unpack<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Layout>(self) {
        let Self { simd, code, to } = self;
        for quad in 0..DUOS / 2 {
            let duos = L::duos(simd, code, quad);
            for chain in 0..2 {
                simd.store_duo(duos[chain][0], &mut to[chain][2 * quad]);
                simd.store_duo(duos[chain][1], &mut to[chain][2 * quad + 1]);
            }
        }
    }
}

#[inline(always)]
fn unpack_scales<S: Simd>(simd: S, kind: Scales, block: &[u8], to: &mut Unpacked<S>) {
    if kind.inputs == 0 {
        return;
    }
    for group in 0..BLOCK / kind.inputs {
        if kind.has_min {
            simd.store(numbers(simd, kind, block, 2 * group), &mut to.scales[group]);
            simd.store(numbers(simd, kind, block, 2 * group + 1), &mut to.minima[group]);
        } else {
            simd.store(numbers(simd, kind, block, group), &mut to.scales[group]);
        }
    }
}

impl Item<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const TILES: usize>(&self, simd: S) {
        let weights = self.part.weights;
        let (code_len, scale_len) = (weights.codes().block_bytes(), weights.scales().block_bytes());
        let places: [Place; TILES] = std::array::from_fn(|t| weights.place(self.tile + t));
        let stream = weights.stream();
        let mut unpacked: [Unpacked<S>; TILES] = std::array::from_fn(|_| Unpacked {
            codes: [[S::Stored::default(); DUOS]; 2],
            scales: [[0.0; LANES]; 2],
            minima: [[0.0; LANES]; 2],
        });
        let mut results = Results([[[0.0; LANES]; TILES]; CHUNK_ROWS]);
        for block in 0..self.division.blocks {
            for (place, to) in places.iter().zip(&mut unpacked) {
                let code = &stream[place.codes + block * place.record..][..code_len];
                by_layout(weights.codes(), Unpack { simd, code, to: &mut to.codes });
                let scales = &stream[place.scales + block * place.record..][..scale_len];
                unpack_scales(simd, weights.scales(), scales, to);
            }
            for group in 0..self.division.groups {
                self.group::<S, TILES>(simd, block, group, &unpacked, &mut results);
            }
        }
        self.write(&results);
    }

    #[inline(always)]
    fn group<S: Simd, const TILES: usize>(
        &self,
        simd: S,
        block: usize,
        group: usize,
        weights: &[Unpacked<S>; TILES],
        results: &mut Results<TILES>,
    ) {
        let first = self.division.group(self.chunk, group);
        let width = self.division.group(self.chunk, group + 1) - first;
        let at = first - self.division.chunk(self.chunk);
        let panel = &self.panels[self.division.panel(self.chunk, block, group)..][..self.division.panel];
        let rows = GroupRows {
            panel: &from_words::<S::X>(panel)[..2 * DUOS * width],
            weights,
            kind: self.part.weights.scales(),
            x: self.x,
            block,
            first,
            y: &mut results.0[at..at + width],
        };
        match width {
            1 => rows.multiply::<1>(simd),
            2 => rows.multiply::<2>(simd),
            3 => rows.multiply::<3>(simd),
            4 => rows.multiply::<4>(simd),
            5 => rows.multiply::<5>(simd),
            6 => rows.multiply::<6>(simd),
            _ => unreachable!("invariant: groups have 1 to GROUP_ROWS rows"),
        }
    }

    fn write<const TILES: usize>(&self, results: &Results<TILES>) {
        let (first, end) = (self.division.chunk(self.chunk), self.division.chunk(self.chunk + 1));
        let column = self.tile * LANES;
        let count = (TILES * LANES).min(self.part.weights.outputs() - column);
        for (row, lanes) in (first..end).zip(&results.0) {
            // SAFETY: every tile of every chunk belongs to one work item.
            let out = unsafe { self.out.part(row * self.stride + self.part.column + column, count) };
            out.copy_from_slice(&lanes.as_flattened()[..count]);
        }
    }
}

/// One block of one group of rows.
struct GroupRows<'a, S: Simd, const TILES: usize> {
    panel: &'a [S::X],
    weights: &'a [Unpacked<S>; TILES],
    kind: Scales,
    x: &'a Operand,
    block: usize,
    /// First row within the batch.
    first: usize,
    y: &'a mut [[[f32; LANES]; TILES]],
}

impl<S: Simd, const TILES: usize> GroupRows<'_, S, TILES> {
    #[inline(always)]
    fn multiply<const ROWS: usize>(self, simd: S) {
        let (evens, odds) = self.panel.as_chunks::<ROWS>().0.split_at(DUOS);
        let y: &mut [[[f32; LANES]; TILES]; ROWS] = self.y.try_into().expect("invariant: ROWS results");
        let groups = if self.kind.inputs == 16 { 2 } else { 1 };
        for group in 0..groups {
            let duos = group * DUOS / groups..(group + 1) * DUOS / groups;
            let mut sums = chain::<S, ROWS, TILES>(simd, evens, self.weights, 0, duos.clone());
            let odd = chain::<S, ROWS, TILES>(simd, odds, self.weights, 1, duos);
            for r in 0..ROWS {
                for t in 0..TILES {
                    sums[r][t] = simd.add(sums[r][t], odd[r][t]);
                }
            }
            let which = if groups == 1 { 2 } else { group };
            for r in 0..ROWS {
                let sum = simd.splat(self.x.row_sums(self.first + r)[self.block * SUMS + which]);
                for t in 0..TILES {
                    let old = simd.load(&y[r][t]);
                    let mut new = match self.kind.inputs {
                        0 => simd.add(old, sums[r][t]),
                        _ => simd.fma(sums[r][t], simd.load(&self.weights[t].scales[group]), old),
                    };
                    if self.kind.has_min {
                        new = simd.fma(sum, simd.load(&self.weights[t].minima[group]), new);
                    }
                    simd.store(new, &mut y[r][t]);
                }
            }
        }
    }
}

/// One chain of multiply-adds over `duos`, for ROWS rows and TILES tiles.
#[inline(always)]
fn chain<S: Simd, const ROWS: usize, const TILES: usize>(
    simd: S,
    x: &[[S::X; ROWS]],
    weights: &[Unpacked<S>; TILES],
    parity: usize,
    duos: std::ops::Range<usize>,
) -> [[S::F; TILES]; ROWS] {
    let mut acc = [[simd.zero(); TILES]; ROWS];
    for duo in duos {
        let x = &x[duo];
        let mut w = [simd.load_duo(&weights[0].codes[parity][duo]); TILES];
        for t in 1..TILES {
            w[t] = simd.load_duo(&weights[t].codes[parity][duo]);
        }
        for r in 0..ROWS {
            for t in 0..TILES {
                acc[r][t] = simd.dot(acc[r][t], w[t], x[r]);
            }
        }
    }
    acc
}
