//! Products of activations with packed weights: y = x · Wᵀ, by the canonical sum.

use crate::Compute;
use crate::quant::Packed;

/// Activations [rows × inputs] rounded to bf16, with the sums that formats with minima need. Reusable: `set` keeps
/// the allocation.
#[derive(Default)]
pub struct Operand {
    rows: usize,
    inputs: usize,
}

impl Operand {
    /// Rounds `values` (rows × inputs, row-major) to bf16.
    pub fn set(&mut self, _compute: &Compute, _rows: usize, _inputs: usize, _values: &[f32]) {
        todo!()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }
}

/// Multiplies in one parallel region: row r of `out` is [x_r·W₀ᵀ, x_r·W₁ᵀ, …], so its length is rows × Σ outputs.
pub fn matmul(_compute: &Compute, _x: &Operand, _weights: &[&Packed], _out: &mut [f32]) {
    todo!()
}
