//! Attention over a paged key-value cache in bf16: grouped queries, softmax over splits at fixed positions.
//!
//! The canonical result of a row at position t: queries are rounded to bf16; scores are canonical products (two chains
//! per 32 dimensions) times the scale. For each split of [`SPLIT_TOKENS`] positions: m = max score, p = exp(score − m) rounded to
//! bf16, l = Σp, o = p·V as a canonical product over each 32 tokens. Splits are merged in order as in flash decoding
//! (Dao et al., 2023). Nothing depends on what else is in the batch. A later token takes part with probability 0: its key may be
//! anything, its value must be finite.
//!
//! Start at [`attend`]; [`cache`] owns the layout of keys and values.

mod cache;
mod queries;
mod softmax;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use cache::{KvCache, store};

use crate::Compute;
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::simd::{Kernel, Simd, dispatch};
#[cfg(target_arch = "x86_64")]
use crate::simd::{dispatch_bf16, tiles::Tiles};
use queries::Queries;
use softmax::Partial;
use std::cell::RefCell;
#[cfg(target_arch = "x86_64")]
use tiles::TileRows;

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
/// Query rows of a span from which AMX tiles are used: half a tile.
const TILE_QUERIES_MIN: usize = 8;
/// Work items for each thread below which the splits of a decode are shared among threads.
const ITEMS_PER_THREAD: usize = 4;

thread_local! {
    /// Results of splits that wait to be merged; kept so that a step allocates nothing.
    static PARTS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

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
    /// Rows from the front whose keys and values the blocks hold already; [`store`] passes them over.
    pub stored: usize,
    /// The sequence's blocks, enough for `position + count` tokens.
    pub blocks: &'a [u32],
}

impl Span<'_> {
    /// Splits of the positions that the last row sees.
    fn splits(&self) -> usize {
        (self.position + self.count).div_ceil(SPLIT_TOKENS)
    }
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
    let step = Step { compute, cache, layer, shape, spans, queries };
    let items: usize = spans.iter().map(|span| step.items(span)).sum::<usize>() * shape.kv_heads;
    let few = items < ITEMS_PER_THREAD * compute.threads();
    step.run(|span| few && span.count == 1 && span.position + 1 > SPLIT_TOKENS, Disjoint::new(out));
}

/// One layer's attention of one step.
#[derive(Clone, Copy)]
struct Step<'a> {
    compute: &'a Compute,
    cache: &'a KvCache,
    layer: usize,
    shape: Shape,
    spans: &'a [Span<'a>],
    queries: Rows<'a>,
}

impl<'a> Step<'a> {
    /// Whether a span has rows enough for AMX tiles.
    fn takes_tiles(&self, span: &Span<'_>) -> bool {
        self.compute.isa() == Isa::Amx && span.count * (self.shape.heads / self.shape.kv_heads) >= TILE_QUERIES_MIN
    }

    /// Rows of one work item.
    fn item_rows(&self, span: &Span<'_>) -> usize {
        if self.takes_tiles(span) { 4 * ITEM_ROWS } else { ITEM_ROWS }
    }

    /// Work items of a span's rows, for each key-value head.
    fn items(&self, span: &Span<'_>) -> usize {
        span.count.div_ceil(self.item_rows(span))
    }

    /// All splits of some rows of a span.
    fn whole_rows(&self, span: &'a Span<'a>, item: usize, kv_head: usize, out: Disjoint<'_, f32>) {
        let count = self.item_rows(span);
        let rows = item * count..((item + 1) * count).min(span.count);
        let (isa, queries) = (self.compute.isa(), self.queries(span, kv_head));
        #[cfg(target_arch = "x86_64")]
        if self.takes_tiles(span) {
            let tiles = Tiles::get().expect("invariant: this instruction set was found at the start");
            return dispatch_bf16(isa, TileRows { tiles, queries, rows, out });
        }
        dispatch(isa, WholeRows { queries, rows, out });
    }

    /// `is_divided` says of which spans (of one row each) the splits are shared among threads.
    fn run(self, is_divided: impl Fn(&Span<'_>) -> bool + Sync, out: Disjoint<'_, f32>) {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let isa = self.compute.isa();
        let items = |span: &Span<'_>| if is_divided(span) { 0 } else { self.items(span) };
        let splits = |span: &Span<'_>| if is_divided(span) { span.splits() * kv_heads } else { 0 };
        let row_items = self.spans.iter().map(items).sum::<usize>() * kv_heads;
        let split_items = self.spans.iter().map(splits).sum::<usize>();
        PARTS.with_borrow_mut(|parts| {
            let len = Partial::stored_len(head_dim);
            parts.resize(split_items * (heads / kv_heads) * len, 0.0);
            let places = Disjoint::new(parts);
            self.compute.pool().each(row_items + split_items, &|index| match index.checked_sub(row_items) {
                None => {
                    let (span, item) = find(self.spans, index / kv_heads, &items);
                    self.whole_rows(span, item, index % kv_heads, out);
                }
                Some(index) => {
                    // The splits of a head follow each other, as its keys and values do in memory.
                    let (span, item) = find(self.spans, index, &splits);
                    let (head, split) = (item / span.splits(), item % span.splits());
                    let first = ((index - item) / kv_heads + split) * heads * len;
                    dispatch(isa, OneSplit { queries: self.queries(span, head), split, first, places });
                }
            });
            if split_items > 0 {
                let divided = self.spans.iter().filter(|&span| is_divided(span));
                dispatch(isa, Merge { divided, shape: self.shape, parts, out });
            }
        });
    }

    fn queries(&self, span: &'a Span<'a>, kv_head: usize) -> Queries<'a> {
        Queries { cache: self.cache, layer: self.layer, shape: self.shape, span, kv_head, queries: self.queries }
    }
}

