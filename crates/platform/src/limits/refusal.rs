//! Why a request is refused, and when it would not be.

use super::month::Month;
use std::fmt;
use std::time::Duration;

/// A limit is in the way. A refused request takes nothing from any limit.
///
/// Where more than one limit is in the way, it is about the one that lasts longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which limit.
    pub kind: LimitKind,
    /// Whose limit.
    pub scope: LimitScope,
    /// For the client: the limit, and the way out.
    pub message: String,
    /// The shortest time after which the same request would be admitted if nothing else happened. `None`: never, since
    /// it asks for more than the whole limit.
    pub retry_after: Option<Duration>,
    /// `retry_after` is a guess, since the end of running requests is waited for too, and nobody knows when that is.
    pub is_estimate: bool,
}

/// The limits, by the names of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// `requests_per_minute`.
    Requests,
    /// `tokens_per_minute`.
    Tokens,
    /// `concurrent_requests`.
    Concurrent,
    /// `month_tokens`.
    MonthTokens,
    /// `month_cost_nano`.
    MonthCost,
    /// No limit: it is not known what was spent this month. Not for the client: call [`Limiter::seed`] and ask again.
    ///
    /// [`Limiter::seed`]: super::Limiter::seed
    Unseeded,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitScope {
    /// Over all keys of the tenant.
    Tenant,
    /// Of one key alone.
    Key,
}

impl Refusal {
    /// [`retry_after`](Self::retry_after) in whole milliseconds, rounded up.
    pub fn retry_after_ms(&self) -> Option<u64> {
        let nanos = self.retry_after?.as_nanos();
        Some(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    pub(super) fn unseeded(scope: LimitScope) -> Self {
        let message = format!("what the {scope} spent this month is not known yet; try again in 1 s");
        let retry_after = Some(Duration::from_secs(1));
        Self { kind: LimitKind::Unseeded, scope, message, retry_after, is_estimate: true }
    }

    pub(super) fn new(shortage: Shortage, month: Month) -> Self {
        Self {
            kind: shortage.kind,
            scope: shortage.scope,
            message: shortage.message(month),
            retry_after: shortage.wait_ns.map(Duration::from_nanos),
            is_estimate: shortage.waits_for_others && shortage.wait_ns.is_some(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
        })
    }
}

/// One limit that is in the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortage {
    pub(super) kind: LimitKind,
    pub(super) scope: LimitScope,
    pub(super) limit: u64,
    /// What is left of the limit now, where that is told.
    pub(super) left: u64,
    pub(super) asked: u64,
    /// `None`: it will never fit.
    pub(super) wait_ns: Option<u64>,
    /// The wait is a guess at when a running request ends.
    pub(super) is_estimate: bool,
    /// So is the wait for this limit, or that for another one which is in the way too.
    pub(super) waits_for_others: bool,
}

impl Shortage {
    pub(super) fn new(kind: LimitKind, scope: LimitScope, limit: u64) -> Self {
        Self { kind, scope, limit, left: 0, asked: 1, wait_ns: None, is_estimate: false, waits_for_others: false }
    }

    pub(super) fn wait(self, wait_ns: Option<u64>, is_estimate: bool) -> Self {
        let is_estimate = is_estimate && wait_ns.is_some();
        Self { wait_ns, is_estimate, waits_for_others: is_estimate, ..self }
    }

    /// The longest of them; of equals the first.
    pub(super) fn longest<const N: usize>(all: [Option<Self>; N]) -> Option<Self> {
        let wait = |shortage: &Self| shortage.wait_ns.map_or(u128::MAX, u128::from);
        let waits_for_others = all.iter().flatten().any(|shortage| shortage.waits_for_others);
        let longest = all.into_iter().flatten().reduce(|a, b| if wait(&b) > wait(&a) { b } else { a })?;
        Some(Self { waits_for_others, ..longest })
    }

    fn message(self, month: Month) -> String {
        let Self { scope, limit, left, asked, .. } = self;
        let what = match self.kind {
            LimitKind::Requests => format!("the {scope}'s limit of {limit} requests per minute is reached"),
            LimitKind::Concurrent => format!("the {scope}'s limit of {limit} requests at one time is reached"),
            LimitKind::Tokens => format!(
                "this request may take {asked} tokens (the prompt's and those it may generate), and the {scope}'s limit \
                 is {limit} tokens per minute"
            ),
            LimitKind::MonthTokens if left == 0 => {
                format!("the {scope}'s budget of {limit} tokens for this month is used up")
            }
            LimitKind::MonthCost if left == 0 => {
                format!("the {scope}'s budget of {} for this month is used up", money(limit))
            }
            LimitKind::MonthTokens => format!(
                "the {scope}'s budget of {limit} tokens for this month has {left} left, and this request may take \
                 {asked}"
            ),
            LimitKind::MonthCost => format!(
                "the {scope}'s budget of {} for this month has {} left, and this request may cost {}",
                money(limit),
                money(left),
                money(asked)
            ),
            LimitKind::Unseeded => format!("what the {scope} spent this month is not known yet"),
        };
        format!("{what}; {}", self.way_out(month))
    }

    fn way_out(self, month: Month) -> String {
        let seconds = self.wait_ns.map(|ns| ns.div_ceil(1_000_000) as f64 / 1000.0);
        let wait = match seconds {
            Some(seconds) if self.is_estimate => {
                format!("try again when one that runs has ended, in {seconds} s or so")
            }
            Some(seconds) => format!("try again in {seconds} s"),
            None => format!("ask who runs this service to raise the {}'s limit", self.scope),
        };
        let less = match (self.kind, seconds) {
            (LimitKind::Tokens, None) => self.limit,
            (LimitKind::MonthTokens, _) => self.left,
            (LimitKind::MonthCost, _) if self.left > 0 => return format!("lower `max_tokens`, or {wait}"),
            _ => 0,
        };
        let wait = match self.kind {
            LimitKind::MonthTokens | LimitKind::MonthCost if seconds.is_some() && !self.is_estimate => {
                let next = month.next();
                format!("wait for the next month, which begins on {:04}-{:02}-01 (UTC)", next.year(), next.number())
            }
            _ => wait,
        };
        if less == 0 {
            return wait;
        }
        format!("ask for {less} or less in all, with a lower `max_tokens` or a shorter prompt, or {wait}")
    }
}

/// Nano-units as units, without zeros at the end.
fn money(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_units() {
        for (nano, text) in [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (20_000_000_000, "20")] {
            assert_eq!(money(nano), text);
        }
    }
}
