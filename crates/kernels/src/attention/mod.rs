//! Attention over a paged key-value cache in bf16: grouped queries, online softmax over splits at fixed positions.

use crate::Compute;

/// Tokens in one KV block.
pub const BLOCK_TOKENS: usize = 32;
/// Tokens in one split; every split is reduced alone and the splits are merged in order, so that the bits do not
/// depend on batch, chunk or threads.
pub const SPLIT_TOKENS: usize = 256;

/// Shape of one layer's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Multiplies q·k, usually 1/√head_dim.
    pub scale: f32,
}

/// The keys and values of all layers, as numbered blocks of [`BLOCK_TOKENS`] tokens.
pub struct KvCache {
    blocks: usize,
}

impl KvCache {
    /// Memory is reserved at once and becomes resident as blocks are written.
    pub fn new(_layers: usize, _blocks: usize, _kv_heads: usize, _head_dim: usize) -> Self {
        todo!()
    }

    /// Bytes of one block over all layers.
    pub fn block_bytes(_layers: usize, _kv_heads: usize, _head_dim: usize) -> usize {
        todo!()
    }

    pub fn blocks(&self) -> usize {
        self.blocks
    }
}

/// Consecutive rows of a batch that belong to one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// First row in the batch.
    pub row: usize,
    /// Rows of this step.
    pub count: usize,
    /// Position of the first row in its sequence = tokens already in the cache.
    pub position: usize,
    /// The sequence's blocks, enough for `position + count` tokens.
    pub blocks: &'a [u32],
}

/// Writes the spans' new keys and values (each rows × kv_heads·head_dim, with row stride `stride`) into `layer`.
pub fn store(_compute: &Compute, _cache: &mut KvCache, _layer: usize, _spans: &[Span<'_>], _keys: &[f32], _values: &[f32], _stride: usize) {
    todo!()
}

/// Causal attention of every row over its sequence's cache, the rows just stored included.
/// `queries`: rows × heads·head_dim with row stride `stride`; `out`: rows × heads·head_dim, dense.
pub fn attend(_compute: &Compute, _cache: &KvCache, _layer: usize, _shape: Shape, _spans: &[Span<'_>], _queries: &[f32], _stride: usize, _out: &mut [f32]) {
    todo!()
}
