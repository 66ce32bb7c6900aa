//! A token bucket in whole numbers. It knows no tenant, no clock and no lock.
//!
//! The bucket holds `limit` tokens and refills by `limit` tokens a minute. Levels count what is used, in shares of a
//! token: one token is as many shares as a minute has nanoseconds, so that a nanosecond refills `limit` shares, and
//! nothing is ever rounded.
//!
//! A charge stays open until it is known how much of it was needed. Closing it makes the bucket what it would be, had
//! it been charged with that much at that time: it is more than taking the rest off the level, since a bucket which is
//! full does not refill, and what was not charged would have met a fuller one. To take off the whole rest would let
//! through more than the limit. So the bucket remembers what came after each open charge, as one [`Span`]:
//!
//! ```text
//! before_open → charge → span → charge → span = used
//! ```

use super::Rate;
use orrery_store::COUNT_MAX;
use std::collections::VecDeque;

/// Shares of one token; the nanoseconds of a minute.
const TOKEN: i128 = 60_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Bucket {
    limit: u64,
    /// Up to when it has refilled.
    at_ns: u64,
    /// Shares in use.
    used: i128,
    /// What was in use before the first open charge.
    before_open: i128,
    /// Oldest first, ids ascending.
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    id: u64,
    shares: i128,
    after: Span,
}

/// What a stretch of refills and closed charges makes of a level: `max(level + add, floor)`.
#[derive(Debug, Clone, Copy)]
struct Span {
    add: i128,
    floor: i128,
}

impl Span {
    /// Levels are never negative.
    const NOTHING: Self = Self { add: 0, floor: 0 };

    fn refill(shares: i128) -> Self {
        Self { add: -shares, floor: 0 }
    }

    fn charge(shares: i128) -> Self {
        Self { add: shares, floor: shares }
    }

    fn apply(self, level: i128) -> i128 {
        (level + self.add).max(self.floor)
    }

    /// This one, then `next`.
    fn then(self, next: Self) -> Self {
        Self { add: self.add + next.add, floor: next.apply(self.floor) }
    }
}

/// Both are bounded, so that no sum can leave 128 bits.
fn shares(tokens: u64) -> i128 {
    i128::from(tokens.min(COUNT_MAX)) * TOKEN
}

impl Bucket {
    pub(super) fn full(limit: u64, now_ns: u64) -> Self {
        Self { limit: limit.min(COUNT_MAX), at_ns: now_ns, used: 0, before_open: 0, open: VecDeque::new() }
    }

    /// Refills up to `now_ns`; a time that has passed already changes nothing.
    pub(super) fn advance(&mut self, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.at_ns);
        if passed_ns == 0 {
            return;
        }
        self.at_ns = now_ns;
        let span = Span::refill(i128::from(passed_ns) * i128::from(self.limit));
        self.used = span.apply(self.used);
        match self.open.back_mut() {
            Some(last) => last.after = last.after.then(span),
            None => self.before_open = self.used,
        }
    }

    /// From `now_ns` on another limit holds. What is in use stays in use.
    pub(super) fn set_limit(&mut self, limit: u64, now_ns: u64) {
        self.advance(now_ns);
        self.limit = limit.min(COUNT_MAX);
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Nanoseconds from `now_ns` until `tokens` fit. Call [`advance`](Self::advance) before.
    pub(super) fn wait(&self, tokens: u64, now_ns: u64) -> Wait {
        if tokens > self.limit {
            return Wait::Never;
        }
        let over = self.used + shares(tokens) - shares(self.limit);
        if over <= 0 {
            return Wait::Fits;
        }
        let wait_ns = div_ceil(over, self.limit);
        // Another thread may have read its clock later and come first.
        Wait::Ns(wait_ns.saturating_add(self.at_ns.saturating_sub(now_ns)))
    }

    /// Charges `tokens`, whether they fit or not. Ids must ascend.
    pub(super) fn charge(&mut self, id: u64, tokens: u64) {
        debug_assert!(self.open.back().is_none_or(|last| last.id < id));
        let shares = shares(tokens);
        self.used += shares;
        self.open.push_back(Open { id, shares, after: Span::NOTHING });
    }

    /// Ends the charge `id`, of which `tokens` were needed. An id that it does not know is passed over: the charge was
    /// made before the limit was.
    pub(super) fn close(&mut self, id: u64, tokens: u64) {
        let Ok(index) = self.open.binary_search_by_key(&id, |open| open.id) else { return };
        let Some(closed) = self.open.remove(index) else { return };
        let span = Span::charge(shares(tokens)).then(closed.after);
        match index.checked_sub(1).and_then(|before| self.open.get_mut(before)) {
            Some(before) => before.after = before.after.then(span),
            None => self.before_open = span.apply(self.before_open),
        }
        if closed.shares != shares(tokens) {
            let steps = self.open.iter();
            self.used = steps.fold(self.before_open, |level, open| open.after.apply(level + open.shares));
        }
    }

    /// How it will look to a client at `now_ns` under `limit`. Changes nothing.
    pub(super) fn rate(&self, limit: u64, now_ns: u64) -> Rate {
        let passed_ns = now_ns.saturating_sub(self.at_ns);
        let used = Span::refill(i128::from(passed_ns) * i128::from(self.limit)).apply(self.used);
        let left = (shares(limit) - used).max(0) / TOKEN;
        let reset_ns = if limit == 0 { 0 } else { div_ceil(used, limit.min(COUNT_MAX)) };
        Rate { limit, remaining: u64::try_from(left).unwrap_or(u64::MAX), reset_ms: reset_ns.div_ceil(NS_PER_MS) }
    }

    /// Whether it could be forgotten: it is full, or can never refill, and no charge is open.
    pub(super) fn is_idle(&mut self, now_ns: u64) -> bool {
        self.advance(now_ns);
        self.open.is_empty() && (self.used == 0 || self.limit == 0)
    }
}

