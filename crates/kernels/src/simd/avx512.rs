//! The lanes of AVX-512: one register of sixteen, with and without the products of bf16 pairs.
//!
//! VDPBF16PS adds two products to each lane, y = fma(low, low′, fma(high, high′, y)): each is rounded to nearest even and
//! denormals are zero (Intel's manual, volume 2; checked bit for bit on Zen 4). With neighbours of one chain in the halves, the first
//! one high, one instruction is two steps of that chain.

use super::lanes::lane_duos;
use super::{DUOS, Kernel, LANES, Nibbles, Simd, XBlock};
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512 F, BW, DQ and VL. Made only by [`run`].
#[derive(Clone, Copy)]
pub struct Avx512(());

/// Proof that the processor has BF16 as well. Made only by [`run_bf16`].
#[derive(Clone, Copy)]
pub struct Avx512Bf16(());

/// Runs `kernel` compiled for AVX-512. The caller has checked that the processor has it.
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
    fn inner<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }
    // SAFETY: `dispatch` passes only instruction sets that `Isa::is_available` found.
    unsafe { inner(kernel) }
}

/// Runs `kernel` compiled for AVX-512 with BF16. The caller has checked that the processor has it.
pub fn run_bf16<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn inner<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512Bf16(()))
    }
    // SAFETY: `dispatch` passes only instruction sets that `Isa::is_available` found.
    unsafe { inner(kernel) }
}

/// As [`Kernel`], for kernels that are written for this instruction set alone.
pub trait Bf16Kernel {
    type Output;
    fn run(self, simd: Avx512Bf16) -> Self::Output;
}

/// Runs `kernel` compiled for AVX-512 with BF16. The caller has checked that the processor has it.
pub fn run_for_bf16<K: Bf16Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn inner<K: Bf16Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512Bf16(()))
    }
    // SAFETY: `dispatch_bf16` passes only instruction sets that `Isa::is_available` found.
    unsafe { inner(kernel) }
}

/// Wraps intrinsics: holding the token proves that they may be used, and array references prove the memory.
macro_rules! sound {
    ($body:expr) => {
        // SAFETY: `self` is a token that exists only where the processor has the instruction set, and every
        // address comes from a reference to as many bytes as the instruction touches.
        unsafe { $body }
    };
}

