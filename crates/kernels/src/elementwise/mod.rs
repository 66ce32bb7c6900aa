//! Norms, rotary embedding, activation functions and sums: one polynomial and one reduction order for every
//! instruction set.
//!
//! Reductions run in sixteen lanes over the row, then in a fixed tree of halves. Rows are divided among threads, never
//! the sums of a row.

mod exp;
mod norm;
mod rope;
pub mod weights;

pub(crate) use exp::exp;
pub use norm::{rms_norm, rms_norm_heads};
pub use rope::{Angles, Rope};

use crate::Compute;
use crate::memory::Disjoint;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Where heads lie within the rows of a wider matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Length of a row.
    pub stride: usize,
    /// First value of the first head in a row.
    pub column: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Values that are worth a thread of their own.
const ITEM_VALUES: usize = 16 * 1024;

/// Calls `work` with ranges of rows, on several threads where there is enough to do.
fn by_rows(compute: &Compute, rows: usize, width: usize, work: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let chunk = (ITEM_VALUES / width.max(1)).max(1);
    compute.pool().each(rows.div_ceil(chunk), &|index| work(index * chunk..((index + 1) * chunk).min(rows)));
}

/// out_i = silu(gate_i) · up_i with silu(x) = x / (1 + exp(−x)); `gate_up` has rows of [gate | up] of `width` values each,
/// `out` rows of `width`.
pub fn silu_mul(compute: &Compute, gate_up: &[f32], width: usize, out: &mut [f32]) {
    assert_eq!(gate_up.len(), 2 * out.len(), "gate and up for each output");
    let isa = compute.isa();
    let places = Disjoint::new(out);
    by_rows(compute, gate_up.len() / (2 * width), width, &|rows| {
        for row in rows {
            let (gate, up) = gate_up[row * 2 * width..][..2 * width].split_at(width);
            // SAFETY: each row belongs to one item.
            let out = unsafe { places.part(row * width, width) };
            dispatch(isa, SiluMul { gate, up, out });
        }
    });
}

struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut first = 0;
        while first < self.out.len() {
            let (gate, up) = (load_tail(simd, &self.gate[first..]), load_tail(simd, &self.up[first..]));
            let e = exp::exp(simd, simd.sub(simd.zero(), gate));
            let silu = simd.div(gate, simd.add(simd.splat(1.0), e));
            store_tail(simd, simd.mul(silu, up), &mut self.out[first..]);
            first += LANES;
        }
    }
}

/// x += y
pub fn add(compute: &Compute, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "as many values on both sides");
    let isa = compute.isa();
    let len = x.len();
    let places = Disjoint::new(x);
    compute.pool().each(len.div_ceil(ITEM_VALUES), &|item| {
        let first = item * ITEM_VALUES;
        let count = ITEM_VALUES.min(len - first);
        // SAFETY: each item has its own range.
        dispatch(isa, Add { x: unsafe { places.part(first, count) }, y: &y[first..first + count] });
    });
}

/// Adds `bias` to the values `column .. column + bias.len()` of each row of length `stride`.
pub fn add_bias(compute: &Compute, x: &mut [f32], stride: usize, column: usize, bias: &[f32]) {
    for row in x.chunks_exact_mut(stride) {
        dispatch(compute.isa(), Add { x: &mut row[column..column + bias.len()], y: bias });
    }
}

struct Add<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut first = 0;
        while first < self.x.len() {
            let sum = simd.add(load_tail(simd, &self.x[first..]), load_tail(simd, &self.y[first..]));
            store_tail(simd, sum, &mut self.x[first..]);
            first += LANES;
        }
    }
}

/// The first sixteen values, zeros past the end.
#[inline(always)]
fn load_tail<S: Simd>(simd: S, from: &[f32]) -> S::F {
    if let Some(lanes) = from.first_chunk::<LANES>() {
        return simd.load(lanes);
    }
    let mut lanes = [0.0; LANES];
    lanes[..from.len()].copy_from_slice(from);
    simd.load(&lanes)
}

#[inline(always)]
fn store_tail<S: Simd>(simd: S, value: S::F, to: &mut [f32]) {
    if let Some(lanes) = to.first_chunk_mut::<LANES>() {
        return simd.store(value, lanes);
    }
    let mut lanes = [0.0; LANES];
    simd.store(value, &mut lanes);
    let len = to.len();
    to.copy_from_slice(&lanes[..len]);
}
