//! What one tenant, or one key, has in use of its limits; and both of them for a request, in [`Account`].

use super::bucket::{Bucket, Wait};
use super::month::{Month, Months, Sums};
use super::refusal::{LimitKind, LimitScope, Refusal, Shortage};
use super::{Now, Subject};
use orrery_store::{KeyId, Limits, Spent};
use std::collections::HashMap;

/// Nobody knows when a running request ends: this is what a client is told.
const ESTIMATE_NS: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
/// What a request takes at the least.
const LEAST: Spent = Spent { tokens: 1, cost_nano: 1 };

/// One tenant or one key.
#[derive(Debug)]
pub(super) struct Scope {
    whose: LimitScope,
    limits: Limits,
    in_flight: u64,
    /// `None` where there is no limit.
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    months: Months,
    /// When it was first seen to have no request.
    idle_since_ns: Option<u64>,
}

impl Scope {
    pub(super) fn seeded(whose: LimitScope, month: Month, spent: Spent) -> Self {
        Self {
            whose,
            limits: Limits::default(),
            in_flight: 0,
            requests: None,
            tokens: None,
            months: Months::seeded(month, spent),
            idle_since_ns: None,
        }
    }

    /// Brings the buckets up to `now`, and from then on `limits` hold.
    fn set_limits(&mut self, limits: &Limits, now: Now) {
        set_bucket(&mut self.requests, limits.requests_per_minute, now);
        set_bucket(&mut self.tokens, limits.tokens_per_minute, now);
        if self.limits != *limits {
            self.limits = limits.clone();
        }
    }

    fn advance(&mut self, now: Now) {
        [&mut self.requests, &mut self.tokens].into_iter().flatten().for_each(|bucket| bucket.advance(now.mono_ns));
    }

    fn lacks_for_admission(&mut self, month: Month, now: Now) -> Option<Shortage> {
        let places = self.limits.concurrent_requests.filter(|limit| self.in_flight >= *limit).map(|limit| {
            let wait_ns = (limit > 0).then_some(ESTIMATE_NS);
            self.shortage(LimitKind::Concurrent, limit).wait(wait_ns, true)
        });
        let requests = self.lacks_in(self.requests.as_ref(), LimitKind::Requests, 1, now);
        let [tokens, cost] = self.lacks_budgets(month, LEAST, now);
        Shortage::longest([requests, places, tokens, cost])
    }

    fn lacks_for_reservation(&mut self, month: Month, most: Spent, now: Now) -> Option<Shortage> {
        let per_minute = self.lacks_in(self.tokens.as_ref(), LimitKind::Tokens, most.tokens, now);
        let [tokens, cost] = self.lacks_budgets(month, most, now);
        Shortage::longest([per_minute, tokens, cost])
    }

    fn lacks_in(&self, bucket: Option<&Bucket>, kind: LimitKind, asked: u64, now: Now) -> Option<Shortage> {
        let bucket = bucket?;
        let wait_ns = match bucket.wait(asked, now.mono_ns) {
            Wait::Fits => return None,
            Wait::Ns(wait_ns) => Some(wait_ns),
            Wait::Never => None,
        };
        Some(Shortage { asked, ..self.shortage(kind, bucket.limit()).wait(wait_ns, false) })
    }

    fn lacks_budgets(&mut self, month: Month, most: Spent, now: Now) -> [Option<Shortage>; 2] {
        let Some(Sums { spent, reserved }) = self.months.sums(month).copied() else { return [None; 2] };
        let until_end_ns = until_ms(month.next().start_ms(), now);
        let lacks = |kind, budget: Option<u64>, spent: u64, reserved: u64, asked: u64| {
            let limit = budget?;
            let fits = |taken: u64| taken.checked_add(asked).is_some_and(|sum| sum <= limit);
            let taken = spent.saturating_add(reserved);
            if fits(taken) {
                return None;
            }
            // What is reserved may come back before the month ends.
            let is_estimate = fits(spent);
            let wait_ns = fits(0).then_some(if is_estimate { ESTIMATE_NS } else { until_end_ns });
            let shortage = self.shortage(kind, limit).wait(wait_ns, is_estimate);
            Some(Shortage { left: limit.saturating_sub(taken), asked, ..shortage })
        };
        let Limits { month_tokens, month_cost_nano, .. } = self.limits;
        [
            lacks(LimitKind::MonthTokens, month_tokens, spent.tokens, reserved.tokens, most.tokens),
            lacks(LimitKind::MonthCost, month_cost_nano, spent.cost_nano, reserved.cost_nano, most.cost_nano),
        ]
    }