/// What both kinds of AVX-512 share.
macro_rules! wide_lanes {
    () => {
        type F = __m512;
        type I = __m512i;
        const WIDE: bool = true;
        const PORTABLE: bool = false;

        #[inline(always)]
        fn splat(self, value: f32) -> Self::F {
            sound!(_mm512_set1_ps(value))
        }

        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::F {
            sound!(_mm512_loadu_ps(from.as_ptr()))
        }

        #[inline(always)]
        fn store(self, value: Self::F, to: &mut [f32; LANES]) {
            sound!(_mm512_storeu_ps(to.as_mut_ptr(), value))
        }

        #[inline(always)]
        fn add(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_add_ps(a, b))
        }

        #[inline(always)]
        fn sub(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_sub_ps(a, b))
        }

        #[inline(always)]
        fn mul(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_mul_ps(a, b))
        }

        #[inline(always)]
        fn div(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_div_ps(a, b))
        }

        #[inline(always)]
        fn max(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_max_ps(a, b))
        }

        #[inline(always)]
        fn min(self, a: Self::F, b: Self::F) -> Self::F {
            sound!(_mm512_min_ps(a, b))
        }

        #[inline(always)]
        fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            sound!(_mm512_fmadd_ps(a, b, c))
        }

        #[inline(always)]
        fn scale_by_power_of_two(self, a: Self::F, n: Self::F) -> Self::F {
            sound!({
                let exponent = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
                _mm512_mul_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
            })
        }

        #[inline(always)]
        fn round_bf16(self, a: Self::F) -> Self::F {
            sound!({
                let bits = _mm512_castps_si512(a);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                _mm512_castsi512_ps(_mm512_and_si512(sum, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
            })
        }

        #[inline(always)]
        fn load_f16(self, from: &[u16; LANES]) -> Self::F {
            sound!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
        }

        #[inline(always)]
        fn load_i8(self, from: &[i8; LANES]) -> Self::F {
            sound!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))))
        }

        #[inline(always)]
        fn load_bits(self, from: &[u32; LANES]) -> Self::I {
            sound!(_mm512_loadu_si512(from.as_ptr().cast()))
        }

        #[inline(always)]
        fn low_bf16(self, pairs: Self::I) -> Self::F {
            sound!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)))
        }

        #[inline(always)]
        fn high_bf16(self, pairs: Self::I) -> Self::F {
            sound!(_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32))))
        }

        #[inline(always)]
        fn nibble_unsigned<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
            const WHOLE: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
            self.nibble_table::<SHIFT>(bits, &WHOLE)
        }

        #[inline(always)]
        fn nibble_signed<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
            const WHOLE: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., -8., -7., -6., -5., -4., -3., -2., -1.];
            self.nibble_table::<SHIFT>(bits, &WHOLE)
        }

        /// `vpermps` reads the low four bits of each index and ignores the rest.
        #[inline(always)]
        fn nibble_table<const SHIFT: u32>(self, bits: Self::I, table: &[f32; 16]) -> Self::F {
            sound!({
                let index = _mm512_srl_epi32(bits, _mm_cvtsi32_si128(SHIFT as i32));
                _mm512_permutexvar_ps(index, _mm512_loadu_ps(table.as_ptr()))
            })
        }

        #[inline(always)]
        fn prefetch(self, address: *const u8) {
            sound!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
        }
    };
}

impl Simd for Avx512 {
    wide_lanes!();
    lane_duos!();
}

impl Simd for Avx512Bf16 {
    wide_lanes!();

    type Duo = __m512i;
    type X = u32;
    type Stored = [u32; LANES];

