//! The gated feed-forward layer, SwiGLU (Shazeer, 2020): down(silu(gate(x)) · up(x)).

use super::{Loader, Scratch, Step, room};
use crate::Error;
use orrery_kernels::elementwise;
use orrery_kernels::matmul::matmul;
use orrery_kernels::quant::Packed;

/// One layer's feed-forward matrices.
pub struct GatedMlp {
    gate: Packed,
    up: Packed,
    down: Packed,
}

impl GatedMlp {
    /// Reads `{prefix}ffn_gate.weight`, `ffn_up` and `ffn_down`.
    pub fn load(loader: &mut Loader<'_>, prefix: &str) -> Result<Self, Error> {
        let (hidden, intermediate) = (loader.hyper().hidden, loader.hyper().intermediate);
        Ok(Self {
            gate: loader.matrix(&format!("{prefix}ffn_gate.weight"), intermediate, hidden)?,
            up: loader.matrix(&format!("{prefix}ffn_up.weight"), intermediate, hidden)?,
            down: loader.matrix(&format!("{prefix}ffn_down.weight"), hidden, intermediate)?,
        })
    }

    /// `scratch.normed` → `scratch.projected`.
    pub fn forward(&self, step: &Step<'_>, scratch: &mut Scratch) {
        let (compute, rows) = (step.compute, step.rows);
        let (hidden, intermediate) = (self.gate.inputs(), self.gate.outputs());
        let Scratch { operand, normed, gate_up, activated, projected, .. } = scratch;

        operand.set(compute, rows, hidden, room(normed, rows * hidden));
        let gate_up = room(gate_up, rows * 2 * intermediate);
        matmul(compute, operand, &[&self.gate, &self.up], gate_up);
        let activated = room(activated, rows * intermediate);
        elementwise::silu_mul(compute, gate_up, intermediate, activated);

        operand.set(compute, rows, intermediate, activated);
        matmul(compute, operand, &[&self.down], room(projected, rows * hidden));
    }
}