/// When something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Fits,
    Ns(u64),
    Never,
}

/// Of numbers that are not negative, and a divisor that is not 0.
fn div_ceil(shares: i128, by: u64) -> u64 {
    let by = i128::from(by);
    u64::try_from((shares + by - 1) / by).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn advanced(bucket: &mut Bucket, now_ns: u64) -> &mut Bucket {
        bucket.advance(now_ns);
        bucket
    }

    #[test]
    fn refills_to_the_nanosecond() {
        // (limit, charged at 0, asked, wait in ns): 60 a minute is one in a second, 7 a minute is no whole number of ns.
        for (limit, charged, asked, wait) in [
            (60, 60, 1, Wait::Ns(SECOND)),
            (60, 60, 60, Wait::Ns(60 * SECOND)),
            (60, 59, 1, Wait::Fits),
            (60, 30, 31, Wait::Ns(SECOND)),
            (7, 7, 1, Wait::Ns(8_571_428_572)),
            (7, 7, 3, Wait::Ns(25_714_285_715)),
            (1, 0, 2, Wait::Never),
            (0, 0, 1, Wait::Never),
            (COUNT_MAX, COUNT_MAX, 1, Wait::Ns(1)),
            (COUNT_MAX, 0, u64::MAX, Wait::Never),
        ] {
            let mut bucket = Bucket::full(limit, 0);
            bucket.charge(0, charged);
            assert_eq!(bucket.wait(asked, 0), wait, "{limit} {charged} {asked}");
            let Wait::Ns(wait_ns) = wait else { continue };
            assert_eq!(advanced(&mut bucket, wait_ns - 1).wait(asked, wait_ns - 1), Wait::Ns(1));
            assert_eq!(advanced(&mut bucket, wait_ns).wait(asked, wait_ns), Wait::Fits);
        }
    }

    #[test]
    fn no_drift_in_many_small_steps() {
        let mut bucket = Bucket::full(7, 0);
        bucket.charge(0, 7);
        for step in 1..=1_000_000 {
            bucket.advance(step * 8571);
        }
        assert_eq!(bucket.wait(1, 8_571_000_000), Wait::Ns(428_572));
    }

    #[test]
    fn what_comes_back_is_worth_no_more_than_it_was() {
        let mut bucket = Bucket::full(60, 0);
        bucket.charge(0, 60);
        // A minute later it has refilled: without the first charge it would be as full, and not fuller.
        advanced(&mut bucket, 60 * SECOND).charge(1, 60);
        bucket.close(0, 0);
        assert_eq!(bucket.wait(1, 60 * SECOND), Wait::Ns(SECOND));
    }

    #[test]
    fn what_comes_back_does_not_depend_on_the_order() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut bucket = Bucket::full(200, 0);
            bucket.charge(0, 100);
            bucket.charge(1, 100);
            advanced(&mut bucket, 30 * SECOND).charge(2, 100);
            order.into_iter().for_each(|id| bucket.close(id, if id == 2 { 100 } else { 0 }));
            assert_eq!(bucket.rate(200, 30 * SECOND), Rate { limit: 200, remaining: 100, reset_ms: 30_000 });
        }
    }

    #[test]
    fn more_than_was_charged_is_charged_late() {
        let mut bucket = Bucket::full(60, 0);
        bucket.charge(0, 10);
        bucket.close(0, 90);
        assert_eq!(bucket.rate(60, 0), Rate { limit: 60, remaining: 0, reset_ms: 90_000 });
        assert_eq!(bucket.wait(1, 0), Wait::Ns(31 * SECOND));
    }

    #[test]
    fn an_older_clock_waits_for_the_newer_one() {
        let mut bucket = Bucket::full(60, 0);
        advanced(&mut bucket, 5 * SECOND).charge(0, 60);
        assert_eq!(advanced(&mut bucket, 4 * SECOND).wait(1, 4 * SECOND), Wait::Ns(2 * SECOND));
    }

    #[test]
    fn longest_times_and_largest_amounts_stay_in_bounds() {
        let mut bucket = Bucket::full(u64::MAX, 0);
        for id in 0..1000 {
            bucket.charge(id, u64::MAX);
        }
        bucket.advance(u64::MAX);
        bucket.charge(1000, u64::MAX);
        (0..=1000).for_each(|id| bucket.close(id, u64::MAX));
        assert_eq!(bucket.wait(1, u64::MAX), Wait::Ns(1));
        bucket.set_limit(1, u64::MAX);
        assert_eq!(bucket.wait(1, u64::MAX), Wait::Ns(u64::MAX));
    }
}
