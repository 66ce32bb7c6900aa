//! The keys and values of all layers, as numbered blocks of tokens.
//!
//! One block of one layer and key-value head holds, in bf16:
//!
//! ```text
//! keys    [2 tiles of 16 tokens][head_dim/4][even, odd dimension][16 tokens][2]   tokens are the lanes of scores
//! values  [head_dim/16 tiles][32/4 tokens][even, odd token][16 dims][2]           dimensions are the lanes of outputs
//! ```
//!
//! A lane holds two neighbours of a chain (x and x + 2), the first in its high half: a line is a duo. The order is
//! [layer][group of blocks][head][keys | values][block of the group], so that a split of a sequence whose blocks follow each other is
//! read as two long runs, which the processor fetches ahead by itself.

use super::{BLOCK_TOKENS, HEAD_DIM_MAX, Rows, SPLIT_TOKENS, Span};
use crate::memory::{Aligned, Disjoint};
use crate::quant::half::f32_to_bf16;
use crate::simd::LANES;
use crate::{Compute, Error};

/// Blocks whose keys (or values) of one head lie side by side.
const GROUP: usize = SPLIT_TOKENS / BLOCK_TOKENS;

/// The paged cache. Blocks are given out by the caller; writing a block's first token clears what was in it.
pub struct KvCache {
    blocks: usize,
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
    memory: Aligned<u16>,
}

impl KvCache {
    /// Memory is reserved at once and becomes resident as blocks are written. Refuses head dimensions that are no multiple
    /// of 16 or over [`HEAD_DIM_MAX`].
    pub fn new(layers: usize, blocks: usize, kv_heads: usize, head_dim: usize) -> Result<Self, Error> {
        if !head_dim.is_multiple_of(LANES) || head_dim == 0 || head_dim > HEAD_DIM_MAX {
            return Err(Error::HeadDim { head_dim, max: HEAD_DIM_MAX });
        }
        let len = layers * blocks.div_ceil(GROUP) * GROUP * kv_heads * 2 * Self::half_len(head_dim);
        Ok(Self { blocks, layers, kv_heads, head_dim, memory: Aligned::zeroed(len) })
    }

    /// Bytes of one block over all layers.
    pub fn block_bytes(layers: usize, kv_heads: usize, head_dim: usize) -> usize {
        layers * kv_heads * 2 * Self::half_len(head_dim) * size_of::<u16>()
    }

    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Numbers of one head's keys, or values, in one block.
    const fn half_len(head_dim: usize) -> usize {
        BLOCK_TOKENS * head_dim
    }

    fn place(&self, layer: usize, head: usize) -> Place {
        let half = Self::half_len(self.head_dim);
        let values = GROUP * half;
        let group = self.kv_heads * 2 * values;
        Place { first: layer * self.blocks.div_ceil(GROUP) * group, group, values, half }.head(head)
    }

    pub(super) fn heads(&self) -> (usize, usize) {
        (self.kv_heads, self.head_dim)
    }

    /// # Panics
    /// When the span's blocks do not hold its tokens, or do not exist.
    pub(super) fn check(&self, span: &Span<'_>) {
        let needed = (span.position + span.count).div_ceil(BLOCK_TOKENS);
        assert!(span.blocks.len() >= needed, "{} blocks for {needed}", span.blocks.len());
        assert!(span.blocks.iter().all(|&block| (block as usize) < self.blocks), "a block past the cache");
    }

    /// Copies the contents of a block, in all layers.
    ///
    /// # Panics
    /// When a block does not exist.
    pub fn copy(&mut self, from: u32, to: u32) {
        let exists = |block: u32| (block as usize) < self.blocks;
        assert!(exists(from) && exists(to), "block {from} or {to} of {}", self.blocks);
        for layer in 0..self.layers {
            for head in 0..self.kv_heads {
                let place = self.place(layer, head);
                for (from, to) in [(place.keys(from), place.keys(to)), (place.values(from), place.values(to))] {
                    self.memory.as_mut_slice().copy_within(from..from + place.half, to);
                }
            }
        }
    }

    pub(super) fn keys(&self, layer: usize, block: u32, head: usize) -> &[u16] {
        let place = self.place(layer, head);
        &self.memory.as_slice()[place.keys(block)..][..place.half]
    }

    pub(super) fn values(&self, layer: usize, block: u32, head: usize) -> &[u16] {
        let place = self.place(layer, head);
        &self.memory.as_slice()[place.values(block)..][..place.half]
    }
}

/// Where one head's blocks lie in one layer.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    /// From one group of blocks to the next.
    group: usize,
    /// From a group's keys to its values.
    values: usize,
    /// Keys, or values, of one block.
    half: usize,
}

impl Place {
    /// The same for a head so many further.
    fn head(self, count: usize) -> Self {
        Self { first: self.first + count * 2 * self.values, ..self }
    }

    fn keys(self, block: u32) -> usize {
        let block = block as usize;
        self.first + block / GROUP * self.group + block % GROUP * self.half
    }

    fn values(self, block: u32) -> usize {
        self.keys(block) + self.values
    }
}

/// Writes the spans' new keys and values (each kv_heads·head_dim values a row) into `layer`, rounded to bf16. Spans have
/// blocks of their own where they write.
///
/// # Panics
/// When a span reaches past its blocks or the rows: mistakes of the caller.
pub fn store(
    compute: &Compute,
    cache: &mut KvCache,
    layer: usize,
    spans: &[Span<'_>],
    keys: Rows<'_>,
    values: Rows<'_>,
) {
    assert!(layer < cache.layers, "layer {layer} of {}", cache.layers);
    for span in spans {
        cache.check(span);
    }
    let (heads, dim) = cache.heads();
    let first_head = cache.place(layer, 0);
    let memory = Disjoint::new(cache.memory.as_mut_slice());
    compute.pool().each(spans.len() * heads, &|index| {
        let (span, head) = (&spans[index / heads], index % heads);
        for offset in span.stored..span.count {
            let position = span.position + offset;
            let (place, block) = (first_head.head(head), span.blocks[position / BLOCK_TOKENS]);
            // SAFETY: spans write to blocks of their own, and each item to one head.
            let place =
                unsafe { [memory.part(place.keys(block), place.half), memory.part(place.values(block), place.half)] };
            let row = span.row + offset;
            let key = &keys.values[row * keys.stride + head * dim..][..dim];
            let value = &values.values[row * values.stride + head * dim..][..dim];
            put(place, position % BLOCK_TOKENS, key, value);
        }
    });
}

fn put([keys, values]: [&mut [u16]; 2], token: usize, key: &[f32], value: &[f32]) {
    if token == 0 {
        keys.fill(0);
        values.fill(0);
    }
    let dim = key.len();
    let tile = &mut keys[token / LANES * LANES * dim..][..LANES * dim];
    for (d, &key) in key.iter().enumerate() {
        tile[place_in_lines(d, token % LANES)] = f32_to_bf16(key);
    }
    for (d, &value) in value.iter().enumerate() {
        values[d / LANES * LANES * BLOCK_TOKENS + place_in_lines(token, d % LANES)] = f32_to_bf16(value);
    }
}

/// Where the number of step `k` of a sum lies in a lane of its lines.
fn place_in_lines(k: usize, lane: usize) -> usize {
    let (line, low) = (k / 4 * 2 + k % 2, k % 4 / 2);
    (line * LANES + lane) * 2 + 1 - low
}
