//! Limits of tenants and of their keys: requests and tokens per minute, requests at one time, and budgets per month.
//!
//! It owns what is in use of each limit, in memory; a request never waits here for a disk or for another one. It must
//! not know HTTP, clocks (each call is told what time it is) and where limits and sums are stored. A tenant's part of
//! the queue (`queue_share_percent`) is the engine's.
//!
//! A request passes two gates, each for its tenant **and** its key, each all or nothing:
//!
//! 1. [`Limiter::admit`] takes one request and one place, and wants every budget to have something left.
//! 2. [`Permit::reserve`], when the prompt's length is known, reserves the most tokens and money that it may take.
//!
//! Then [`Reservation::settle`], or dropping it, gives back what was not needed. A request that is refused at either
//! gate takes nothing from any limit.
//!
//! **Per minute.** A token bucket (`bucket.rs`) holds as many as the limit and refills by the limit in a minute, exact
//! to the nanosecond. In any time T there pass no more than `limit × (1 + T / 1 min)`. An end gives back what was not
//! needed as if it had never been taken.
//!
//! **At one time.** From `admit` until the permit or reservation is dropped.
//!
//! **Per month.** Calendar months (UTC). What is spent and what is reserved are no more than the budget together. A
//! request counts in the month in which it was admitted, even if it ends in the next; the ledger must be told that same
//! time. An exhausted budget refuses every request, free ones too.
//!
//! **Overshoot.** None, of any limit, however many requests come at once, as long as no request takes more than it
//! reserved. What is taken beyond that is the overshoot: it is charged all the same.
//!
//! **Changed limits** hold from the next request on. What is in use stays in use, so that a limit that is lowered below
//! it lets nothing in until it is no longer. A limit per minute that is new starts full: what came before is unknown.
//!
//! **Sums of a month** are read from the ledger by the caller and handed to [`Limiter::seed`], for the tenant and for
//! the key, before a request can be admitted ([`LimitKind::Unseeded`]). [`Limiter::sweep`] forgets whoever has nothing
//! in use that the ledger does not know, and bounds memory to who came lately.
//!
//! Start at [`Limiter`].

mod bucket;
mod month;
mod permit;
mod refusal;
mod scope;

pub use month::month_start_ms;
pub use permit::{Permit, Reservation};
pub use refusal::{LimitKind, LimitScope, Refusal};

use bucket::Bucket;
use month::Month;
use orrery_store::{KeyId, Limits, Spent, TenantId};
use scope::Account;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Of a clock that never goes back; its zero is anywhere.
    pub mono_ns: u64,
    /// Milliseconds since 1970, UTC.
    pub wall_ms: i64,
}

/// Whose request it is, and the limits that hold for it now.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// Over all of its keys.
    pub tenant_limits: &'a Limits,
    /// The key, which is one of the tenant's.
    pub key: &'a KeyId,
    /// Of this key.
    pub key_limits: &'a Limits,
}

/// What a client may still do. Of tenant and key the one that has less left. `None` where neither has a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests per minute.
    pub requests: Option<Rate>,
    /// Tokens per minute; what running requests have reserved is not left.
    pub tokens: Option<Rate>,
}

/// The state of one limit per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Per minute.
    pub limit: u64,
    /// How many would be admitted now, rounded down.
    pub remaining: u64,
    /// Until all of the limit is there again if nothing else happens, rounded up.
    pub reset_ms: u64,
}

/// The limits of all tenants and keys. All methods are short and may be called from any thread.
#[derive(Debug, Default)]
pub struct Limiter {
    book: RwLock<Book>,
}

#[derive(Debug, Default)]
struct Book {
    accounts: HashMap<TenantId, Arc<Mutex<Account>>>,
    /// When somebody was forgotten last.
    swept_ns: Option<u64>,
}

impl Limiter {
    /// Lets a request in: takes one request and one place.
    ///
    /// # Errors
    /// A limit is in the way, and nothing is taken. [`LimitKind::Unseeded`]: the caller must [`seed`](Self::seed) first.
    pub fn admit(&self, subject: &Subject, now: Now) -> Result<Permit, Refusal> {
        let account = self.account(subject.tenant).ok_or_else(|| Refusal::unseeded(LimitScope::Tenant))?;
        let held = permit::lock(&account).admit(subject, now)?;
        Ok(Permit::new(account, held))
    }

