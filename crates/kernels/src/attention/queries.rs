//! A block of queries against one split of their sequence: scores, softmax, and the mix of values.

use super::softmax::{Partial, softmax_rows};
use super::{BLOCK_TOKENS, HEAD_DIM_MAX, KvCache, Rows, SPLIT_TOKENS, Shape, Span};
use crate::simd::{BLOCK, DUOS, LANES, Simd, XBlock};

/// The queries of a span that share a key-value head.
pub(super) struct Queries<'a> {
    pub cache: &'a KvCache,
    pub layer: usize,
    pub shape: Shape,
    pub span: &'a Span<'a>,
    pub kv_head: usize,
    pub queries: Rows<'a>,
}

/// Queries up to which two tiles share the activations in registers, where there are 32 of them.
const PAIRED_QUERIES: usize = 4;

/// Parts (keys or values of a block) between the one that is worked on and the one that is asked for.
const AHEAD: usize = 2;

/// A query vector, rounded to bf16.
type Vector<X> = [XBlock<X>; HEAD_DIM_MAX / BLOCK];
/// Lines of duos: [duo][chain][lane].
type Line = [u16; 2 * LANES];

impl Queries<'_> {
    /// Query heads of the key-value head.
    pub(super) fn group(&self) -> usize {
        self.shape.heads / self.shape.kv_heads
    }

    /// The vector of a row of the span and a head of the group.
    pub(super) fn vector(&self, row: usize, head: usize) -> &[f32] {
        let (dim, head) = (self.shape.head_dim, self.kv_head * self.group() + head);
        &self.queries.values[(self.span.row + row) * self.queries.stride + head * dim..][..dim]
    }

    /// The queries at (row of the span, head of the group).
    #[inline(always)]
    pub(super) fn load<S: Simd, const Q: usize>(&self, simd: S, at: [(usize, usize); Q]) -> [Vector<S::X>; Q] {
        let zero = simd.pack_block([simd.zero(); 2]);
        let mut vectors = [[zero; HEAD_DIM_MAX / BLOCK]; Q];
        for q in 0..Q {
            let from = self.vector(at[q].0, at[q].1);
            for (lanes, to) in from.as_chunks::<LANES>().0.chunks(2).zip(&mut vectors[q]) {
                let first = simd.round_bf16(simd.load(&lanes[0]));
                let second = lanes.get(1).map_or(simd.zero(), |lanes| simd.round_bf16(simd.load(lanes)));
                *to = simd.pack_block([first, second]);
            }
        }
        vectors
    }

    /// The part of split `split` in the results, and how many of its tokens each query sees.
    #[inline(always)]
    pub(super) fn split<S: Simd, const Q: usize>(
        &self,
        simd: S,
        split: usize,
        vectors: &[Vector<S::X>; Q],
        at: [(usize, usize); Q],
    ) -> ([Partial; Q], [usize; Q]) {
        let start = split * SPLIT_TOKENS;
        let (mut lengths, mut longest) = ([0; Q], 0);
        for q in 0..Q {
            lengths[q] = (self.span.position + at[q].0 + 1).saturating_sub(start).min(SPLIT_TOKENS);
            longest = longest.max(lengths[q]);
        }
        let blocks = &self.span.blocks[start / BLOCK_TOKENS..][..longest.div_ceil(BLOCK_TOKENS)];
        let mut scores = [[0.0; SPLIT_TOKENS]; Q];
        for (index, &block) in blocks.iter().enumerate() {
            self.prefetch(simd, start / BLOCK_TOKENS, blocks.len(), index + AHEAD);
            self.scores::<S, Q>(simd, self.cache.keys(self.layer, block, self.kv_head), vectors, index, &mut scores);
        }
        let mut fresh: [Partial; Q] = [const { Partial::EMPTY }; Q];
        let zero = simd.pack_block([simd.zero(); 2]);
        let mut probabilities = [[zero; SPLIT_TOKENS / BLOCK_TOKENS]; Q];
        for q in 0..Q {
            let to = &mut probabilities[q];
            let scale = self.shape.scale;
            (fresh[q].max, fresh[q].sum) =
                softmax_rows(simd, &mut scores[q], scale, lengths[q], blocks.len(), |block, values| {
                    to[block] = simd.pack_block(values);
                });
        }
        for (index, &block) in blocks.iter().enumerate() {
            self.prefetch(simd, start / BLOCK_TOKENS, blocks.len(), blocks.len() + index + AHEAD);
            let values = self.cache.values(self.layer, block, self.kv_head);
            let mut x = [&zero; Q];
            for q in 0..Q {
                x[q] = &probabilities[q][index];
            }
            mix::<S, Q>(simd, values, x, &mut fresh);
        }
        (fresh, lengths)
    }

    /// Asks for part `part` of a split, of `count` blocks from block `first` of the sequence. Its parts are the blocks' keys, then
    /// their values, then what the next split begins with.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, first: usize, count: usize, part: usize) {
        let is_value = (count..2 * count).contains(&part);
        let Some(&block) = self.span.blocks.get(first + part - if part < count { 0 } else { count }) else { return };
        let numbers = match is_value {
            true => self.cache.values(self.layer, block, self.kv_head),
            false => self.cache.keys(self.layer, block, self.kv_head),
        };
        for line in numbers.as_chunks::<{ 2 * LANES }>().0 {
            simd.prefetch(line.as_ptr().cast());
        }
    }

    /// Scores of one block's tokens, not yet scaled, in tiles of sixteen.
    #[inline(always)]
    fn scores<S: Simd, const Q: usize>(
        &self,
        simd: S,
        keys: &[u16],
        vectors: &[Vector<S::X>; Q],
        block: usize,
        scores: &mut [[f32; SPLIT_TOKENS]; Q],
    ) {
        let tile_len = self.shape.head_dim * LANES;
        let first = block * BLOCK_TOKENS / LANES;
        if S::WIDE && Q <= PAIRED_QUERIES {
            self.score_tiles::<S, Q, 2>(simd, keys, vectors, first, scores);
        } else {
            for (tile, keys) in keys.chunks_exact(tile_len).enumerate() {
                self.score_tiles::<S, Q, 1>(simd, keys, vectors, first + tile, scores);
            }
        }
    }

    /// Scores of TILES tiles of tokens, the first of which is tile `first` of the split.
    #[inline(always)]
    fn score_tiles<S: Simd, const Q: usize, const TILES: usize>(
        &self,
        simd: S,
        keys: &[u16],
        vectors: &[Vector<S::X>; Q],
        first: usize,
        scores: &mut [[f32; SPLIT_TOKENS]; Q],
    ) {
        let tile_len = self.shape.head_dim * LANES;
        let mut total = [[simd.zero(); TILES]; Q];
        for part in 0..self.shape.head_dim.div_ceil(BLOCK) {
            let mut x = [&vectors[0][part]; Q];
            for q in 0..Q {
                x[q] = &vectors[q][part];
            }
            let mut lines = [keys; TILES];
            for (tile, lines) in lines.iter_mut().enumerate() {
                let end = ((part + 1) * BLOCK * LANES).min(tile_len);
                *lines = &keys[tile * tile_len..][part * BLOCK * LANES..end];
            }
            let product = product::<S, Q, TILES>(simd, lines, x);
            for q in 0..Q {
                for tile in 0..TILES {
                    total[q][tile] = simd.add(total[q][tile], product[q][tile]);
                }
            }
        }
        for q in 0..Q {
            let lanes = &mut scores[q].as_chunks_mut::<LANES>().0[first..first + TILES];
            for (to, total) in lanes.iter_mut().zip(total[q]) {
                simd.store(total, to);
            }
        }
    }
}

