//! Many rows: a weight block is unpacked once to float32 in L1 and serves all rows of a chunk.
//!
//! The activations are laid out as panels first, [chunk][block][group][parity][pair][row of the group], so that the inner
//! loop reads both sides in sequence.

use super::layouts::{ByLayout, Layout, Scaling, by_layout};
use super::{Operand, Part, Plan, SUMS};
use crate::Compute;
use crate::memory::{Aligned, Disjoint};
use crate::quant::Packed;
use crate::quant::pack::BLOCK;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use std::cell::RefCell;

/// Rows that share one unpacked block; their results stay in L1.
const CHUNK_ROWS: usize = 96;
/// Rows of the largest register block.
const GROUP_ROWS: usize = 12;
/// Pairs of inputs in a block.
const PAIRS: usize = BLOCK / 2;

thread_local! {
    /// The panels of the products that this thread asks for; kept so that a step allocates nothing.
    static PANELS: RefCell<Aligned<f32>> = RefCell::new(Aligned::default());
}

/// How rows are divided into chunks, and chunks into groups of nearly equal size.
#[derive(Clone, Copy)]
struct Division {
    rows: usize,
    blocks: usize,
    chunks: usize,
    groups: usize,
}

impl Division {
    fn new(rows: usize, blocks: usize, group_rows: usize) -> Self {
        let chunks = rows.div_ceil(CHUNK_ROWS);
        let groups = rows.div_ceil(chunks).div_ceil(group_rows);
        Self { rows, blocks, chunks, groups }
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

    /// Float32s of one panel: a block of a group.
    const PANEL: usize = 2 * PAIRS * GROUP_ROWS;

    fn panel(self, chunk: usize, block: usize, group: usize) -> usize {
        ((chunk * self.blocks + block) * self.groups + group) * Self::PANEL
    }

    fn len(self) -> usize {
        self.chunks * self.blocks * self.groups * Self::PANEL
    }
}

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let isa = compute.isa();
    let group_rows = if isa == crate::isa::Isa::Avx512 { 12 } else { 6 };
    let division = Division::new(x.rows, x.stride / BLOCK, group_rows);
    PANELS.with_borrow_mut(|panels| {
        panels.grow(division.len());
        let places = Disjoint::new(panels.as_mut_slice());
        compute.pool().each(division.chunks * division.groups, &|index| {
            fill_panels(x, division, index / division.groups, index % division.groups, places);
        });
        let panels = &panels.as_slice()[..division.len()];
        let plan = Plan::new(weights, 1);
        let out = Disjoint::new(out);
        compute.pool().each(plan.items * division.chunks, &|index| {
            let (part, tiles) = plan.item(index % plan.items);
            dispatch(isa, Item { x, panels, division, part, tile: tiles.start, chunk: index / plan.items, out, stride });
        });
    });
}

fn fill_panels(x: &Operand, division: Division, chunk: usize, group: usize, places: Disjoint<'_, f32>) {
    let (first, end) = (division.group(chunk, group), division.group(chunk, group + 1));
    let width = end - first;
    for block in 0..division.blocks {
        // SAFETY: each (chunk, group) has panels of its own.
        let panel = unsafe { places.part(division.panel(chunk, block, group), Division::PANEL) };
        for (r, row) in (first..end).enumerate() {
            let values = &x.row(row)[block * BLOCK..][..BLOCK];
            for (pair, both) in values.as_chunks::<2>().0.iter().enumerate() {
                panel[pair * width + r] = both[0];
                panel[(PAIRS + pair) * width + r] = both[1];
            }
        }
    }
}

struct Item<'a> {
    x: &'a Operand,
    panels: &'a [f32],
    division: Division,
    part: Part<'a>,
    tile: usize,
    chunk: usize,
    out: Disjoint<'a, f32>,
    stride: usize,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        by_layout(self.part.weights, WithSimd { simd, item: self });
    }
}

struct WithSimd<'a, S> {
    simd: S,
    item: Item<'a>,
}

/// A weight block as float32: [parity][pair][output].
#[repr(align(64))]
struct Unpacked([[[f32; LANES]; PAIRS]; 2]);

/// The results of a chunk: [row][output].
#[repr(align(64))]
struct Results([[f32; LANES]; CHUNK_ROWS]);

