//! Attention over a paged key-value cache in bf16: grouped queries, softmax over splits at fixed positions.
//!
//! The canonical result of a row at position t: queries are rounded to bf16; scores are canonical products (two chains
//! per 32 dimensions) times the scale. For each split of [`SPLIT_TOKENS`] positions: m = max score, p = exp(score − m) rounded to
//! bf16, l = Σp, o = p·V as a canonical product over each 32 tokens. Splits are merged in order as in flash decoding
//! (Dao et al., 2023). Nothing depends on what else is in the batch.
//!
//! Start at [`attend`]; [`cache`] owns the layout of keys and values.

mod cache;
mod softmax;

pub use cache::{KvCache, store};

use crate::Compute;
use crate::memory::Disjoint;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use softmax::{Partial, softmax_split};

/// Tokens in one KV block: the K of one tile.
pub const BLOCK_TOKENS: usize = 32;
/// Tokens in one split; every split is reduced alone and the splits are merged in order, so that the bits do not
/// depend on batch, chunk or threads.
pub const SPLIT_TOKENS: usize = 256;
/// Largest head dimension that the kernels hold on the stack.
pub const HEAD_DIM_MAX: usize = 256;

/// Query rows (token and head) in one register block.
const QUERIES: usize = 6;
/// Tokens of a span that one work item takes.
const ITEM_ROWS: usize = 16;

/// Shape of one layer's attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Multiplies q·k, usually 1/√head_dim.
    pub scale: f32,
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

/// Rows of queries, keys or values within wider rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// From the first value of the first row on.
    pub values: &'a [f32],
    /// Distance between the starts of two rows.
    pub stride: usize,
}

/// Causal attention of every row over its sequence's cache, the rows just stored included.
/// `queries`: heads·head_dim values a row; `out`: rows × heads·head_dim, dense.
///
/// # Panics
/// When a shape is not the cache's, or a span reaches past its blocks or the slices: mistakes of the caller.
pub fn attend(
    compute: &Compute,
    cache: &KvCache,
    layer: usize,
    shape: Shape,
    spans: &[Span<'_>],
    queries: Rows<'_>,
    out: &mut [f32],
) {
    assert_eq!((shape.kv_heads, shape.head_dim), cache.heads(), "the cache has this shape");
    assert!(shape.heads.is_multiple_of(shape.kv_heads), "query heads share key-value heads evenly");
    for span in spans {
        cache.check(span);
    }
    let items = spans.iter().map(|span| span.count.div_ceil(ITEM_ROWS)).sum::<usize>() * shape.kv_heads;
    let isa = compute.isa();
    let out = Disjoint::new(out);
    compute.pool().each(items, &|index| {
        let kv_head = index % shape.kv_heads;
        let (span, rows) = find(spans, index / shape.kv_heads);
        dispatch(isa, Item { cache, layer, shape, span, rows, kv_head, queries, out });
    });
}

/// The span and the rows within it of a work item.
fn find<'a>(spans: &'a [Span<'a>], mut index: usize) -> (&'a Span<'a>, std::ops::Range<usize>) {
    for span in spans {
        let items = span.count.div_ceil(ITEM_ROWS);
        if index < items {
            let first = index * ITEM_ROWS;
            return (span, first..(first + ITEM_ROWS).min(span.count));
        }
        index -= items;
    }
    unreachable!("invariant: item indices are below the number of items")
}

struct Item<'a> {
    cache: &'a KvCache,
    layer: usize,
    shape: Shape,
    span: &'a Span<'a>,
    /// Rows within the span.
    rows: std::ops::Range<usize>,
    kv_head: usize,
    queries: Rows<'a>,
    out: Disjoint<'a, f32>,
}

impl Kernel for Item<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let group = self.shape.heads / self.shape.kv_heads;
        let total = self.rows.len() * group;
        let mut first = 0;
        while first < total {
            if S::PORTABLE {
                self.queries::<S, 1>(simd, first, group);
                first += 1;
                continue;
            }
            let count = QUERIES.min(total - first);
            match count {
                1 => self.queries::<S, 1>(simd, first, group),
                2 => self.queries::<S, 2>(simd, first, group),
                3 => self.queries::<S, 3>(simd, first, group),
                4 => self.queries::<S, 4>(simd, first, group),
                5 => self.queries::<S, 5>(simd, first, group),
                _ => self.queries::<S, 6>(simd, first, group),
            }
            first += count;
        }
    }
}

/// Query vectors, rounded to bf16.
type Queries<const Q: usize> = [[f32; HEAD_DIM_MAX]; Q];
/// Scores or probabilities of one split.
type Scores<const Q: usize> = [[f32; SPLIT_TOKENS]; Q];

