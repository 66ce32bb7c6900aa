//! How many tokens a step may have, so that it takes about the time aimed at.
//!
//! A long step holds up every stream and every cancel. The size of steps changes no result, only when it comes.

use std::time::Duration;

/// Tokens of a step before a speed is known.
const FIRST: usize = 128;
/// Smaller steps say little about the speed of prefill.
const TELLING: usize = 16;
/// Never below this, however slow the machine.
const LEAST: usize = 16;

/// Follows the speed of the steps.
#[derive(Debug)]
pub struct Pace {
    target: Duration,
    /// 0 until a telling step was seen.
    tokens_per_second: f64,
}

impl Pace {
    /// `target_ms` 0: no aim.
    pub fn new(target_ms: u64) -> Self {
        Self { target: Duration::from_millis(target_ms), tokens_per_second: 0.0 }
    }

    pub fn budget(&self) -> usize {
        if self.target.is_zero() {
            return usize::MAX;
        }
        if self.tokens_per_second == 0.0 {
            return FIRST;
        }
        ((self.tokens_per_second * self.target.as_secs_f64()) as usize).max(LEAST)
    }

    pub fn observe(&mut self, tokens: usize, elapsed: Duration) {
        if tokens < TELLING {
            return;
        }
        let speed = tokens as f64 / elapsed.as_secs_f64().max(1e-6);
        let old = if self.tokens_per_second == 0.0 { speed } else { self.tokens_per_second };
        self.tokens_per_second = 0.6 * old + 0.4 * speed;
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, LEAST, Pace};
    use std::time::Duration;

    #[test]
    fn the_budget_follows_the_speed() {
        let mut pace = Pace::new(100);
        assert_eq!(pace.budget(), FIRST);
        pace.observe(1, Duration::from_secs(1));
        assert_eq!(pace.budget(), FIRST, "a step of one token says nothing");
        pace.observe(100, Duration::from_millis(200));
        assert_eq!(pace.budget(), 50);
        for _ in 0..20 {
            pace.observe(100, Duration::from_secs(100));
        }
        assert_eq!(pace.budget(), LEAST);
        pace.observe(100, Duration::ZERO);
        assert!(pace.budget() > 1000);
        assert_eq!(Pace::new(0).budget(), usize::MAX);
    }
}
