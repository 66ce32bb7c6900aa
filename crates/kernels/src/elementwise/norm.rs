//! Root-mean-square norms (Zhang and Sennrich, 2019).

use super::{Heads, by_rows, load_tail, store_tail};
use crate::Compute;
use crate::memory::Disjoint;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// out = x / √(mean(x²) + eps) · weight, for each row of `weight.len()` values.
pub fn rms_norm(compute: &Compute, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    assert_eq!(x.len(), out.len(), "as many outputs as inputs");
    let isa = compute.isa();
    let places = Disjoint::new(out);
    by_rows(compute, x.len() / width, width, &|rows| {
        let x = &x[rows.start * width..rows.end * width];
        // SAFETY: each item has its own rows.
        let out = unsafe { places.part(rows.start * width, x.len()) };
        out.copy_from_slice(x);
        dispatch(isa, Norm { x: out, weight, eps });
    });
}

/// The same in place over each head of each row (QK-norm); `weight` has `head_dim` values.
pub fn rms_norm_heads(compute: &Compute, x: &mut [f32], at: Heads, weight: &[f32], eps: f32) {
    assert_eq!(weight.len(), at.head_dim, "a weight for each dimension of a head");
    let (column, len) = (at.column, at.heads * at.head_dim);
    for row in x.chunks_exact_mut(at.stride) {
        dispatch(compute.isa(), Norm { x: &mut row[column..column + len], weight, eps });
    }
}

struct Norm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for row in self.x.chunks_exact_mut(width) {
            let mut squares = simd.zero();
            let mut first = 0;
            while first < width {
                let x = load_tail(simd, &row[first..]);
                squares = simd.fma(x, x, squares);
                first += LANES;
            }
            let mean = simd.reduce_add(squares) / width as f32;
            let scale = simd.splat(1.0 / (mean + self.eps).sqrt());
            first = 0;
            while first < width {
                let x = simd.mul(load_tail(simd, &row[first..]), scale);
                store_tail(simd, simd.mul(x, load_tail(simd, &self.weight[first..])), &mut row[first..]);
                first += LANES;
            }
        }
    }
}