    fn shortage(&self, kind: LimitKind, limit: u64) -> Shortage {
        Shortage::new(kind, self.whose, limit)
    }

    fn take_request(&mut self, charge: u64) {
        self.in_flight += 1;
        self.idle_since_ns = None;
        if let Some(bucket) = &mut self.requests {
            bucket.charge(charge, 1);
        }
    }

    fn take(&mut self, held: &Held, most: Spent, tokens_charge: u64) {
        if let Some(bucket) = &mut self.requests {
            bucket.close(held.request_charge, 1);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.charge(tokens_charge, most.tokens);
        }
        if let Some(sums) = self.months.sums(held.month) {
            sums.reserve(most);
        }
    }

    fn release(&mut self, held: &Held, end: End) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match end {
            End::Refused | End::Unreserved => {
                if let Some(bucket) = &mut self.requests {
                    bucket.close(held.request_charge, u64::from(end == End::Unreserved));
                }
            }
            End::Settled { tokens_charge, most, used } => {
                if let Some(bucket) = &mut self.tokens {
                    bucket.close(tokens_charge, used.tokens);
                }
                if let Some(sums) = self.months.sums(held.month) {
                    sums.settle(most, used);
                }
            }
        }
    }

    /// Whether to forget it: nothing is in use, and the ledger has all that it has spent.
    fn is_past(&mut self, now: Now, ledger_until_ns: u64) -> bool {
        if self.in_flight > 0 {
            return false;
        }
        let idle_since_ns = *self.idle_since_ns.get_or_insert(now.mono_ns);
        let mut buckets = [&mut self.requests, &mut self.tokens].into_iter().flatten();
        idle_since_ns <= ledger_until_ns && buckets.all(|bucket| bucket.is_idle(now.mono_ns))
    }
}

fn set_bucket(bucket: &mut Option<Bucket>, limit: Option<u64>, now: Now) {
    match (bucket.as_mut(), limit) {
        (Some(bucket), Some(limit)) => bucket.set_limit(limit, now.mono_ns),
        (None, Some(limit)) => *bucket = Some(Bucket::full(limit, now.mono_ns)),
        (_, None) => *bucket = None,
    }
}

fn until_ms(wall_ms: i64, now: Now) -> u64 {
    u64::try_from(wall_ms.saturating_sub(now.wall_ms)).unwrap_or(0).saturating_mul(NS_PER_MS)
}

/// A tenant and those of its keys that are in use. One lock holds it: a request takes from both or from none.
#[derive(Debug, Default)]
pub(super) struct Account {
    tenant: Option<Scope>,
    keys: HashMap<KeyId, Scope>,
    charges: u64,
}

/// What an admitted request holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: KeyId,
    /// The month in which it came, and to which all of it is counted.
    month: Month,
    request_charge: u64,
}

/// How a request gives back what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It never counted.
    Refused,
    /// It counts as a request that took no tokens.
    Unreserved,
    Settled {
        tokens_charge: u64,
        most: Spent,
        used: Spent,
    },
}

impl Account {
    /// Where there are sums already, they stay: they hold what the ledger does not yet.
    pub(super) fn seed(&mut self, key: Option<&KeyId>, month: Month, spent: Spent) {
        match key {
            None => {
                self.tenant.get_or_insert_with(|| Scope::seeded(LimitScope::Tenant, month, spent));
            }
            Some(key) => {
                self.keys.entry(key.clone()).or_insert_with(|| Scope::seeded(LimitScope::Key, month, spent));
            }
        }
    }

    pub(super) fn is_seeded(&self, key: Option<&KeyId>) -> bool {
        key.map_or(self.tenant.is_some(), |key| self.keys.contains_key(key))
    }

