//! Grouped-query self-attention with rotary positions (Ainslie et al., 2023; Su et al., 2021).

use super::{Loader, RmsNorm, Scratch, Step, room};
use crate::Error;
use orrery_kernels::attention::{self as kernel, KvCache, Rows, Shape};
use orrery_kernels::elementwise::{self, Heads};
use orrery_kernels::matmul::matmul;
use orrery_kernels::quant::Packed;

/// What attention has beyond its four matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttentionParts {
    /// Biases of q, k and v (Qwen2).
    pub qkv_bias: bool,
    /// Norms of each head's q and k before the rotation (Qwen3).
    pub qk_norm: bool,
}

/// One layer's attention. Rows of the projections are in rotate-half order, however the file has them.
pub struct Attention {
    query: Packed,
    key: Packed,
    value: Packed,
    output: Packed,
    /// [q | k | v], or empty.
    bias: Vec<f32>,
    qk_norm: Option<(RmsNorm, RmsNorm)>,
    shape: Shape,
}

impl Attention {
    /// Reads `{prefix}attn_q.weight` and its companions.
    pub fn load(loader: &mut Loader<'_>, prefix: &str, parts: AttentionParts) -> Result<Self, Error> {
        let hyper = loader.hyper();
        let (heads, kv_heads, head_dim, hidden) = (hyper.heads, hyper.kv_heads, hyper.head_dim, hyper.hidden);
        let turned = hyper.rope_interleaved;
        let order = |heads| turned.then(|| rotate_half_order(heads, head_dim));
        let (q_order, k_order) = (order(heads), order(kv_heads));
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let name = |part: &str| format!("{prefix}attn_{part}");

        let query = loader.matrix_in_order(&name("q.weight"), q_width, hidden, q_order.as_deref())?;
        let key = loader.matrix_in_order(&name("k.weight"), kv_width, hidden, k_order.as_deref())?;
        let value = loader.matrix(&name("v.weight"), kv_width, hidden)?;
        let output = loader.matrix(&name("output.weight"), hidden, q_width)?;
        let mut bias = Vec::new();
        if parts.qkv_bias {
            bias.extend(reordered(loader.vector(&name("q.bias"), q_width)?, q_order.as_deref()));
            bias.extend(reordered(loader.vector(&name("k.bias"), kv_width)?, k_order.as_deref()));
            bias.extend(loader.vector(&name("v.bias"), kv_width)?);
        }
        let mut qk_norm = None;
        if parts.qk_norm {
            let of_query = RmsNorm::load(loader, &name("q_norm.weight"), head_dim)?;
            qk_norm = Some((of_query, RmsNorm::load(loader, &name("k_norm.weight"), head_dim)?));
        }
        let shape = Shape { heads, kv_heads, head_dim, scale: (1.0 / (head_dim as f64).sqrt()) as f32 };
        Ok(Self { query, key, value, output, bias, qk_norm, shape })
    }

    /// `scratch.normed` → `scratch.projected`; stores the step's keys and values of `layer` in `cache`.
    pub fn forward(&self, step: &Step<'_>, layer: usize, cache: &mut KvCache, scratch: &mut Scratch) {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let (compute, rows) = (step.compute, step.rows);
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let stride = q_width + 2 * kv_width;
        let hidden = self.output.outputs();
        let Scratch { operand, normed, qkv, attended, projected, .. } = scratch;

        operand.set(compute, rows, hidden, room(normed, rows * hidden));
        let qkv = room(qkv, rows * stride);
        matmul(compute, operand, &[&self.query, &self.key, &self.value], qkv);
        if !self.bias.is_empty() {
            elementwise::add_bias(compute, qkv, stride, 0, &self.bias);
        }
        if let Some((of_query, of_key)) = &self.qk_norm {
            of_query.apply_heads(compute, qkv, stride, 0, heads);
            of_key.apply_heads(compute, qkv, stride, q_width, kv_heads);
        }
        // q and k lie side by side, so their heads are turned together.
        let rotated = Heads { stride, column: 0, heads: heads + kv_heads, head_dim };
        step.rope.apply(compute, qkv, rotated, step.angles);

        let from = |column: usize| Rows { values: &qkv[column..], stride };
        kernel::store(compute, cache, layer, step.spans, from(q_width), from(q_width + kv_width));
        let attended = room(attended, rows * q_width);
        kernel::attend(compute, cache, layer, self.shape, step.spans, from(0), attended);

        operand.set(compute, rows, q_width, attended);
        matmul(compute, operand, &[&self.output], room(projected, rows * hidden));
    }
}

/// For each row in rotate-half order (i, i + d/2), its row in the interleaved order (2i, 2i + 1) of the same head.
///
/// ```text
/// rotate-half:  0 1 2 … d/2−1 | d/2 …       interleaved:  0 d/2 | 1 d/2+1 | 2 …
/// ```
fn rotate_half_order(heads: usize, head_dim: usize) -> Vec<u32> {
    let half = head_dim / 2;
    let within = (0..head_dim).map(|row| 2 * (row % half) + row / half).collect::<Vec<_>>();
    (0..heads).flat_map(|head| within.iter().map(move |row| (head * head_dim + row) as u32)).collect()
}

fn reordered(values: Vec<f32>, order: Option<&[u32]>) -> Vec<f32> {
    match order {
        None => values,
        Some(order) => order.iter().map(|&index| values[index as usize]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_come_back_to_rotate_half() {
        assert_eq!(rotate_half_order(2, 6), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn values_follow_the_order() {
        assert_eq!(reordered(vec![10.0, 11.0, 12.0, 13.0], Some(&[0, 2, 1, 3])), [10.0, 12.0, 11.0, 13.0]);
        assert_eq!(reordered(vec![10.0, 11.0], None), [10.0, 11.0]);
    }
}
