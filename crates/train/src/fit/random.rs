//! Random numbers that are the same in every run, and can be taken up at any place.
//!
//! There is no state to be saved: whoever needs numbers makes a stream from the job's seed, a purpose and a position, so that
//! a job that is resumed at a step draws what an unbroken run would have drawn.

use sha2::{Digest, Sha256};

/// What a stream is for; two purposes never share numbers.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The first weights.
    Start = 1,
    /// The order of the examples of an epoch.
    Order = 2,
    /// Which units are dropped in a step.
    Dropout = 3,
    /// Changes of a picture in a step.
    Augmentation = 4,
    /// Which settings are tried.
    Search = 5,
    /// Which rows go into which split.
    Split = 6,
}

/// xoshiro256++ (Blackman and Vigna), its state filled by splitmix64.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of `seed` for `purpose` at `position` (an epoch, a step).
    pub fn new(seed: u64, purpose: Purpose, position: u64) -> Random {
        let mut mixer = seed ^ (purpose as u64).wrapping_mul(0xA076_1D64_78BD_642F);
        mixer = splitmix(&mut mixer).wrapping_add(position);
        Random { state: std::array::from_fn(|_| splitmix(&mut mixer)) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let bits = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ shifted, d.rotate_left(45)];
        bits
    }

    /// A number in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// A whole number below `end` (at least 1). The bias of the multiplication is below 2⁻³² for any `end` that fits memory.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// A number of the normal distribution with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        normal(1.0 - self.uniform(), self.uniform())
    }

    /// A power of ten with an exponent between these.
    pub fn magnitude(&mut self, least: f64, most: f64) -> f64 {
        10.0_f64.powf(least + (most - least) * self.uniform())
    }

    /// One of `choices` (at least one).
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// The numbers below `count` in a random order (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// Random numbers that nobody can foretell who has not the key: SHA-256 of key, position and a counter.
#[derive(Debug)]
pub struct Secret {
    key: [u8; 32],
    position: u64,
    counter: u64,
    block: [u64; 4],
    used: usize,
}

impl Secret {
    /// The stream of `key` at `position`.
    pub fn new(key: [u8; 32], position: u64) -> Secret {
        Secret { key, position, counter: 0, block: [0; 4], used: 4 }
    }

    /// A number in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// A number of the normal distribution with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        normal(1.0 - self.uniform(), self.uniform())
    }

    fn bits(&mut self) -> u64 {
        if self.used == 4 {
            let mut hash = Sha256::new();
            hash.update(self.key);
            hash.update(self.position.to_le_bytes());
            hash.update(self.counter.to_le_bytes());
            let digest = hash.finalize();
            for (word, bytes) in self.block.iter_mut().zip(digest.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().expect("invariant: eight bytes"));
            }
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }
}

/// Box and Muller; `first` in (0, 1].
fn normal(first: f64, second: f64) -> f64 {
    (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let take = |seed, purpose, position| Random::new(seed, purpose, position).bits();
        assert_eq!(take(1, Purpose::Order, 0), take(1, Purpose::Order, 0));
        assert_ne!(take(1, Purpose::Order, 0), take(1, Purpose::Order, 1));
        assert_ne!(take(1, Purpose::Order, 0), take(1, Purpose::Start, 0));
        assert_ne!(take(1, Purpose::Order, 0), take(2, Purpose::Order, 0));
    }

    #[test]
    fn an_order_holds_every_number_once() {
        let mut order = Random::new(7, Purpose::Order, 3).order(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let (mut random, mut secret) = (Random::new(5, Purpose::Start, 0), Secret::new([9; 32], 1));
        let mut streams: [&mut dyn FnMut() -> f64; 2] = [&mut || random.normal(), &mut || secret.normal()];
        for draw in &mut streams {
            let drawn: Vec<f64> = (0..20_000).map(|_| draw()).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
            assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        }
    }
}
