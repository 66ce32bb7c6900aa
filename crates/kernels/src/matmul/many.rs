//! Many rows: a weight block is unpacked once to float32 in L1 and serves all rows of a chunk.
//!
//! The activations are laid out as panels first, [chunk][block][group][parity][pair][row of the group], so that the inner
//! loop reads both sides in sequence.

use super::layouts::{ByLayout, Layout, by_layout, numbers};
use super::{Operand, Part, Plan, SUMS};
use crate::Compute;
use crate::memory::{Aligned, Disjoint};
use crate::quant::Packed;
use crate::quant::pack::{BLOCK, Scales};
use crate::simd::{Kernel, LANES, Simd, dispatch_vector};
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
            dispatch_vector(
                isa,
                Item { x, panels, division, part, tile: tiles.start, chunk: index / plan.items, out, stride },
            );
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

/// A weight block as float32: codes [parity][pair][output], then scales and minima [group][output].
#[repr(align(64))]
struct Unpacked {
    codes: [[[f32; LANES]; PAIRS]; 2],
    scales: [[f32; LANES]; 2],
    minima: [[f32; LANES]; 2],
}

/// The results of a chunk: [row][output].
#[repr(align(64))]
struct Results([[f32; LANES]; CHUNK_ROWS]);

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let weights = self.part.weights;
        let (codes, scales) = (weights.tile_codes(self.tile), weights.tile_scales(self.tile));
        let (code_len, scale_len) = (weights.codes().block_bytes(), weights.scales().block_bytes());
        let mut unpacked =
            Unpacked { codes: [[[0.0; LANES]; PAIRS]; 2], scales: [[0.0; LANES]; 2], minima: [[0.0; LANES]; 2] };
        let mut results = Results([[0.0; LANES]; CHUNK_ROWS]);
        for block in 0..self.division.blocks {
            let code = &codes[block * code_len..][..code_len];
            by_layout(weights.codes(), Unpack { simd, code, to: &mut unpacked.codes });
            unpack_scales(simd, weights.scales(), &scales[block * scale_len..][..scale_len], &mut unpacked);
            for group in 0..self.division.groups {
                self.group(simd, block, group, &unpacked, &mut results);
            }
        }
        self.write(&results);
    }
}

struct Unpack<'a, S> {
    simd: S,
    code: &'a [u8],
    to: &'a mut [[[f32; LANES]; PAIRS]; 2],
}

impl<S: Simd> ByLayout for Unpack<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Layout>(self) {
        let Self { simd, code, to } = self;
        for quad in 0..PAIRS / 4 {
            let pairs = [
                L::pair::<S, 0>(simd, code, quad),
                L::pair::<S, 1>(simd, code, quad),
                L::pair::<S, 2>(simd, code, quad),
                L::pair::<S, 3>(simd, code, quad),
            ];
            for (phase, (low, high)) in pairs.into_iter().enumerate() {
                simd.store(low, &mut to[0][quad * 4 + phase]);
                simd.store(high, &mut to[1][quad * 4 + phase]);
            }
        }
    }
}

#[inline(always)]
fn unpack_scales<S: Simd>(simd: S, kind: Scales, block: &[u8], to: &mut Unpacked) {
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
    fn group<S: Simd>(&self, simd: S, block: usize, group: usize, weights: &Unpacked, results: &mut Results) {
        let first = self.division.group(self.chunk, group);
        let width = self.division.group(self.chunk, group + 1) - first;
        let at = first - self.division.chunk(self.chunk);
        let rows = GroupRows {
            panel: &self.panels[self.division.panel(self.chunk, block, group)..][..2 * PAIRS * width],
            weights,
            kind: self.part.weights.scales(),
            x: self.x,
            block,
            first,
            y: &mut results.0[at..at + width],
        };
        macro_rules! widths {
            ($($width:literal)*) => {
                match width {
                    $($width => rows.multiply::<S, $width>(simd),)*
                    _ => unreachable!("invariant: groups have 1 to GROUP_ROWS rows"),
                }
            };
        }
        if S::WIDE { widths!(1 2 3 4 5 6 7 8 9 10 11 12) } else { widths!(1 2 3 4 5 6) }
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

/// One block of one group of rows.
struct GroupRows<'a> {
    panel: &'a [f32],
    weights: &'a Unpacked,
    kind: Scales,
    x: &'a Operand,
    block: usize,
    /// First row within the batch.
    first: usize,
    y: &'a mut [[f32; LANES]],
}

impl GroupRows<'_> {
    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize>(self, simd: S) {
        let (evens, odds) = self.panel.as_chunks::<ROWS>().0.split_at(PAIRS);
        let y: &mut [[f32; LANES]; ROWS] = self.y.try_into().expect("invariant: ROWS results");
        let groups = if self.kind.inputs == 16 { 2 } else { 1 };
        for group in 0..groups {
            let pairs = group * PAIRS / groups..(group + 1) * PAIRS / groups;
            let even = chain::<S, ROWS>(simd, &evens[pairs.clone()], &self.weights.codes[0][pairs.clone()]);
            let odd = chain::<S, ROWS>(simd, &odds[pairs.clone()], &self.weights.codes[1][pairs]);
            let d = simd.load(&self.weights.scales[group]);
            let m = simd.load(&self.weights.minima[group]);
            let which = if groups == 1 { 2 } else { group };
            for r in 0..ROWS {
                let s = simd.add(even[r], odd[r]);
                let old = simd.load(&y[r]);
                let mut new = if self.kind.inputs == 0 { simd.add(old, s) } else { simd.fma(s, d, old) };
                if self.kind.has_min {
                    let sum = self.x.row_sums(self.first + r)[self.block * SUMS + which];
                    new = simd.fma(simd.splat(sum), m, new);
                }
                simd.store(new, &mut y[r]);
            }
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
