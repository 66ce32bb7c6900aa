//! The path of processors without a set of kernels: plain loops over sixteen outputs, which compilers vectorise where
//! the target allows.

use super::operand::SUMS;
use super::{Operand, Part, Plan};
use crate::Compute;
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::quant::Packed;
use crate::simd::{BLOCK, Kernel, LANES, Scalar, Simd, XBlock, dispatch};

pub(super) fn matmul(compute: &Compute, x: &Operand, weights: &[&Packed], out: &mut [f32], stride: usize) {
    let plan = Plan::new(weights, 1);
    let out = Disjoint::new(out);
    compute.pool().each(plan.items, &|index| {
        let (part, tiles) = plan.item(index);
        dispatch(Isa::Scalar, Item { x, part, tile: tiles.start, out, stride });
    });
}

struct Item<'a> {
    x: &'a Operand,
    part: Part<'a>,
    tile: usize,
    out: Disjoint<'a, f32>,
    stride: usize,
}

/// A weight block: codes [input][output], and for each group of inputs scales and minima.
struct Block {
    codes: [[f32; LANES]; BLOCK],
    scales: [[f32; LANES]; 2],
    minima: [[f32; LANES]; 2],
}

impl Kernel for Item<'_> {
    type Output = ();

    fn run<S: Simd>(self, _: S) {
        let weights = self.part.weights;
        let first = self.tile * LANES;
        let count = LANES.min(weights.outputs() - first);
        let mut y = vec![[0.0f32; LANES]; self.x.rows()];
        for block in 0..weights.blocks() {
            let unpacked = unpack(weights, first, count, block);
            for (row, y) in y.iter_mut().enumerate() {
                let x = &self.x.row::<Scalar>(row)[block];
                let sums = &self.x.row_sums(row)[block * SUMS..][..SUMS];
                multiply(weights, &unpacked, x, sums, y);
            }
        }
        for (row, y) in y.iter().enumerate() {
            // SAFETY: every tile belongs to one work item.
            let out = unsafe { self.out.part(row * self.stride + self.part.column + first, count) };
            out.copy_from_slice(&y[..count]);
        }
    }
}

fn unpack(weights: &Packed, first: usize, count: usize, block: usize) -> Block {
    let mut to = Block { codes: [[0.0; LANES]; BLOCK], scales: [[0.0; LANES]; 2], minima: [[0.0; LANES]; 2] };
    for k in 0..BLOCK.min(weights.inputs() - block * BLOCK) {
        for column in 0..count {
            to.codes[k][column] = weights.code(first + column, block * BLOCK + k);
        }
    }
    let shared = weights.scales().inputs;
    for group in 0..BLOCK.checked_div(shared).unwrap_or(0) {
        for column in 0..count {
            let place = weights.scale_and_min(first + column, block * BLOCK + group * shared);
            (to.scales[group][column], to.minima[group][column]) =
                place.expect("invariant: a matrix with scales has them everywhere");
        }
    }
    to
}

fn multiply(weights: &Packed, block: &Block, x: &XBlock<[f32; 2]>, sums: &[f32], y: &mut [f32; LANES]) {
    let kind = weights.scales();
    let length = if kind.inputs == 0 { BLOCK } else { kind.inputs };
    for group in 0..BLOCK / length {
        let (mut even, mut odd) = ([0.0f32; LANES], [0.0f32; LANES]);
        for k in (group * length..(group + 1) * length).step_by(2) {
            let (x_even, x_odd) = (x[0][k / 4][k % 4 / 2], x[1][k / 4][k % 4 / 2]);
            for lane in 0..LANES {
                even[lane] = x_even.mul_add(block.codes[k][lane], even[lane]);
                odd[lane] = x_odd.mul_add(block.codes[k + 1][lane], odd[lane]);
            }
        }
        let sum = if length == BLOCK { sums[2] } else { sums[group] };
        for lane in 0..LANES {
            let s = even[lane] + odd[lane];
            if kind.inputs == 0 {
                y[lane] += s;
                continue;
            }
            y[lane] = s.mul_add(block.scales[group][lane], y[lane]);
            if kind.has_min {
                y[lane] = sum.mul_add(block.minima[group][lane], y[lane]);
            }
        }
    }
}