    #[inline(always)]
    fn dot(self, sum: Self::F, weights: Self::Duo, x: u32) -> Self::F {
        sound!({
            let x = _mm512_set1_epi32(x as i32);
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(weights),
                std::mem::transmute::<__m512i, __m512bh>(x),
            )
        })
    }

    #[inline(always)]
    fn duos_of_nibbles<N: Nibbles>(self, bits: Self::I) -> [[Self::Duo; 2]; 2] {
        // `vpermw` reads the low five bits of each index; the table's halves are equal, so that the fifth is of no account.
        sound!({
            let table = _mm512_loadu_si512(N::PAIRS.as_ptr().cast());
            [
                [_mm512_permutexvar_epi16(bits, table), _mm512_permutexvar_epi16(_mm512_srli_epi32::<4>(bits), table)],
                [
                    _mm512_permutexvar_epi16(_mm512_srli_epi32::<8>(bits), table),
                    _mm512_permutexvar_epi16(_mm512_srli_epi32::<12>(bits), table),
                ],
            ]
        })
    }

    #[inline(always)]
    fn duo_of_bytes(self, first: &[i8; LANES], second: &[i8; LANES]) -> Self::Duo {
        sound!({
            let high = _mm512_castps_si512(self.load_i8(first));
            _mm512_or_si512(high, _mm512_srli_epi32::<16>(_mm512_castps_si512(self.load_i8(second))))
        })
    }

    #[inline(always)]
    fn duo_of_line(self, line: Self::I) -> Self::Duo {
        line
    }

    #[inline(always)]
    fn pack_block(self, values: [Self::F; 2]) -> XBlock<u32> {
        const FIRST: [i32; LANES] = [0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29];
        const SECOND: [i32; LANES] = [2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31];
        let mut block = [[0; DUOS]; 2];
        sound!({
            let first = _mm512_permutex2var_ps(values[0], _mm512_loadu_si512(FIRST.as_ptr().cast()), values[1]);
            let second = _mm512_permutex2var_ps(values[0], _mm512_loadu_si512(SECOND.as_ptr().cast()), values[1]);
            let (first, second) = (_mm512_castps_si512(first), _mm512_castps_si512(second));
            let packed = _mm512_or_si512(first, _mm512_srli_epi32::<16>(second));
            _mm512_storeu_si512(block.as_mut_ptr().cast(), packed);
        });
        block
    }

    /// The transpose of sixteen lines of sixteen, in four rounds of halves.
    #[inline(always)]
    fn turn_blocks(self, blocks: &[XBlock<u32>], to: &mut [[Self::Stored; DUOS]; 2]) {
        sound!({
            let mut rows = [_mm512_setzero_si512(); LANES];
            for (row, block) in rows.iter_mut().zip(blocks) {
                *row = _mm512_loadu_si512(block.as_ptr().cast());
            }
            let mut pairs = [_mm512_setzero_si512(); LANES];
            for i in 0..LANES / 2 {
                pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
            }
            // fours[4i + j]: in each quarter q, column 4q + j of rows 4i … 4i + 3.
            let mut fours = [_mm512_setzero_si512(); LANES];
            for i in (0..LANES).step_by(4) {
                fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
                fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
                fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
                fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
            }
            let columns = to.as_flattened_mut();
            for j in 0..4 {
                let even_low = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
                let even_high = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
                let odd_low = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
                let odd_high = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
                let quarters = [
                    _mm512_shuffle_i32x4::<0x88>(even_low, even_high),
                    _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high),
                    _mm512_shuffle_i32x4::<0xdd>(even_low, even_high),
                    _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high),
                ];
                for (quarter, column) in quarters.into_iter().enumerate() {
                    _mm512_storeu_si512(columns[4 * quarter + j].as_mut_ptr().cast(), column);
                }
            }
        })
    }

    #[inline(always)]
    fn load_duo(self, from: &Self::Stored) -> Self::Duo {
        self.load_bits(from)
    }

    #[inline(always)]
    fn store_duo(self, duo: Self::Duo, to: &mut Self::Stored) {
        sound!(_mm512_storeu_si512(to.as_mut_ptr().cast(), duo))
    }
}

/// What AMX needs: pairs of neighbouring inputs, the earlier one in the low half of a lane.
impl Avx512Bf16 {
    /// Codes of two pairs of inputs: those of the duos' first neighbours, then those of their second ones.
    #[inline(always)]
    pub fn pairs_of_duos(self, even: __m512i, odd: __m512i, to: &mut [[u32; LANES]; 2]) {
        const HIGH: __mmask32 = 0xaaaa_aaaa;
        sound!({
            let first = _mm512_mask_blend_epi16(HIGH, _mm512_srli_epi32::<16>(even), odd);
            let second = _mm512_mask_blend_epi16(HIGH, even, _mm512_slli_epi32::<16>(odd));
            _mm512_storeu_si512(to[0].as_mut_ptr().cast(), first);
            _mm512_storeu_si512(to[1].as_mut_ptr().cast(), second);
        })
    }

    /// A block of activations, exact in bf16; the values are those of inputs 0 … 15 and 16 … 31.
    #[inline(always)]
    pub fn pack_pairs(self, values: [__m512; 2], to: &mut [u32; LANES]) {
        const EVEN: [i32; LANES] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
        const ODD: [i32; LANES] = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31];
        sound!({
            let even = _mm512_permutex2var_ps(values[0], _mm512_loadu_si512(EVEN.as_ptr().cast()), values[1]);
            let odd = _mm512_permutex2var_ps(values[0], _mm512_loadu_si512(ODD.as_ptr().cast()), values[1]);
            let even = _mm512_srli_epi32::<16>(_mm512_castps_si512(even));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_or_si512(even, _mm512_castps_si512(odd)));
        })
    }
}
