//! The left side of products: activations rounded to bf16, in the order in which kernels read them.

use crate::Compute;
use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint, from_words, from_words_mut};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx512Bf16, Bf16Kernel, dispatch_bf16};
use crate::simd::{BLOCK, DUOS, Kernel, LANES, Simd, XBlock, dispatch, words_of_x};

/// Rows from which AMX multiplies; for fewer, unpacking costs more than it saves.
pub(super) const AMX_ROWS_MIN: usize = 4;
/// Rows of a tile.
pub(super) const TILE_ROWS: usize = 16;
/// Numbers per block in the sums.
pub(super) const SUMS: usize = 3;

/// Activations [rows × inputs] rounded to bf16, with the sums that formats with minima need. Reusable: `set` keeps
/// the allocation.
#[derive(Default)]
pub struct Operand {
    isa: Option<Isa>,
    /// For AMX tiles: blocks hold pairs of neighbouring inputs in natural order.
    in_pairs: bool,
    rows: usize,
    inputs: usize,
    /// Inputs in whole blocks; the padding is zero.
    blocks: usize,
    /// [rows × blocks] of [`XBlock`], as words: the kind of X is the instruction set's.
    words: Aligned<u32>,
    /// Sum of each half block, and of each block: [rows × blocks × (low half, high half, whole)].
    sums: Vec<f32>,
}

impl Operand {
    /// Rounds `values` (rows × inputs, row-major) to bf16.
    pub fn set(&mut self, compute: &Compute, rows: usize, inputs: usize, values: &[f32]) {
        assert_eq!(values.len(), rows * inputs, "activations are rows × inputs");
        self.resize(compute.isa(), rows, inputs);
        let isa = compute.isa();
        let (words, sums) = (self.row_words(), self.blocks * SUMS);
        let in_pairs = self.in_pairs;
        let (all_words, all_sums) = (Disjoint::new(self.words.as_mut_slice()), Disjoint::new(&mut self.sums));
        let chunk = rows.div_ceil(4 * compute.threads()).max(8);
        compute.pool().each(rows.div_ceil(chunk), &|index| {
            let first = index * chunk;
            let count = chunk.min(rows - first);
            // SAFETY: each item has its own rows.
            let (words, sums) =
                unsafe { (all_words.part(first * words, count * words), all_sums.part(first * sums, count * sums)) };
            let round = Round { values: &values[first * inputs..][..count * inputs], inputs, words, sums };
            match in_pairs {
                #[cfg(target_arch = "x86_64")]
                true => dispatch_bf16(isa, RoundToPairs(round)),
                _ => dispatch(isa, round),
            }
        });
    }

    fn resize(&mut self, isa: Isa, rows: usize, inputs: usize) {
        (self.isa, self.rows, self.inputs, self.blocks) = (Some(isa), rows, inputs, inputs.div_ceil(BLOCK));
        self.in_pairs = isa == Isa::Amx && rows >= AMX_ROWS_MIN;
        // Whole tiles of rows can be loaded; what lies past the last row is of no account.
        self.words.grow(rows.next_multiple_of(TILE_ROWS) * self.row_words());
        self.sums.resize(rows * self.blocks * SUMS, 0.0);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(super) fn is_for(&self, compute: &Compute) -> bool {
        self.isa == Some(compute.isa())
    }

    fn row_words(&self) -> usize {
        self.blocks * BLOCK / 2 * words_of_x(self.isa.unwrap_or(Isa::Scalar))
    }

    /// The blocks hold pairs of neighbouring inputs, for [`Operand::tile_rows`].
    pub(super) fn in_pairs(&self) -> bool {
        self.in_pairs
    }

    /// A row as words.
    pub(super) fn words(&self, row: usize) -> &[u32] {
        &self.words.as_slice()[row * self.row_words()..][..self.row_words()]
    }

    /// For tiles of rows from `row` on, a multiple of [`TILE_ROWS`]: the words from `block` of that row to the end, and the
    /// distance between rows in bytes. Memory reaches to the end of the last whole tile.
    pub(super) fn tile_rows(&self, row: usize, block: usize) -> (&[u32], usize) {
        debug_assert!(self.in_pairs && row.is_multiple_of(TILE_ROWS) && row < self.rows);
        let words = self.row_words();
        let end = self.rows.next_multiple_of(TILE_ROWS) * words;
        (&self.words.as_slice()[row * words + block * BLOCK / 2..end], words * size_of::<u32>())
    }

    /// The blocks of a row, for the instruction set for which it was set.
    #[inline(always)]
    pub(super) fn row<S: Simd>(&self, row: usize) -> &[XBlock<S::X>] {
        from_words::<S::X>(self.words(row)).as_chunks::<DUOS>().0.as_chunks::<2>().0
    }

    /// The sums of a row, [blocks × (low half, high half, whole)].
    pub(super) fn row_sums(&self, row: usize) -> &[f32] {
        &self.sums[row * self.blocks * SUMS..][..self.blocks * SUMS]
    }
}

struct Round<'a> {
    values: &'a [f32],
    inputs: usize,
    words: &'a mut [u32],
    sums: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let blocks = from_words_mut::<S::X>(self.words).as_chunks_mut::<DUOS>().0.as_chunks_mut::<2>().0;
        let groups = blocks.chunks_mut(LANES).zip(self.sums.as_chunks_mut::<SUMS>().0.chunks_mut(LANES));
        let mut from = Blocks::new(self.values, self.inputs);
        for (blocks, sums) in groups {
            for (to, from) in blocks.iter_mut().zip(&mut from) {
                *to = simd.pack_block(round(simd, &from));
            }
            fill_sums(simd, blocks, sums);
        }
    }
}

