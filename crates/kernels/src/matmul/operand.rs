//! The left side of products: activations rounded to bf16, in the order in which kernels read them.

use super::definition;
use crate::Compute;
use crate::isa::Isa;
use crate::memory::{Disjoint, from_words, from_words_mut};
use crate::simd::{BLOCK, DUOS, Kernel, LANES, Simd, XBlock, dispatch, words_of_x};

/// Numbers per block in the sums.
pub(super) const SUMS: usize = 3;

/// Activations [rows × inputs] rounded to bf16, with the sums that formats with minima need. Reusable: `set` keeps
/// the allocation.
#[derive(Default)]
pub struct Operand {
    isa: Option<Isa>,
    rows: usize,
    inputs: usize,
    /// Inputs in whole blocks; the padding is zero.
    blocks: usize,
    /// [rows × blocks] of [`XBlock`], as words: the kind of X is the instruction set's.
    words: Vec<u32>,
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
        let (all_words, all_sums) = (Disjoint::new(&mut self.words), Disjoint::new(&mut self.sums));
        let chunk = rows.div_ceil(4 * compute.threads()).max(8);
        compute.pool().each(rows.div_ceil(chunk), &|index| {
            let first = index * chunk;
            let count = chunk.min(rows - first);
            // SAFETY: each item has its own rows.
            let (words, sums) =
                unsafe { (all_words.part(first * words, count * words), all_sums.part(first * sums, count * sums)) };
            dispatch(isa, Round { values: &values[first * inputs..][..count * inputs], inputs, words, sums });
        });
    }

    fn resize(&mut self, isa: Isa, rows: usize, inputs: usize) {
        (self.isa, self.rows, self.inputs, self.blocks) = (Some(isa), rows, inputs, inputs.div_ceil(BLOCK));
        self.words.resize(rows * self.row_words(), 0);
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

    /// A row as words.
    pub(super) fn words(&self, row: usize) -> &[u32] {
        &self.words[row * self.row_words()..][..self.row_words()]
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
        let blocks_a_row = self.inputs.div_ceil(BLOCK);
        let rows = blocks
            .chunks_exact_mut(blocks_a_row)
            .zip(self.sums.as_chunks_mut::<SUMS>().0.chunks_exact_mut(blocks_a_row));
        for (row, (blocks, sums)) in self.values.chunks_exact(self.inputs).zip(rows) {
            for (index, (block, sums)) in blocks.iter_mut().zip(sums).enumerate() {
                let from = &row[index * BLOCK..];
                match from.first_chunk::<BLOCK>() {
                    Some(from) => round_block(simd, from, block, sums),
                    None => {
                        let mut padded = [0.0; BLOCK];
                        padded[..from.len()].copy_from_slice(from);
                        round_block(simd, &padded, block, sums);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn round_block<S: Simd>(simd: S, from: &[f32; BLOCK], to: &mut XBlock<S::X>, sums: &mut [f32; SUMS]) {
    let lanes = from.as_chunks::<LANES>().0;
    let values = [simd.round_bf16(simd.load(&lanes[0])), simd.round_bf16(simd.load(&lanes[1]))];
    *to = simd.pack_block(values);
    let mut rounded = [[0.0; LANES]; 2];
    simd.store(values[0], &mut rounded[0]);
    simd.store(values[1], &mut rounded[1]);
    *sums = definition::block_sums(&rounded);
}