    /// What `x-ratelimit-*` headers say. Changes nothing.
    pub fn headers(&self, subject: &Subject, now: Now) -> RateLimits {
        let account = self.account(subject.tenant);
        let account = account.as_deref().map(permit::lock);
        let buckets = account.as_deref().map_or([None; 4], |account| account.buckets(subject.key));
        let [tenant_requests, key_requests, tenant_tokens, key_tokens] = buckets;
        let (tenant, key) = (subject.tenant_limits, subject.key_limits);
        RateLimits {
            requests: tighter(
                rate(tenant_requests, tenant.requests_per_minute, now),
                rate(key_requests, key.requests_per_minute, now),
            ),
            tokens: tighter(
                rate(tenant_tokens, tenant.tokens_per_minute, now),
                rate(key_tokens, key.tokens_per_minute, now),
            ),
        }
    }

    /// Whether the sums of the tenant, or of one key of it, are known.
    pub fn is_seeded(&self, tenant: &TenantId, key: Option<&KeyId>) -> bool {
        self.account(tenant).is_some_and(|account| permit::lock(&account).is_seeded(key))
    }

    /// Tells what the tenant, or one key of it, has spent since [`month_start_ms`] of `asked.wall_ms`, by the ledger.
    /// `asked` is a time before the ledger was asked. Sums that are known already stay. `false`: somebody was forgotten
    /// since then, and the ledger may have got what `spent` lacks; ask it again.
    pub fn seed(&self, tenant: &TenantId, key: Option<&KeyId>, asked: Now, spent: Spent) -> bool {
        let mut book = self.write();
        if book.swept_ns.is_some_and(|swept_ns| asked.mono_ns <= swept_ns) {
            return false;
        }
        let account = book.accounts.entry(tenant.clone()).or_default();
        permit::lock(account).seed(key, Month::of(asked.wall_ms), spent);
        true
    }

    /// Forgets every tenant and key that has nothing in use, if all that ended by `ledger_until_ns` (of
    /// [`Now::mono_ns`]) is in the ledger, so that they can be seeded again. Call it every minute or so: the first call
    /// only sees who is idle, a later one forgets them. Returns how many were forgotten.
    pub fn sweep(&self, now: Now, ledger_until_ns: u64) -> usize {
        let mut book = self.write();
        let mut forgotten = 0;
        book.accounts.retain(|_, account| {
            // Nobody can get hold of the account while the book is locked.
            let may_end = Arc::strong_count(account) == 1;
            let (gone, left) = permit::lock(account).sweep(now, ledger_until_ns, may_end);
            forgotten += gone;
            left > 0 || !may_end
        });
        if forgotten > 0 {
            book.swept_ns = Some(now.mono_ns);
        }
        forgotten
    }

    /// How many tenants and keys it remembers.
    pub fn subjects(&self) -> usize {
        self.read().accounts.values().map(|account| permit::lock(account).len()).sum()
    }

    fn account(&self, tenant: &TenantId) -> Option<Arc<Mutex<Account>>> {
        self.read().accounts.get(tenant).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(bucket: Option<&Bucket>, limit: Option<u64>, now: Now) -> Option<Rate> {
    let limit = limit?;
    Some(match bucket {
        Some(bucket) => bucket.rate(limit, now.mono_ns),
        None => Rate { limit, remaining: limit, reset_ms: 0 },
    })
}

fn tighter(tenant: Option<Rate>, key: Option<Rate>) -> Option<Rate> {
    tenant.into_iter().chain(key).min_by_key(|rate| (rate.remaining, rate.limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_subjects_is_no_memory() {
        let (limiter, now) = (Limiter::default(), Now { mono_ns: 1, wall_ms: 0 });
        assert!(limiter.seed(&"ten_a".parse().expect("an id"), None, now, Spent::default()));
        assert_eq!(limiter.sweep(now, 1), 1);
        assert!(limiter.read().accounts.is_empty());
    }
}