/// The same for AMX: pairs in natural order.
#[cfg(target_arch = "x86_64")]
struct RoundToPairs<'a>(Round<'a>);

#[cfg(target_arch = "x86_64")]
impl Bf16Kernel for RoundToPairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, simd: Avx512Bf16) {
        let blocks = self.0.words.as_chunks_mut::<LANES>().0;
        let groups = blocks.chunks_mut(LANES).zip(self.0.sums.as_chunks_mut::<SUMS>().0.chunks_mut(LANES));
        let mut from = Blocks::new(self.0.values, self.0.inputs);
        for (blocks, sums) in groups {
            let mut duos = [[[0; DUOS]; 2]; LANES];
            for ((to, from), duos) in blocks.iter_mut().zip(&mut from).zip(&mut duos) {
                let values = round(simd, &from);
                simd.pack_pairs(values, to);
                *duos = simd.pack_block(values);
            }
            fill_sums(simd, &duos[..blocks.len()], sums);
        }
    }
}

#[inline(always)]
fn round<S: Simd>(simd: S, from: &[[f32; LANES]; 2]) -> [S::F; 2] {
    [simd.round_bf16(simd.load(&from[0])), simd.round_bf16(simd.load(&from[1]))]
}

/// The sums of up to sixteen blocks, each in a lane: products with ones, in the order of products.
#[inline(always)]
fn fill_sums<S: Simd>(simd: S, blocks: &[XBlock<S::X>], sums: &mut [[f32; SUMS]]) {
    let one = simd.pack_block([simd.splat(1.0); 2])[0][0];
    let mut turned = [[S::Stored::default(); DUOS]; 2];
    simd.turn_blocks(blocks, &mut turned);
    // The whole chain goes on where the low half's ends.
    let (mut low, mut high, mut whole) = ([simd.zero(); 2], [simd.zero(); 2], [simd.zero(); 2]);
    for (chain, duos) in turned.iter().enumerate() {
        let (first, second) = duos.split_at(DUOS / 2);
        for duo in first {
            low[chain] = simd.dot(low[chain], simd.load_duo(duo), one);
        }
        whole[chain] = low[chain];
        for duo in second {
            let duo = simd.load_duo(duo);
            high[chain] = simd.dot(high[chain], duo, one);
            whole[chain] = simd.dot(whole[chain], duo, one);
        }
    }
    let mut lanes = [[0.0; LANES]; SUMS];
    for (lanes, [even, odd]) in lanes.iter_mut().zip([low, high, whole]) {
        simd.store(simd.add(even, odd), lanes);
    }
    for (lane, sums) in sums.iter_mut().enumerate() {
        *sums = [lanes[0][lane], lanes[1][lane], lanes[2][lane]];
    }
}

/// The blocks of rows, the last one of each row padded with zeros.
struct Blocks<'a> {
    rows: &'a [f32],
    inputs: usize,
    /// Next input of the first row.
    next: usize,
}

impl<'a> Blocks<'a> {
    fn new(rows: &'a [f32], inputs: usize) -> Self {
        Self { rows, inputs, next: 0 }
    }
}

impl Iterator for Blocks<'_> {
    type Item = [[f32; LANES]; 2];

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.get(..self.inputs).filter(|row| !row.is_empty())?;
        let from = &row[self.next..];
        let mut block = [[0.0; LANES]; 2];
        match from.first_chunk::<BLOCK>() {
            Some(whole) => block.as_flattened_mut().copy_from_slice(whole),
            None => block.as_flattened_mut()[..from.len()].copy_from_slice(from),
        }
        self.next += BLOCK;
        if self.next >= self.inputs {
            (self.rows, self.next) = (&self.rows[self.inputs..], 0);
        }
        Some(block)
    }
}
