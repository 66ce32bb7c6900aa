//! The lanes of AVX2: two registers of eight.

use super::lanes::lane_duos;
use super::{DUOS, Kernel, LANES, Nibbles, Simd, XBlock};
use std::arch::x86_64::*;

/// Proof that the processor has AVX2, FMA and F16C. Made only by [`run`].
#[derive(Clone, Copy)]
pub struct Avx2(());

/// Runs `kernel` compiled for AVX2. The caller has checked that the processor has it.
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn inner<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }
    // SAFETY: `dispatch` passes only instruction sets that `Isa::is_available` found.
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

macro_rules! both {
    ($op:ident, $a:expr, $b:expr) => {
        sound!([$op($a[0], $b[0]), $op($a[1], $b[1])])
    };
}

/// The parts of lane operations on one register of eight. Methods, because closures would not be compiled for AVX2.
impl Avx2 {
    #[inline(always)]
    fn power_of_two(self, n: __m256) -> __m256 {
        sound!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
            _mm256_cvttps_epi32(n),
            _mm256_set1_epi32(127)
        ))))
    }

    #[inline(always)]
    fn round_half(self, a: __m256) -> __m256 {
        sound!({
            let bits = _mm256_castps_si256(a);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            _mm256_castsi256_ps(_mm256_and_si256(sum, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
        })
    }

    #[inline(always)]
    fn unsigned_half<const SHIFT: u32>(self, half: __m256i) -> __m256 {
        sound!({
            let shifted = _mm256_srl_epi32(half, _mm_cvtsi32_si128(SHIFT as i32));
            _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(15)))
        })
    }

    #[inline(always)]
    fn signed_half<const SHIFT: u32>(self, half: __m256i) -> __m256 {
        sound!({
            let shifted = _mm256_sll_epi32(half, _mm_cvtsi32_si128(28 - SHIFT as i32));
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<28>(shifted))
        })
    }

    #[inline(always)]
    fn table_half<const SHIFT: u32>(self, half: __m256i, table: &[f32; 16]) -> __m256 {
        sound!({
            let index = _mm256_srl_epi32(half, _mm_cvtsi32_si128(SHIFT as i32));
            let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), index);
            let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr().add(8)), index);
            _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index)))
        })
    }
}

impl Simd for Avx2 {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    const WIDE: bool = false;
    const PORTABLE: bool = false;

    lane_duos!();

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        sound!([_mm256_set1_ps(value); 2])
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        sound!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))])
    }

    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        sound!({
            _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), value[1]);
        })
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_max_ps, a, b)
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        sound!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }

    #[inline(always)]
    fn scale_by_power_of_two(self, a: Self::F, n: Self::F) -> Self::F {
        self.mul(a, [self.power_of_two(n[0]), self.power_of_two(n[1])])
    }

    #[inline(always)]
    fn round_bf16(self, a: Self::F) -> Self::F {
        [self.round_half(a[0]), self.round_half(a[1])]
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        sound!([
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8).cast())),
        ])
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::F {
        sound!([
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().cast()))),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().add(8).cast()))),
        ])
    }

    #[inline(always)]
    fn load_bits(self, from: &[u32; LANES]) -> Self::I {
        sound!([_mm256_loadu_si256(from.as_ptr().cast()), _mm256_loadu_si256(from.as_ptr().add(8).cast())])
    }

    #[inline(always)]
    fn low_bf16(self, pairs: Self::I) -> Self::F {
        sound!([
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs[0])),
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs[1])),
        ])
    }

    #[inline(always)]
    fn high_bf16(self, pairs: Self::I) -> Self::F {
        sound!({
            let mask = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            [
                _mm256_castsi256_ps(_mm256_and_si256(pairs[0], mask)),
                _mm256_castsi256_ps(_mm256_and_si256(pairs[1], mask)),
            ]
        })
    }

    #[inline(always)]
    fn nibble_unsigned<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
        [self.unsigned_half::<SHIFT>(bits[0]), self.unsigned_half::<SHIFT>(bits[1])]
    }

    #[inline(always)]
    fn nibble_signed<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
        [self.signed_half::<SHIFT>(bits[0]), self.signed_half::<SHIFT>(bits[1])]
    }

    #[inline(always)]
    fn nibble_table<const SHIFT: u32>(self, bits: Self::I, table: &[f32; 16]) -> Self::F {
        [self.table_half::<SHIFT>(bits[0], table), self.table_half::<SHIFT>(bits[1], table)]
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        sound!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