/// The span and the index within it of a work item; `items` tells how many a span has.
fn find<'a>(spans: &'a [Span<'a>], mut index: usize, items: &dyn Fn(&Span<'_>) -> usize) -> (&'a Span<'a>, usize) {
    for span in spans {
        let count = items(span);
        if index < count {
            return (span, index);
        }
        index -= count;
    }
    unreachable!("invariant: item indices are below the number of items")
}

/// All splits of some rows of a span.
struct WholeRows<'a> {
    queries: Queries<'a>,
    rows: std::ops::Range<usize>,
    out: Disjoint<'a, f32>,
}

/// One split of a span of one row; the results of its heads go to `places`.
struct OneSplit<'a> {
    queries: Queries<'a>,
    split: usize,
    first: usize,
    places: Disjoint<'a, f32>,
}

/// Calls `$each` with the number of queries of each register block of `0 .. $total` and its first query.
macro_rules! in_blocks {
    ($simd:expr, $total:expr, $this:ident . $each:ident) => {
        let mut first = 0;
        while first < $total {
            let count = if S::PORTABLE { 1 } else { QUERIES.min($total - first) };
            match count {
                1 => $this.$each::<S, 1>($simd, first),
                2 => $this.$each::<S, 2>($simd, first),
                3 => $this.$each::<S, 3>($simd, first),
                4 => $this.$each::<S, 4>($simd, first),
                5 => $this.$each::<S, 5>($simd, first),
                _ => $this.$each::<S, QUERIES>($simd, first),
            }
            first += count;
        }
    };
}

impl Kernel for WholeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        in_blocks!(simd, self.rows.len() * self.queries.group(), self.block);
    }
}

impl WholeRows<'_> {
    #[inline(always)]
    fn block<S: Simd, const Q: usize>(&self, simd: S, first: usize) {
        let (queries, group) = (&self.queries, self.queries.group());
        let mut at = [(0, 0); Q];
        for (q, at) in at.iter_mut().enumerate() {
            *at = (self.rows.start + (first + q) / group, (first + q) % group);
        }
        let vectors = queries.load::<S, Q>(simd, at);
        let mut longest = 0;
        for (row, _) in at {
            longest = longest.max(queries.span.position + row + 1);
        }
        let mut merged: [Partial; Q] = [const { Partial::EMPTY }; Q];
        for split in 0..longest.div_ceil(SPLIT_TOKENS) {
            let (fresh, lengths) = queries.split::<S, Q>(simd, split, &vectors, at);
            for q in 0..Q {
                if lengths[q] > 0 {
                    merged[q].merge(simd, &fresh[q], queries.shape.head_dim);
                }
            }
        }
        for q in 0..Q {
            let (row, head) = (queries.span.row + at[q].0, queries.kv_head * group + at[q].1);
            let dim = queries.shape.head_dim;
            // SAFETY: every row and head belongs to one work item.
            let out = unsafe { self.out.part((row * queries.shape.heads + head) * dim, dim) };
            merged[q].finish(simd, out);
        }
    }
}

impl Kernel for OneSplit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        in_blocks!(simd, self.queries.group(), self.block);
    }
}

impl OneSplit<'_> {
    #[inline(always)]
    fn block<S: Simd, const Q: usize>(&self, simd: S, first: usize) {
        let queries = &self.queries;
        let mut at = [(0, 0); Q];
        for (q, at) in at.iter_mut().enumerate() {
            *at = (0, first + q);
        }
        let vectors = queries.load::<S, Q>(simd, at);
        let (fresh, _) = queries.split::<S, Q>(simd, self.split, &vectors, at);
        let len = Partial::stored_len(queries.shape.head_dim);
        for (q, fresh) in fresh.iter().enumerate() {
            let head = queries.kv_head * queries.group() + first + q;
            // SAFETY: every split and head belongs to one work item.
            fresh.store(unsafe { self.places.part(self.first + head * len, len) });
        }
    }
}

/// Merges the splits of each head of the divided spans, in order.
struct Merge<'a, I> {
    divided: I,
    shape: Shape,
    parts: &'a [f32],
    out: Disjoint<'a, f32>,
}

impl<'s, I: Iterator<Item = &'s Span<'s>>> Kernel for Merge<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shape { heads, head_dim, .. } = self.shape;
        let len = Partial::stored_len(head_dim);
        let mut first = 0;
        for span in self.divided {
            for head in 0..heads {
                let mut merged = Partial::EMPTY;
                for split in first..first + span.splits() {
                    merged.merge(simd, &Partial::load(&self.parts[(split * heads + head) * len..][..len]), head_dim);
                }
                // SAFETY: the parallel region is over; nobody else writes.
                merged.finish(simd, unsafe { self.out.part((span.row * heads + head) * head_dim, head_dim) });
            }
            first += span.splits();
        }
    }
}
