//! The generator behind every choice by a seed: SplitMix64.
//!
//! It is our own, so that a seed gives the same split whatever library is updated. State s and its output, modulo 2⁶⁴:
//! s ← s + 0x9e3779b97f4a7c15; z = s; z = (z ^ z≫30) · 0xbf58476d1ce4e5b9; z = (z ^ z≫27) · 0x94d049bb133111eb; z ^ z≫31.
//! Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.

/// Pseudo-random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1. All are equally likely up to 2⁻⁶⁴ · `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Puts items in a random order (Fisher and Yates, from the last place to the first).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_numbers_of_a_seed_are_those_of_the_published_algorithm() {
        let mut random = Random::new(1_234_567);
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next_u64(), random.next_u64(), random.next_u64()], first);
    }
}
