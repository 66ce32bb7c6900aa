//! Many rows of a span with AMX: scores and mixes as products of tiles, the same bits as [`super::queries`].
//!
//! Queries are taken sixteen at a time (a tile's rows), in the order (row, head of the group). A split's keys and values are turned
//! into tiles once for all of an item's queries.

use super::softmax::{Partial, softmax_rows};
use super::{BLOCK_TOKENS, HEAD_DIM_MAX, SPLIT_TOKENS};
use crate::attention::queries::Queries;
use crate::memory::Disjoint;
use crate::simd::tiles::{ROW_BYTES, ROWS, Tile, Tiles};
use crate::simd::{Avx512Bf16, BLOCK, Bf16Kernel, LANES, Simd};
use std::cell::RefCell;
use std::ops::Range;

/// Blocks of 32 dimensions.
const DIM_BLOCKS: usize = HEAD_DIM_MAX / BLOCK;
/// Tiles of 16 dimensions.
const DIM_TILES: usize = HEAD_DIM_MAX / LANES;
const BLOCKS: usize = SPLIT_TOKENS / BLOCK_TOKENS;
/// Tiles of 16 tokens in a split.
const TOKEN_TILES: usize = SPLIT_TOKENS / LANES;

/// Some rows of a span, all their splits.
pub(super) struct TileRows<'a> {
    pub tiles: Tiles,
    pub queries: Queries<'a>,
    pub rows: Range<usize>,
    pub out: Disjoint<'a, f32>,
}

/// What an item works on, kept so that a step allocates and clears nothing.
struct Scratch {
    /// [tile of tokens][block of dimensions].
    keys: [[Tile<u32>; DIM_BLOCKS]; TOKEN_TILES],
    /// [block of tokens][tile of dimensions].
    values: [[Tile<u32>; DIM_TILES]; BLOCKS],
    /// The queries' pairs: [block of dimensions].
    vectors: [Tile<u32>; DIM_BLOCKS],
    /// [query][token].
    scores: Aligned<[[f32; SPLIT_TOKENS]; ROWS]>,
    /// Pairs of tokens: [block of tokens].
    probabilities: [Tile<u32>; BLOCKS],
    /// [tile of dimensions].
    mixed: [Tile<f32>; DIM_TILES],
    /// One for each query of the item.
    merged: Vec<Partial>,
}

#[repr(align(64))]
struct Aligned<T>(T);

thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch {
        keys: [[Tile([[0; 16]; ROWS]); DIM_BLOCKS]; TOKEN_TILES],
        values: [[Tile([[0; 16]; ROWS]); DIM_TILES]; BLOCKS],
        vectors: [Tile([[0; 16]; ROWS]); DIM_BLOCKS],
        scores: Aligned([[0.0; SPLIT_TOKENS]; ROWS]),
        probabilities: [Tile([[0; 16]; ROWS]); BLOCKS],
        mixed: [Tile([[0.0; 16]; ROWS]); DIM_TILES],
        merged: Vec::new(),
    }));
}

impl Bf16Kernel for TileRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: Avx512Bf16) {
        SCRATCH.with_borrow_mut(|scratch| {
            self.tiles.configure([ROWS; 2], ROWS);
            let count = self.rows.len() * self.queries.group();
            scratch.merged.clear();
            scratch.merged.resize_with(count, || Partial::EMPTY);
            let end = self.queries.span.position + self.rows.end;
            for split in 0..end.div_ceil(SPLIT_TOKENS) {
                let tokens = (end - split * SPLIT_TOKENS).min(SPLIT_TOKENS);
                self.turn(simd, split, tokens.div_ceil(BLOCK_TOKENS), scratch);
                for first in (0..count).step_by(ROWS) {
                    self.split(simd, split, first..(first + ROWS).min(count), scratch);
                }
            }
            self.tiles.release();
            self.finish(simd, &scratch.merged);
        });
    }
}

