//! Rotary position embedding in the rotate-half form (Su et al., 2021; GGML's NEOX order).

use super::{Heads, by_rows};
use crate::Compute;
use crate::memory::Disjoint;
use crate::simd::{Kernel, Simd, dispatch};

/// The rotation of one model.
pub struct Rope {
    inverse_frequencies: Vec<f64>,
    /// Multiplies sin and cos (YaRN's attention factor); 1 without scaling.
    magnitude: f32,
}

/// Sines and cosines of a batch's positions, computed once a step for all layers.
#[derive(Default)]
pub struct Angles {
    /// [row][cos | sin], each one value a pair of dimensions.
    values: Vec<f32>,
}

impl Rope {
    /// `inverse_frequencies`: one per pair of dimensions, scaling applied.
    pub fn new(inverse_frequencies: Vec<f64>, magnitude: f32) -> Self {
        Self { inverse_frequencies, magnitude }
    }

    /// Rotated dimensions of a head.
    pub fn dimensions(&self) -> usize {
        2 * self.inverse_frequencies.len()
    }

    /// Angles are taken in float64 by a portable libm, so that they are the same on every machine.
    pub fn angles(&self, compute: &Compute, positions: &[u32], angles: &mut Angles) {
        let pairs = self.inverse_frequencies.len();
        angles.values.resize(positions.len() * 2 * pairs, 0.0);
        let places = Disjoint::new(&mut angles.values);
        by_rows(compute, positions.len(), 64 * pairs, &|rows| {
            for row in rows {
                // SAFETY: each row belongs to one item.
                let (cos, sin) = unsafe { places.part(row * 2 * pairs, 2 * pairs) }.split_at_mut(pairs);
                for (pair, frequency) in self.inverse_frequencies.iter().enumerate() {
                    let (s, c) = libm::sincos(f64::from(positions[row]) * frequency);
                    cos[pair] = c as f32 * self.magnitude;
                    sin[pair] = s as f32 * self.magnitude;
                }
            }
        });
    }

    /// Rotates the heads in each row: (a, b) of dimensions (i, i + d/2) becomes (a·cos − b·sin, b·cos + a·sin).
    /// Dimensions past [`Rope::dimensions`] stay as they are.
    pub fn apply(&self, compute: &Compute, x: &mut [f32], at: Heads, angles: &Angles) {
        let Heads { stride, column, heads, head_dim } = at;
        let half = self.inverse_frequencies.len();
        let rows = x.len() / stride;
        assert!(2 * half <= head_dim, "rotated dimensions lie within a head");
        assert_eq!(angles.values.len(), rows * 2 * half, "angles for each row");
        let isa = compute.isa();
        let places = Disjoint::new(x);
        by_rows(compute, rows, heads * head_dim, &|rows| {
            for row in rows {
                let (cos, sin) = angles.values[row * 2 * half..][..2 * half].split_at(half);
                // SAFETY: each row belongs to one item.
                let x = unsafe { places.part(row * stride + column, heads * head_dim) };
                dispatch(isa, Rotate { x, head_dim, cos, sin });
            }
        });
    }
}

struct Rotate<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let half = self.cos.len();
        for head in self.x.chunks_exact_mut(self.head_dim) {
            let (low, high) = head[..2 * half].split_at_mut(half);
            let mut first = 0;
            while first < half {
                let (cos, sin) =
                    (super::load_tail(simd, &self.cos[first..]), super::load_tail(simd, &self.sin[first..]));
                let (a, b) = (super::load_tail(simd, &low[first..]), super::load_tail(simd, &high[first..]));
                let minus_sin = simd.sub(simd.zero(), sin);
                super::store_tail(simd, simd.fma(a, cos, simd.mul(b, minus_sin)), &mut low[first..]);
                super::store_tail(simd, simd.fma(b, cos, simd.mul(a, sin)), &mut high[first..]);
                first += crate::simd::LANES;
            }
        }
    }
}
