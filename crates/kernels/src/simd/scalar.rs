//! The portable lanes: plain arrays, which compilers vectorise where the target allows.

use super::lanes::lane_duos;
use super::{DUOS, LANES, Nibbles, Simd, XBlock};

/// Available everywhere.
#[derive(Clone, Copy)]
pub struct Scalar;

#[inline(always)]
fn map2(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Simd for Scalar {
    type F = [f32; LANES];
    type I = [u32; LANES];
    const WIDE: bool = false;
    const PORTABLE: bool = true;

    lane_duos!();

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        *from
    }

    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        *to = value;
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    fn scale_by_power_of_two(self, a: Self::F, n: Self::F) -> Self::F {
        map2(a, n, |a, n| a * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn round_bf16(self, a: Self::F) -> Self::F {
        a.map(|value| {
            let bits = value.to_bits();
            f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
        })
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::F {
        from.map(crate::quant::half::f16_to_f32)
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::F {
        from.map(f32::from)
    }

    #[inline(always)]
    fn load_bits(self, from: &[u32; LANES]) -> Self::I {
        *from
    }

    #[inline(always)]
    fn low_bf16(self, pairs: Self::I) -> Self::F {
        pairs.map(|pair| f32::from_bits(pair << 16))
    }

    #[inline(always)]
    fn high_bf16(self, pairs: Self::I) -> Self::F {
        pairs.map(|pair| f32::from_bits(pair & 0xffff_0000))
    }

    #[inline(always)]
    fn nibble_unsigned<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
        bits.map(|lane| ((lane >> SHIFT) & 15) as f32)
    }

    #[inline(always)]
    fn nibble_signed<const SHIFT: u32>(self, bits: Self::I) -> Self::F {
        bits.map(|lane| (((lane >> SHIFT) << 28) as i32 >> 28) as f32)
    }

    #[inline(always)]
    fn nibble_table<const SHIFT: u32>(self, bits: Self::I, table: &[f32; 16]) -> Self::F {
        bits.map(|lane| table[(lane >> SHIFT) as usize & 15])
    }

    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}
}