/// Adds one block's probabilities times values to the outputs.
#[inline(always)]
fn mix<S: Simd, const Q: usize>(simd: S, values: &[u16], x: [&XBlock<S::X>; Q], fresh: &mut [Partial; Q]) {
    let tiles = values.as_chunks::<{ BLOCK_TOKENS * LANES }>().0;
    let paired = if S::WIDE && Q <= PAIRED_QUERIES { tiles.len() / 2 * 2 } else { 0 };
    for tile in (0..paired).step_by(2) {
        mix_tiles::<S, Q, 2>(simd, [&tiles[tile], &tiles[tile + 1]], x, tile, fresh);
    }
    for (tile, lines) in tiles.iter().enumerate().skip(paired) {
        mix_tiles::<S, Q, 1>(simd, [lines], x, tile, fresh);
    }
}

#[inline(always)]
fn mix_tiles<S: Simd, const Q: usize, const TILES: usize>(
    simd: S,
    lines: [&[u16; BLOCK_TOKENS * LANES]; TILES],
    x: [&XBlock<S::X>; Q],
    first: usize,
    fresh: &mut [Partial; Q],
) {
    let product = product::<S, Q, TILES>(simd, lines.map(|lines| &lines[..]), x);
    for q in 0..Q {
        let lanes = &mut fresh[q].out.0.as_chunks_mut::<LANES>().0[first..first + TILES];
        for (to, product) in lanes.iter_mut().zip(product[q]) {
            simd.store(simd.add(simd.load(to), product), to);
        }
    }
}

/// The canonical sums of Q rows with up to one block of lines of TILES tiles: the even chain plus the odd chain.
#[inline(always)]
fn product<S: Simd, const Q: usize, const TILES: usize>(
    simd: S,
    lines: [&[u16]; TILES],
    x: [&XBlock<S::X>; Q],
) -> [[S::F; TILES]; Q] {
    let (mut even, mut odd) = ([[simd.zero(); TILES]; Q], [[simd.zero(); TILES]; Q]);
    let pairs = lines.map(|lines| lines.as_chunks::<{ 2 * LANES }>().0.as_chunks::<2>().0);
    for duo in 0..pairs[0].len().min(DUOS) {
        for (tile, pairs) in pairs.iter().enumerate() {
            let evens = simd.duo_of_line(load_line(simd, &pairs[duo][0]));
            let odds = simd.duo_of_line(load_line(simd, &pairs[duo][1]));
            for q in 0..Q {
                even[q][tile] = simd.dot(even[q][tile], evens, x[q][0][duo]);
                odd[q][tile] = simd.dot(odd[q][tile], odds, x[q][1][duo]);
            }
        }
    }
    for q in 0..Q {
        for tile in 0..TILES {
            even[q][tile] = simd.add(even[q][tile], odd[q][tile]);
        }
    }
    even
}

#[inline(always)]
pub(super) fn load_line<S: Simd>(simd: S, line: &Line) -> S::I {
    debug_assert!(line.as_ptr().cast::<u32>().is_aligned());
    // SAFETY: lines start at multiples of 64 bytes in 64-byte aligned memory; any bytes are valid u32.
    simd.load_bits(unsafe { &*line.as_ptr().cast::<[u32; LANES]>() })
}