impl<S: Simd> ByLayout for WithSimd<'_, S> {
    #[inline(always)]
    fn run<L: Layout, C: Scaling>(self) {
        let Self { simd, item } = self;
        let codes = item.part.weights.tile_codes(item.tile);
        let scales = item.part.weights.tile_scales(item.tile);
        let mut unpacked = Unpacked([[[0.0; LANES]; PAIRS]; 2]);
        let mut results = Results([[0.0; LANES]; CHUNK_ROWS]);
        for block in 0..item.division.blocks {
            let code = &codes[block * L::BLOCK_BYTES..][..L::BLOCK_BYTES];
            let scale = &scales[block * C::BLOCK_BYTES..][..C::BLOCK_BYTES];
            unpack::<S, L>(simd, code, &mut unpacked);
            for group in 0..item.division.groups {
                item.group::<S, C>(simd, block, group, &unpacked, scale, &mut results);
            }
        }
        item.write(&results);
    }
}

#[inline(always)]
fn unpack<S: Simd, L: Layout>(simd: S, code: &[u8], to: &mut Unpacked) {
    macro_rules! steps {
        ($($pair:literal)*) => {$(
            let (low, high) = L::pair::<S, $pair>(simd, code);
            simd.store(low, &mut to.0[0][$pair]);
            simd.store(high, &mut to.0[1][$pair]);
        )*};
    }
    steps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

impl Item<'_> {
    #[inline(always)]
    fn group<S: Simd, C: Scaling>(
        &self,
        simd: S,
        block: usize,
        group: usize,
        weights: &Unpacked,
        scale: &[u8],
        results: &mut Results,
    ) {
        let first = self.division.group(self.chunk, group);
        let width = self.division.group(self.chunk, group + 1) - first;
        let at = first - self.division.chunk(self.chunk);
        let panel = &self.panels[self.division.panel(self.chunk, block, group)..][..2 * PAIRS * width];
        let y = &mut results.0[at..at + width];
        macro_rules! widths {
            ($($width:literal)*) => {
                match width {
                    $($width => self.rows::<S, C, $width>(simd, block, first, panel, weights, scale, y),)*
                    _ => unreachable!("invariant: groups have 1 to GROUP_ROWS rows"),
                }
            };
        }
        if S::WIDE {
            widths!(1 2 3 4 5 6 7 8 9 10 11 12)
        } else {
            widths!(1 2 3 4 5 6)
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn rows<S: Simd, C: Scaling, const ROWS: usize>(
        &self,
        simd: S,
        block: usize,
        first: usize,
        panel: &[f32],
        weights: &Unpacked,
        scale: &[u8],
        y: &mut [[f32; LANES]],
    ) {
        let panel = panel.as_chunks::<ROWS>().0;
        let (evens, odds) = panel.split_at(PAIRS);
        let y: &mut [[f32; LANES]; ROWS] = y.try_into().expect("invariant: ROWS results");
        for group in 0..C::GROUPS {
            let pairs = group * PAIRS / C::GROUPS..(group + 1) * PAIRS / C::GROUPS;
            let even = chain::<S, ROWS>(simd, &evens[pairs.clone()], &weights.0[0][pairs.clone()]);
            let odd = chain::<S, ROWS>(simd, &odds[pairs.clone()], &weights.0[1][pairs]);
            let number = if C::HAS_MIN { 2 * group } else { group };
            let d = C::numbers(simd, scale, number);
            for r in 0..ROWS {
                let s = simd.add(even[r], odd[r]);
                let old = simd.load(&y[r]);
                let mut new = if C::HAS_SCALE { simd.fma(s, d, old) } else { simd.add(old, s) };
                if C::HAS_MIN {
                    let m = C::numbers(simd, scale, number + 1);
                    let which = if C::GROUPS == 1 { 2 } else { group };
                    let sum = self.x.row_sums(first + r)[block * SUMS + which];
                    new = simd.fma(simd.splat(sum), m, new);
                }
                simd.store(new, &mut y[r]);
            }
        }
    }

    fn write(&self, results: &Results) {
        let (first, end) = (self.division.chunk(self.chunk), self.division.chunk(self.chunk + 1));
        let column = self.tile * LANES;
        let count = LANES.min(self.part.weights.outputs() - column);
        for (row, lanes) in (first..end).zip(&results.0) {
            // SAFETY: every tile of every chunk belongs to one work item.
            let out = unsafe { self.out.part(row * self.stride + self.part.column + column, count) };
            out.copy_from_slice(&lanes[..count]);
        }
    }
}

/// One chain of multiply-adds over pairs, for ROWS rows.
#[inline(always)]
fn chain<S: Simd, const ROWS: usize>(simd: S, x: &[[f32; ROWS]], weights: &[[f32; LANES]]) -> [S::F; ROWS] {
    let mut acc = [simd.zero(); ROWS];
    for (x, w) in x.iter().zip(weights) {
        let w = simd.load(w);
        for r in 0..ROWS {
            acc[r] = simd.fma(simd.splat(x[r]), w, acc[r]);
        }
    }
    acc
}
