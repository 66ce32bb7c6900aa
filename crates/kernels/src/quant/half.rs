//! The 16-bit floats, by hand: IEEE 754 binary16 and bfloat16, to and from float32.
//!
//! Rounding is to nearest, ties to even; a NaN stays a (quiet) NaN. No hardware instruction is used, so the bits are
//! the same on every machine.

/// The float32 with the same value as the binary16 `bits`; every binary16 has one.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    let magnitude = match (exponent, fraction) {
        (0, 0) => 0,
        (0, _) => {
            // Subnormal: fraction · 2⁻²⁴, normalised by moving its highest bit to the hidden place (bit 10).
            let shift = fraction.leading_zeros() - 21;
            ((113 - shift) << 23) | ((fraction << (13 + shift)) & 0x007f_ffff)
        }
        (31, 0) => 0x7f80_0000,
        (31, _) => 0x7fc0_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

/// The binary16 nearest to `value`, ties to even; past 65504 infinity, below 2⁻²⁵ zero.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00 | ((magnitude >> 13) & 0x3ff) as u16;
    }
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00; // 2¹⁶ and more, infinity included
    }
    if magnitude >= 0x3880_0000 {
        // Normal in binary16. A carry out of the fraction runs into the exponent, as it should (65520 → infinity).
        return sign | (round_shift(magnitude, 13) - (112 << 10)) as u16;
    }
    let exponent = magnitude >> 23;
    if exponent < 102 {
        return sign; // below 2⁻²⁵
    }
    let significand = (magnitude & 0x007f_ffff) | 0x0080_0000;
    sign | round_shift(significand, 126 - exponent) as u16
}

/// value / 2^shift, rounded to nearest, ties to even; `shift` is 1 to 30.
fn round_shift(value: u32, shift: u32) -> u32 {
    let odd = (value >> shift) & 1;
    (value + (1 << (shift - 1)) - 1 + odd) >> shift
}

/// The float32 with the same value as the bfloat16 `bits`.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bfloat16 nearest to `value`, ties to even; a NaN is made quiet and keeps its upper bits.
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    // Infinity has no fraction to round, and the largest finite value carries into it, so this cannot overflow.
    round_shift_16(bits)
}

fn round_shift_16(bits: u32) -> u16 {
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a finite binary16 by its definition, in f64.
    fn defined(bits: u16) -> f64 {
        let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
        let exponent = i32::from((bits >> 10) & 0x1f);
        let fraction = f64::from(bits & 0x3ff) / 1024.0;
        match exponent {
            0 => sign * fraction * 2f64.powi(-14),
            _ => sign * (1.0 + fraction) * 2f64.powi(exponent - 15),
        }
    }

    #[test]
    fn every_f16_has_its_defined_value_and_comes_back() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            match (bits & 0x7c00 == 0x7c00, bits & 0x3ff) {
                (true, 0) => assert_eq!(value, if bits & 0x8000 == 0 { f32::INFINITY } else { f32::NEG_INFINITY }),
                (true, _) => {
                    assert!(value.is_nan(), "{bits:#06x}");
                    assert_eq!(f32_to_f16(value), bits | 0x200, "{bits:#06x}");
                    continue;
                }
                _ => assert_eq!(f64::from(value).to_bits(), defined(bits).to_bits(), "{bits:#06x}"),
            }
            assert_eq!(f32_to_f16(value), bits, "{bits:#06x}");
        }
    }

    #[test]
    fn f16_rounds_to_nearest_even_between_every_pair_of_neighbours() {
        for low in 0..0x7c00_u16 {
            let high = low + 1;
            // The neighbour above the largest finite value is 65536, where it would be with one more exponent.
            let above = if high == 0x7c00 { 65536.0 } else { defined(high) };
            let middle = ((defined(low) + above) / 2.0) as f32;
            let even = if low % 2 == 0 { low } else { high };
            assert_eq!(f32_to_f16(middle), even, "{low:#06x}");
            assert_eq!(f32_to_f16(middle.next_down()), low, "{low:#06x}");
            assert_eq!(f32_to_f16(middle.next_up()), high, "{low:#06x}");
            assert_eq!(f32_to_f16(-middle), even | 0x8000, "{low:#06x}");
        }
    }

    #[test]
    fn f16_extremes() {
        assert_eq!(f32_to_f16(f32::MAX), 0x7c00);
        assert_eq!(f32_to_f16(f32::MIN), 0xfc00);
        assert_eq!(f32_to_f16(f32::MIN_POSITIVE), 0);
        assert_eq!(f32_to_f16(-f32::from_bits(1)), 0x8000);
    }

    #[test]
    fn every_bf16_comes_back_and_ties_go_to_even() {
        for bits in 0..=u16::MAX {
            let value = bf16_to_f32(bits);
            if value.is_nan() {
                assert_eq!(f32_to_bf16(value), bits | 0x40);
                continue;
            }
            assert_eq!(f32_to_bf16(value), bits);
            if value.is_infinite() {
                continue;
            }
            let middle = f32::from_bits(value.to_bits() | 0x8000);
            let next = bits + 1; // away from zero; past the largest finite value, infinity
            assert_eq!(f32_to_bf16(middle), if bits % 2 == 0 { bits } else { next }, "{bits:#06x}");
            assert_eq!(f32_to_bf16(f32::from_bits(middle.to_bits() - 1)), bits);
            assert_eq!(f32_to_bf16(f32::from_bits(middle.to_bits() + 1)), next);
        }
        // A signalling NaN whose payload lies in the lower half must not become infinity.
        assert_eq!(f32_to_bf16(f32::from_bits(0x7f80_0001)), 0x7fc0);
    }
}