impl TileRows<'_> {
    /// Row of the span and head of the group of a query of this item.
    fn at(&self, query: usize) -> (usize, usize) {
        (self.rows.start + query / self.queries.group(), query % self.queries.group())
    }

    /// Turns the first `blocks` blocks of a split into tiles.
    #[inline(always)]
    fn turn(&self, simd: Avx512Bf16, split: usize, blocks: usize, scratch: &mut Scratch) {
        let Queries { cache, layer, span, kv_head, .. } = self.queries;
        let dim = self.queries.shape.head_dim;
        let first = split * SPLIT_TOKENS / BLOCK_TOKENS;
        for (index, &block) in span.blocks[first..first + blocks].iter().enumerate() {
            for (tile, keys) in cache.keys(layer, block, kv_head).chunks_exact(dim * LANES).enumerate() {
                let to = &mut scratch.keys[index * BLOCK_TOKENS / LANES + tile];
                for (lines, to) in keys.chunks(BLOCK * LANES).zip(to) {
                    turn_lines(simd, lines, to);
                }
            }
            let values = cache.values(layer, block, kv_head).chunks_exact(BLOCK_TOKENS * LANES);
            for (lines, to) in values.zip(&mut scratch.values[index]) {
                turn_lines(simd, lines, to);
            }
        }
    }

    /// One split for up to sixteen queries, merged with the splits before it.
    #[inline(always)]
    fn split(&self, simd: Avx512Bf16, split: usize, queries: Range<usize>, scratch: &mut Scratch) {
        let dim = self.queries.shape.head_dim;
        let start = split * SPLIT_TOKENS;
        let mut lengths = [0; ROWS];
        for (length, query) in lengths.iter_mut().zip(queries.clone()) {
            *length = (self.queries.span.position + self.at(query).0 + 1).saturating_sub(start).min(SPLIT_TOKENS);
        }
        let longest = lengths.into_iter().fold(0, usize::max);
        if longest == 0 {
            return;
        }
        self.load(simd, queries.clone(), &mut scratch.vectors);
        let blocks = longest.div_ceil(BLOCK_TOKENS);
        self.scores(blocks, scratch);
        let scale = self.queries.shape.scale;
        let mut parts = [(f32::NEG_INFINITY, 0.0); ROWS];
        for (query, part) in parts.iter_mut().enumerate().take(queries.len()) {
            let row = &mut scratch.scores.0[query];
            *part = softmax_rows(simd, row, scale, lengths[query], blocks, |block, values| {
                simd.pack_pairs(values, &mut scratch.probabilities[block].0[query]);
            });
        }
        self.mix(blocks, scratch);
        for (index, query) in queries.enumerate() {
            if lengths[index] > 0 {
                let mut fresh = Partial { max: parts[index].0, sum: parts[index].1, ..Partial::EMPTY };
                let lanes = fresh.out.0.as_chunks_mut::<LANES>().0;
                for (to, from) in lanes.iter_mut().zip(&scratch.mixed).take(dim / LANES) {
                    *to = from.0[index];
                }
                scratch.merged[query].merge(simd, &fresh, dim);
            }
        }
    }

    /// The queries' vectors, rounded to bf16, as tiles.
    #[inline(always)]
    fn load(&self, simd: Avx512Bf16, queries: Range<usize>, vectors: &mut [Tile<u32>; DIM_BLOCKS]) {
        let dim = self.queries.shape.head_dim;
        for (index, query) in queries.enumerate() {
            let (row, head) = self.at(query);
            for (lanes, to) in self.queries.vector(row, head).as_chunks::<LANES>().0.chunks(2).zip(&mut *vectors) {
                let first = simd.round_bf16(simd.load(&lanes[0]));
                let second = lanes.get(1).map_or(simd.zero(), |lanes| simd.round_bf16(simd.load(lanes)));
                simd.pack_pairs([first, second], &mut to.0[index]);
            }
        }
        debug_assert!(dim <= HEAD_DIM_MAX);
    }

    /// Queries times keys, not yet scaled.
    #[inline(always)]
    fn scores(&self, blocks: usize, scratch: &mut Scratch) {
        let parts = self.queries.shape.head_dim.div_ceil(BLOCK);
        for (pair, keys) in scratch.keys.as_chunks::<2>().0.iter().enumerate().take(blocks) {
            self.tiles.clear();
            for (vectors, (first, second)) in scratch.vectors.iter().zip(keys[0].iter().zip(&keys[1])).take(parts) {
                // SAFETY: a `Tile` has memory for sixteen rows.
                unsafe { self.tiles.load_a::<0>(vectors.0.as_ptr().cast(), ROW_BYTES) };
                self.tiles.load_b([first, second]);
                self.tiles.accumulate_first();
            }
            let to = scratch.scores.0.as_mut_ptr().cast::<f32>().wrapping_add(pair * BLOCK_TOKENS);
            let stride = SPLIT_TOKENS * size_of::<f32>();
            // SAFETY: rows of `SPLIT_TOKENS` numbers, of which two tiles of sixteen from `pair · BLOCK_TOKENS` on are written.
            unsafe { self.tiles.store_first(to, to.wrapping_add(LANES), stride) };
        }
    }

    /// Probabilities times values.
    #[inline(always)]
    fn mix(&self, blocks: usize, scratch: &mut Scratch) {
        let tiles = self.queries.shape.head_dim / LANES;
        for first in (0..tiles).step_by(2) {
            // Where the number of tiles is odd, the last one is computed twice.
            let second = (first + 1).min(tiles - 1);
            self.tiles.clear();
            for block in 0..blocks {
                // SAFETY: a `Tile` has memory for sixteen rows.
                unsafe { self.tiles.load_a::<0>(scratch.probabilities[block].0.as_ptr().cast(), ROW_BYTES) };
                self.tiles.load_b([&scratch.values[block][first], &scratch.values[block][second]]);
                self.tiles.accumulate_first();
            }
            let mixed = scratch.mixed.as_mut_ptr().cast::<f32>();
            let at = |tile: usize| mixed.wrapping_add(tile * ROWS * LANES);
            // SAFETY: whole tiles of `mixed`.
            unsafe { self.tiles.store_first(at(first), at(second), ROW_BYTES) };
        }
    }

    #[inline(always)]
    fn finish(&self, simd: Avx512Bf16, merged: &[Partial]) {
        let (dim, heads) = (self.queries.shape.head_dim, self.queries.shape.heads);
        for (query, merged) in merged.iter().enumerate() {
            let (row, head) = self.at(query);
            let place = (self.queries.span.row + row) * heads + self.queries.kv_head * self.queries.group() + head;
            // SAFETY: every row and head belongs to one work item.
            merged.finish(simd, unsafe { self.out.part(place * dim, dim) });
        }
    }
}

/// Lines of duos (one block of steps, or its first half) as a tile of pairs; rows past the lines become zero.
#[inline(always)]
fn turn_lines(simd: Avx512Bf16, lines: &[u16], to: &mut Tile<u32>) {
    let pairs = lines.as_chunks::<{ 2 * LANES }>().0.as_chunks::<2>().0;
    let rows = to.0.as_chunks_mut::<2>().0;
    for (lines, rows) in pairs.iter().zip(rows.iter_mut()) {
        simd.pairs_of_duos(
            super::queries::load_line(simd, &lines[0]),
            super::queries::load_line(simd, &lines[1]),
            rows,
        );
    }
    for rows in rows.iter_mut().skip(pairs.len()) {
        *rows = [[0; LANES]; 2];
    }
}