    pub(super) fn admit(&mut self, subject: &Subject, now: Now) -> Result<Held, Refusal> {
        let tenant = self.tenant.as_mut().ok_or_else(|| Refusal::unseeded(LimitScope::Tenant))?;
        let key = self.keys.get_mut(subject.key).ok_or_else(|| Refusal::unseeded(LimitScope::Key))?;
        tenant.set_limits(subject.tenant_limits, now);
        key.set_limits(subject.key_limits, now);
        let month = enter(tenant, key, now);
        let shortages = [tenant.lacks_for_admission(month, now), key.lacks_for_admission(month, now)];
        if let Some(shortage) = Shortage::longest(shortages) {
            return Err(Refusal::new(shortage, month));
        }
        let request_charge = next(&mut self.charges);
        tenant.take_request(request_charge);
        key.take_request(request_charge);
        Ok(Held { key: subject.key.clone(), month, request_charge })
    }

    /// Takes `most` from all limits, and returns the id of the charge; or gives back what is held and refuses.
    pub(super) fn reserve(&mut self, held: &Held, most: Spent, now: Now) -> Result<u64, Refusal> {
        let (Some(tenant), Some(key)) = (&mut self.tenant, self.keys.get_mut(&held.key)) else {
            return Err(Refusal::unseeded(LimitScope::Key));
        };
        tenant.advance(now);
        key.advance(now);
        let month = held.month;
        let shortages = [tenant.lacks_for_reservation(month, most, now), key.lacks_for_reservation(month, most, now)];
        let Some(shortage) = Shortage::longest(shortages) else {
            let tokens_charge = next(&mut self.charges);
            tenant.take(held, most, tokens_charge);
            key.take(held, most, tokens_charge);
            return Ok(tokens_charge);
        };
        tenant.release(held, End::Refused);
        key.release(held, End::Refused);
        // The client will come again from the start: both gates count, and perhaps a new month.
        let month_now = enter(tenant, key, now);
        let again = Shortage::longest([
            tenant.lacks_for_admission(month_now, now),
            key.lacks_for_admission(month_now, now),
            tenant.lacks_for_reservation(month_now, most, now),
            key.lacks_for_reservation(month_now, most, now),
        ]);
        Err(match again {
            Some(shortage) => Refusal::new(shortage, month_now),
            // It came in a month that is over, and fits into the new one.
            None => Refusal::new(shortage.wait(Some(0), false), month),
        })
    }

    pub(super) fn release(&mut self, held: &Held, end: End) {
        for scope in [self.tenant.as_mut(), self.keys.get_mut(&held.key)].into_iter().flatten() {
            scope.release(held, end);
        }
    }

    /// For headers: requests and tokens of the tenant and of the key.
    pub(super) fn buckets(&self, key: &KeyId) -> [Option<&Bucket>; 4] {
        let (tenant, key) = (self.tenant.as_ref(), self.keys.get(key));
        [
            tenant.and_then(|scope| scope.requests.as_ref()),
            key.and_then(|scope| scope.requests.as_ref()),
            tenant.and_then(|scope| scope.tokens.as_ref()),
            key.and_then(|scope| scope.tokens.as_ref()),
        ]
    }

    /// Forgets what is past; returns how many were forgotten and how many stay.
    pub(super) fn sweep(&mut self, now: Now, ledger_until_ns: u64, may_end: bool) -> (usize, usize) {
        let before = self.len();
        self.keys.retain(|_, key| !key.is_past(now, ledger_until_ns));
        let past = self.tenant.as_mut().is_some_and(|tenant| tenant.is_past(now, ledger_until_ns));
        if past && may_end && self.keys.is_empty() {
            self.tenant = None;
        }
        (before - self.len(), self.len())
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len() + usize::from(self.tenant.is_some())
    }
}

fn next(charges: &mut u64) -> u64 {
    *charges += 1;
    *charges
}

/// The month against which a request counts that comes now.
fn enter(tenant: &mut Scope, key: &mut Scope, now: Now) -> Month {
    let wall = Month::of(now.wall_ms);
    let (of_tenant, of_key) = (tenant.months.enter(wall), key.months.enter(wall));
    // They differ only after the clock was set back into a month of which one of them knows nothing.
    of_tenant.max(of_key)
}
