//! The pre-norm decoder: embedding, layers of attention and feed-forward, final norm, output matrix.

use super::{Attention, AttentionParts, GatedMlp, Loader, RmsNorm, Scratch, Step, room, rope};
use crate::{Batch, Error};
use orrery_kernels::Compute;
use orrery_kernels::attention::{KvCache, Span};
use orrery_kernels::elementwise::{self, Angles, Rope};
use orrery_kernels::matmul::matmul;
use orrery_kernels::quant::Packed;

/// x += attention(norm(x)); x += mlp(norm(x)).
pub struct DecoderLayer {
    pub attention_norm: RmsNorm,
    pub attention: Attention,
    pub mlp_norm: RmsNorm,
    pub mlp: GatedMlp,
}

impl DecoderLayer {
    /// Layer `index` under GGUF's names, with the attention that `parts` tells.
    pub fn load(loader: &mut Loader<'_>, index: usize, parts: AttentionParts) -> Result<Self, Error> {
        let prefix = format!("blk.{index}.");
        let hidden = loader.hyper().hidden;
        Ok(Self {
            attention_norm: RmsNorm::load(loader, &format!("{prefix}attn_norm.weight"), hidden)?,
            attention: Attention::load(loader, &prefix, parts)?,
            mlp_norm: RmsNorm::load(loader, &format!("{prefix}ffn_norm.weight"), hidden)?,
            mlp: GatedMlp::load(loader, &prefix)?,
        })
    }

    fn forward(&self, step: &Step<'_>, index: usize, cache: &mut KvCache, x: &mut [f32], scratch: &mut Scratch) {
        self.attention_norm.apply(step.compute, x, room(&mut scratch.normed, x.len()));
        self.attention.forward(step, index, cache, scratch);
        elementwise::add(step.compute, x, room(&mut scratch.projected, x.len()));

        self.mlp_norm.apply(step.compute, x, room(&mut scratch.normed, x.len()));
        self.mlp.forward(step, scratch);
        elementwise::add(step.compute, x, room(&mut scratch.projected, x.len()));
    }
}

/// A whole model, with the buffers of its steps.
pub struct Decoder {
    embedding: Packed,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    /// `None`: the embedding is the output matrix too.
    output: Option<Packed>,
    rope: Rope,
    /// The residual stream, rows × hidden.
    stream: Vec<f32>,
    positions: Vec<u32>,
    angles: Angles,
    /// Empty between steps; kept for its allocation.
    spans: Vec<Span<'static>>,
    scratch: Scratch,
}

impl Decoder {
    /// Reads the parts that all architectures have, and the layers by `layer`.
    pub fn load(
        loader: &mut Loader<'_>,
        layer: impl Fn(&mut Loader<'_>, usize) -> Result<DecoderLayer, Error>,
    ) -> Result<Self, Error> {
        let hyper = loader.hyper();
        let (vocabulary, hidden, count) = (hyper.vocabulary, hyper.hidden, hyper.layers);
        let rope = rope::rope(hyper)?;
        let embedding = loader.matrix("token_embd.weight", vocabulary, hidden)?;
        let layers = (0..count).map(|index| layer(loader, index)).collect::<Result<_, _>>()?;
        let norm = RmsNorm::load(loader, "output_norm.weight", hidden)?;
        let output = match loader.has("output.weight") {
            true => Some(loader.matrix("output.weight", vocabulary, hidden)?),
            false => None,
        };
        Ok(Self {
            embedding,
            layers,
            norm,
            output,
            rope,
            stream: Vec::new(),
            positions: Vec::new(),
            angles: Angles::default(),
            spans: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Runs `batch`; `logits` becomes logits_rows × vocabulary.
    pub fn forward(&mut self, compute: &Compute, batch: &Batch, cache: &mut KvCache, logits: &mut Vec<f32>) {
        for copy in &batch.copies {
            cache.copy(copy.from, copy.to);
        }
        let hidden = self.embedding.inputs();
        let stream = room(&mut self.stream, batch.tokens.len() * hidden);
        self.embedding.rows(compute, &batch.tokens, stream);
        self.positions.clear();
        self.positions.extend(batch.positions());
        self.rope.angles(compute, &self.positions, &mut self.angles);
        let mut spans = recycle(std::mem::take(&mut self.spans));
        spans.extend(batch.spans.iter().map(|span| Span {
            row: span.row,
            count: span.count,
            position: span.position,
            stored: span.stored,
            blocks: &span.blocks,
        }));
        let rows = self.positions.len();
        let step = Step { compute, rope: &self.rope, angles: &self.angles, spans: &spans, rows };
        for (index, layer) in self.layers.iter().enumerate() {
            layer.forward(&step, index, cache, stream, &mut self.scratch);
        }
        self.spans = recycle(spans);
        self.project(compute, batch, logits);
    }

    /// The wanted rows of the stream → norm → output matrix.
    fn project(&mut self, compute: &Compute, batch: &Batch, logits: &mut Vec<f32>) {
        let (rows, hidden) = (batch.logits_rows.len(), self.embedding.inputs());
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        logits.resize(rows * output.outputs(), 0.0);
        if rows == 0 {
            return;
        }
        let Scratch { operand, normed, projected, .. } = &mut self.scratch;
        let wanted = room(projected, rows * hidden);
        for (to, &row) in wanted.chunks_exact_mut(hidden).zip(&batch.logits_rows) {
            to.copy_from_slice(&self.stream[row * hidden..][..hidden]);
        }
        let normed = room(normed, rows * hidden);
        self.norm.apply(compute, wanted, normed);
        operand.set(compute, rows, hidden, normed);
        matmul(compute, operand, &[output], logits);
    }
}

/// The same allocation for spans of another lifetime: collecting an empty vector in place keeps its memory.
fn recycle<'to>(mut spans: Vec<Span<'_>>) -> Vec<Span<'to>> {
    spans.clear();
    spans.into_iter().map(|_| unreachable!("invariant: the vector was cleared")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycling_keeps_the_allocation() {
        let blocks = vec![1];
        let mut spans = Vec::with_capacity(40);
        spans.push(Span { row: 0, count: 1, position: 0, stored: 0, blocks: &blocks });
        let kept: Vec<Span<'static>> = recycle(spans);
        assert!(kept.is_empty() && kept.capacity() == 40);
    }
}
