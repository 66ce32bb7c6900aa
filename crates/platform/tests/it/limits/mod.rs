//! Tests of the limits, by the public interface: exact times, schedules against a slow simulation, threads at the edge.

mod exact;
mod memory;
mod months;
mod simulation;
mod threads;

use orrery_platform::limits::{LimitKind, LimitScope, Limiter, Now, Permit, Refusal, Reservation, Subject};
use orrery_store::{KeyId, Limits, Spent, TenantId};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;
/// Noon of 1 June 2025.
pub const JUNE_MS: i64 = 1_748_779_200_000;
pub const JULY_MS: i64 = 1_751_328_000_000;

/// A time after noon of 1 June 2025, on both clocks.
pub fn at(mono_ns: u64) -> Now {
    Now { mono_ns, wall_ms: JUNE_MS + (mono_ns / MS) as i64 }
}

/// A tenant with one key, and their limits.
pub struct Client {
    pub tenant: TenantId,
    pub key: KeyId,
    pub tenant_limits: Limits,
    pub key_limits: Limits,
}

impl Client {
    pub fn new(tenant_limits: Limits, key_limits: Limits) -> Self {
        let (tenant, key) = ("ten_a".parse().expect("an id"), "key_a".parse().expect("an id"));
        Self { tenant, key, tenant_limits, key_limits }
    }

    /// `limits` hold for the tenant, or for its key.
    pub fn limited(scope: LimitScope, limits: Limits) -> Self {
        match scope {
            LimitScope::Tenant => Self::new(limits, Limits::default()),
            LimitScope::Key => Self::new(Limits::default(), limits),
        }
    }

    pub fn subject(&self) -> Subject<'_> {
        let Self { tenant, key, tenant_limits, key_limits } = self;
        Subject { tenant, tenant_limits, key, key_limits }
    }

    /// A limiter to which this client has spent nothing yet.
    pub fn limiter(&self) -> Limiter {
        let limiter = Limiter::default();
        self.seed(&limiter, at(0), Spent::default());
        limiter
    }

    pub fn seed(&self, limiter: &Limiter, asked: Now, spent: Spent) {
        assert!(limiter.seed(&self.tenant, None, asked, spent));
        assert!(limiter.seed(&self.tenant, Some(&self.key), asked, spent));
    }

    pub fn admit(&self, limiter: &Limiter, now: Now) -> Result<Permit, Refusal> {
        limiter.admit(&self.subject(), now)
    }

    /// Through both gates.
    pub fn enter(&self, limiter: &Limiter, tokens: u64, cost_nano: u64, now: Now) -> Result<Reservation, Refusal> {
        self.admit(limiter, now)?.reserve(tokens, cost_nano, now)
    }
}

pub const SCOPES: [LimitScope; 2] = [LimitScope::Tenant, LimitScope::Key];

/// What a refusal says, without its message.
pub fn told(refusal: &Refusal) -> (LimitKind, LimitScope, Option<u128>, bool) {
    (refusal.kind, refusal.scope, refusal.retry_after.map(|wait| wait.as_nanos()), refusal.is_estimate)
}
