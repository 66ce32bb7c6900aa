//! Norms, rotary embedding, activation functions and sums, each one polynomial and one reduction order for every
//! instruction set.

use crate::Compute;

/// out = x / √(mean(x²) + eps) · weight, for each row of `weight.len()` values. `x` has row stride `stride`.
pub fn rms_norm(_compute: &Compute, _x: &[f32], _weight: &[f32], _eps: f32, _out: &mut [f32]) {
    todo!()
}

/// The same, in place, over `heads` consecutive groups of `weight.len()` values at the start of each row (QK-norm).
pub fn rms_norm_heads(_compute: &Compute, _x: &mut [f32], _stride: usize, _heads: usize, _weight: &[f32], _eps: f32) {
    todo!()
}

/// out_i = silu(gate_i) · up_i; `gate_up` has rows of [gate | up], `out` rows of half that length.
pub fn silu_mul(_compute: &Compute, _gate_up: &[f32], _width: usize, _out: &mut [f32]) {
    todo!()
}

/// x += y
pub fn add(_compute: &Compute, _x: &mut [f32], _y: &[f32]) {
    todo!()
}

/// Adds `bias` to the first `bias.len()` values of each row of length `stride`.
pub fn add_bias(_compute: &Compute, _x: &mut [f32], _stride: usize, _bias: &[f32]) {
    todo!()
}

/// Rotary position embedding in the rotate-half form (Su et al., 2021; GGML's NEOX order).
pub struct Rope {
    inverse_frequencies: Vec<f64>,
    /// Multiplies sin and cos (YaRN's attention factor); 1 without scaling.
    magnitude: f32,
}

impl Rope {
    /// `inverse_frequencies`: one per pair of dimensions, scaling applied.
    pub fn new(inverse_frequencies: Vec<f64>, magnitude: f32) -> Self {
        Self { inverse_frequencies, magnitude }
    }

    /// Rotates the first `heads` heads of `head_dim` in each row of length `stride`; `positions` has one entry a row.
    pub fn apply(&self, _compute: &Compute, _x: &mut [f32], _stride: usize, _heads: usize, _head_dim: usize, _positions: &[u32]) {
        let _ = (&self.inverse_frequencies, self.magnitude);
        todo!()
    }
}

/// log(Σ exp(x)) of a row of logits, and its maximum.
pub fn log_sum_exp(_row: &[f32]) -> f32 {
    todo!()
}
