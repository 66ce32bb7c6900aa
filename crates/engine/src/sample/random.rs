//! Random bits that depend on the seed, the choice and the position alone.
//!
//! Philox 2×64 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter goes in,
//! bits come out, there is no state. So a token does not depend on the batch, on preemption or on chunks.

const MULTIPLIER: u64 = 0xD2B7_4407_B1CE_6E93;
const WEYL: u64 = 0x9E37_79B9_7F4A_7C15;

/// 64 uniform bits for the token at `position` (0 is the first generated one). Choice i of seed s draws as choice 0 of
/// seed s + i does.
pub fn draw(seed: u64, choice: usize, position: usize) -> u64 {
    philox2x64([position as u64, 0], seed.wrapping_add(choice as u64))[0]
}

fn philox2x64(counter: [u64; 2], key: u64) -> [u64; 2] {
    let [mut low, mut high] = counter;
    let mut key = key;
    for _ in 0..10 {
        let product = u128::from(low) * u128::from(MULTIPLIER);
        low = (product >> 64) as u64 ^ key ^ high;
        high = product as u64;
        key = key.wrapping_add(WEYL);
    }
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::{draw, philox2x64};

    /// Known answers of Random123 1.14 (`kat_vectors`, philox2x64 10).
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox2x64([0, 0], 0), [0xca00_a045_9843_d731, 0x66c2_4222_c9a8_45b5]);
        assert_eq!(philox2x64([u64::MAX, u64::MAX], u64::MAX), [0x65b0_21d6_0cd8_310f, 0x4d02_f322_2f86_df20]);
        let pi = philox2x64([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344], 0xa409_3822_299f_31d0);
        assert_eq!(pi, [0x0a5e_742c_2997_341c, 0xb0f8_83d3_8000_de5d]);
    }

    #[test]
    fn choices_and_positions_draw_differently() {
        assert_eq!(draw(7, 2, 5), draw(9, 0, 5));
        assert_ne!(draw(7, 0, 5), draw(7, 0, 6));
        assert_ne!(draw(7, 0, 5), draw(7, 1, 5));
    }
}