impl Item<'_> {
    /// Row of the batch and head of query `index` of this item.
    #[inline(always)]
    fn place(&self, index: usize, group: usize) -> (usize, usize) {
        (self.span.row + self.rows.start + index / group, self.kv_head * group + index % group)
    }

    #[inline(always)]
    fn queries<S: Simd, const Q: usize>(&self, simd: S, first: usize, group: usize) {
        let dim = self.shape.head_dim;
        let mut queries: Queries<Q> = [[0.0; HEAD_DIM_MAX]; Q];
        let mut ends = [0; Q];
        for q in 0..Q {
            let (row, head) = self.place(first + q, group);
            let from = &self.queries.values[row * self.queries.stride + head * dim..][..dim];
            for (from, to) in from.as_chunks::<LANES>().0.iter().zip(queries[q].as_chunks_mut::<LANES>().0) {
                simd.store(simd.round_bf16(simd.load(from)), to);
            }
            ends[q] = self.span.position + (row - self.span.row) + 1;
        }
        let longest = ends.into_iter().fold(0, usize::max);
        let mut merged: [Partial; Q] = [const { Partial::EMPTY }; Q];
        for split in 0..longest.div_ceil(SPLIT_TOKENS) {
            self.split::<S, Q>(simd, split, &queries, &ends, &mut merged);
        }
        for (q, partial) in merged.iter().enumerate() {
            let (row, head) = self.place(first + q, group);
            // SAFETY: every row and head belongs to one work item.
            let out = unsafe { self.out.part((row * self.shape.heads + head) * dim, dim) };
            partial.finish(simd, out);
        }
    }

    #[inline(always)]
    fn split<S: Simd, const Q: usize>(
        &self,
        simd: S,
        split: usize,
        queries: &Queries<Q>,
        ends: &[usize; Q],
        merged: &mut [Partial; Q],
    ) {
        let start = split * SPLIT_TOKENS;
        let mut lengths = [0; Q];
        for q in 0..Q {
            lengths[q] = ends[q].saturating_sub(start).min(SPLIT_TOKENS);
        }
        let longest = lengths.into_iter().fold(0, usize::max);
        let blocks = longest.div_ceil(BLOCK_TOKENS);
        let mut scores: Scores<Q> = [[0.0; SPLIT_TOKENS]; Q];
        for block in 0..blocks {
            let keys = self.cache.keys(self.layer, self.span.blocks[start / BLOCK_TOKENS + block], self.kv_head);
            self.scores::<S, Q>(simd, keys, queries, block, &mut scores);
        }
        let mut fresh: [Partial; Q] = [const { Partial::EMPTY }; Q];
        for q in 0..Q {
            (fresh[q].max, fresh[q].sum) = softmax_split(simd, &mut scores[q], lengths[q], blocks * BLOCK_TOKENS);
        }
        for block in 0..blocks {
            let values = self.cache.values(self.layer, self.span.blocks[start / BLOCK_TOKENS + block], self.kv_head);
            self.mix::<S, Q>(simd, values, &scores, block, &mut fresh);
        }
        for q in 0..Q {
            if lengths[q] > 0 {
                merged[q].merge(simd, &fresh[q], self.shape.head_dim);
            }
        }
    }

    /// Scores of one block's tokens, in tiles of sixteen.
    #[inline(always)]
    fn scores<S: Simd, const Q: usize>(
        &self,
        simd: S,
        keys: &[u16],
        queries: &Queries<Q>,
        block: usize,
        scores: &mut Scores<Q>,
    ) {
        let dim = self.shape.head_dim;
        for (tile, keys) in keys.chunks_exact(dim * LANES).enumerate() {
            let mut total = [simd.zero(); Q];
            for first in (0..dim).step_by(32) {
                let width = 32.min(dim - first);
                let mut x = [&[0.0f32; 0][..]; Q];
                for q in 0..Q {
                    x[q] = &queries[q][first..first + width];
                }
                let product = pair_product::<S, Q>(simd, &keys[first * LANES..(first + width) * LANES], x);
                for q in 0..Q {
                    total[q] = simd.add(total[q], product[q]);
                }
            }
            for q in 0..Q {
                let at = block * BLOCK_TOKENS + tile * LANES;
                let lanes: &mut [f32; LANES] =
                    (&mut scores[q][at..at + LANES]).try_into().expect("invariant: sixteen scores");
                simd.store(simd.mul(total[q], simd.splat(self.shape.scale)), lanes);
            }
        }
    }

    /// Adds one block's probabilities times values to the outputs.
    #[inline(always)]
    fn mix<S: Simd, const Q: usize>(
        &self,
        simd: S,
        values: &[u16],
        probabilities: &Scores<Q>,
        block: usize,
        fresh: &mut [Partial; Q],
    ) {
        let mut x = [&[0.0f32; 0][..]; Q];
        for q in 0..Q {
            x[q] = &probabilities[q][block * BLOCK_TOKENS..][..BLOCK_TOKENS];
        }
        for (tile, values) in values.chunks_exact(BLOCK_TOKENS * LANES).enumerate() {
            let product = pair_product::<S, Q>(simd, values, x);
            for q in 0..Q {
                let lanes = &mut fresh[q].out.0.as_chunks_mut::<LANES>().0[tile];
                simd.store(simd.add(simd.load(lanes), product[q]), lanes);
            }
        }
    }
}

/// The canonical sum of Q rows with bf16 pairs [pair][lane][2]: the even chain plus the odd chain.
#[inline(always)]
fn pair_product<S: Simd, const Q: usize>(simd: S, pairs: &[u16], x: [&[f32]; Q]) -> [S::F; Q] {
    let lines = pairs.as_chunks::<{ 2 * LANES }>().0;
    let mut even = [simd.zero(); Q];
    for (pair, line) in lines.iter().enumerate() {
        let low = simd.low_bf16(load_pairs(simd, line));
        for q in 0..Q {
            even[q] = simd.fma(simd.splat(x[q][2 * pair]), low, even[q]);
        }
    }
    let mut odd = [simd.zero(); Q];
    for (pair, line) in lines.iter().enumerate() {
        let high = simd.high_bf16(load_pairs(simd, line));
        for q in 0..Q {
            odd[q] = simd.fma(simd.splat(x[q][2 * pair + 1]), high, odd[q]);
        }
    }
    for q in 0..Q {
        even[q] = simd.add(even[q], odd[q]);
    }
    even
}

#[inline(always)]
fn load_pairs<S: Simd>(simd: S, line: &[u16; 2 * LANES]) -> S::I {
    debug_assert!(line.as_ptr().cast::<u32>().is_aligned());
    // SAFETY: lines start at multiples of 64 bytes in 64-byte aligned memory; any bytes are valid u32.
    simd.load_bits(unsafe { &*line.as_ptr().cast::<[u32; LANES]>() })
}
