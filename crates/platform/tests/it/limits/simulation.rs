//! Random schedules, and beside the limiter a simulation that keeps the whole history and computes every level anew from
//! its start, with what each request took in the end. What the limiter forgets, the simulation does not.

mod model;

use super::{JUNE_MS, MS, SECOND, at};
use model::{Model, Request};
use orrery_platform::limits::{LimitKind, LimitScope, Limiter, Now, Permit, Rate, Refusal, Reservation, Subject};
use orrery_store::{KeyId, Limits, Spent, TenantId};

/// A small generator with a full period (SplitMix64): a failure names the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn maybe(&mut self, most: u64) -> Option<u64> {
        (self.below(4) > 0).then(|| 1 + self.below(most))
    }

    fn limits(&mut self) -> Limits {
        Limits {
            requests_per_minute: self.maybe(8),
            tokens_per_minute: self.maybe(200),
            concurrent_requests: self.maybe(6),
            queue_share_percent: None,
            month_tokens: self.maybe(3000),
            month_cost_nano: self.maybe(3000),
        }
    }

    /// From nanoseconds to days.
    fn step_ns(&mut self) -> u64 {
        match self.below(12) {
            0..3 => 0,
            3 => self.below(10),
            4..7 => self.below(SECOND),
            7..9 => self.below(20 * SECOND),
            9..11 => self.below(90 * SECOND),
            _ if self.below(20) == 0 => self.below(20 * 86_400 * SECOND),
            _ => self.below(600 * SECOND),
        }
    }
}

enum Open {
    Admitted(Permit),
    Running(Reservation, Spent),
}

struct World {
    random: Random,
    limiter: Limiter,
    model: Model,
    tenants: [(TenantId, Limits); 2],
    keys: [(KeyId, Limits); 4],
    open: Vec<(Request, Open)>,
    now_ns: u64,
    /// Results of admissions and reservations: taken, refused.
    seen: [u64; 4],
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let tenants = [0, 1].map(|i| (format!("ten_{i}").parse().expect("an id"), random.limits()));
        let keys = [0, 1, 2, 3].map(|i| (format!("key_{i}").parse().expect("an id"), random.limits()));
        let (limiter, model) = (Limiter::default(), Model::default());
        Self { random, limiter, model, tenants, keys, open: Vec::new(), now_ns: 0, seen: [0; 4] }
    }

    fn now(&self) -> Now {
        at(self.now_ns)
    }

    fn subject(&self, key: usize) -> Subject<'_> {
        let ((tenant, tenant_limits), (key, key_limits)) = (&self.tenants[key / 2], &self.keys[key]);
        Subject { tenant, tenant_limits, key, key_limits }
    }

    fn step(&mut self) {
        self.now_ns += self.random.step_ns();
        match self.random.below(20) {
            0..9 => self.admit(),
            9..14 if !self.open.is_empty() => self.go_on(),
            14..17 if !self.open.is_empty() => self.end(),
            17 => {
                let (tenant, key) = (self.random.below(2) as usize, self.random.below(4) as usize);
                self.tenants[tenant].1 = self.random.limits();
                self.keys[key].1 = self.random.limits();
            }
            18 => _ = self.limiter.sweep(self.now(), self.now_ns),
            _ => {}
        }
        (0..4).for_each(|key| self.check_headers(key));
    }

    /// By the ledger, which the simulation has.
    fn seed(&mut self, key: usize) {
        let (now, subject) = (self.now(), self.subject(key));
        for (scope, id) in [(key / 2, None), (2 + key, Some(subject.key))] {
            // The sweep may have been in this nanosecond; a ledger is asked later than that.
            let asked = Now { mono_ns: now.mono_ns + 1, ..now };
            let spent = self.model.spent(scope, now.wall_ms);
            assert!(self.limiter.seed(subject.tenant, id, asked, spent));
        }
    }

    fn admit(&mut self) {
        let (key, now) = (self.random.below(4) as usize, self.now());
        self.seed(key);
        let limits = [self.tenants[key / 2].1.clone(), self.keys[key].1.clone()];
        self.model.set_limits(key, limits, now);
        let permit = self.limiter.admit(&self.subject(key), now);
        let fits = self.model.admits(key, now);
        assert_eq!(permit.is_ok(), fits, "{permit:?}");
        self.seen[usize::from(!fits)] += 1;
        match permit {
            Ok(permit) => self.open.push((self.model.admit(key, now), Open::Admitted(permit))),
            Err(refusal) => self.check_wait(&refusal, key, Spent::default(), Model::admits),
        }
    }

    fn go_on(&mut self) {
        let (index, now) = (self.random.below(self.open.len() as u64) as usize, self.now());
        let most = Spent { tokens: self.random.below(120), cost_nano: self.random.below(200) };
        match self.open.swap_remove(index) {
            (request, Open::Admitted(permit)) => {
                let reservation = permit.reserve(most.tokens, most.cost_nano, now);
                let fits = self.model.has_room(&request, most, now);
                assert_eq!(reservation.is_ok(), fits, "{reservation:?}");
                self.seen[2 + usize::from(!fits)] += 1;
                match reservation {
                    Ok(reservation) => {
                        self.model.reserve(&request, most, now);
                        self.open.push((request, Open::Running(reservation, most)));
                    }
                    Err(refusal) => {
                        let key = request.key;
                        self.model.refuse(&request);
                        let admits = |model: &Model, key, now| model.admits_all(key, most, now);
                        self.check_wait(&refusal, key, most, admits);
                    }
                }
            }
            running => self.open.push(running),
        }
    }

    fn end(&mut self) {
        let index = self.random.below(self.open.len() as u64) as usize;
        match self.open.swap_remove(index) {
            (request, Open::Admitted(permit)) => {
                drop(permit);
                self.model.drop_unreserved(&request);
            }
            (request, Open::Running(reservation, most)) => {
                // One in ten takes more than it said.
                let more = if self.random.below(10) == 0 { 30 } else { 0 };
                let tokens = self.random.below(most.tokens + 1) + more;
                let cost_nano = self.random.below(most.cost_nano + 1) + more;
                reservation.tell(tokens, cost_nano);
                if self.random.below(2) == 0 {
                    reservation.settle(tokens, cost_nano)
                } else {
                    drop(reservation)
                }
                self.model.settle(&request, Spent { tokens, cost_nano });
            }
        }
    }

    /// `retry_after` is when it is admitted if nothing else happens, and just before it is not.
    fn check_wait(&self, refusal: &Refusal, key: usize, most: Spent, admits: impl Fn(&Model, usize, Now) -> bool) {
        assert_ne!(refusal.kind, LimitKind::Unseeded);
        let admitted_at = |mono_ns| admits(&self.model, key, at(mono_ns));
        assert!(!admitted_at(self.now_ns) || refusal.retry_after_ms() == Some(0), "{refusal:?}");
        let Some(wait) = refusal.retry_after else {
            let scope = if refusal.scope == LimitScope::Tenant { key / 2 } else { 2 + key };
            assert!(self.model.is_over_limit(scope, refusal.kind, most), "{refusal:?}");
            return;
        };
        if refusal.is_estimate {
            return;
        }
        let until_ns = self.now_ns + wait.as_nanos() as u64;
        // A month ends by the wall clock, which counts milliseconds.
        let is_month = matches!(refusal.kind, LimitKind::MonthTokens | LimitKind::MonthCost);
        let (tick_ns, until_ns) = if is_month { (MS, until_ns / MS * MS) } else { (1, until_ns) };
        assert!(admitted_at(until_ns), "{refusal:?}");
        assert!(wait.is_zero() || !admitted_at(until_ns - tick_ns), "{refusal:?}");
    }

    fn check_headers(&self, key: usize) {
        let (now, subject) = (self.now(), self.subject(key));
        let told = self.limiter.headers(&subject, now);
        for (rate, tokens) in [(told.requests, false), (told.tokens, true)] {
            let limit = |limits: &Limits| if tokens { limits.tokens_per_minute } else { limits.requests_per_minute };
            let scopes = [(key / 2, limit(subject.tenant_limits)), (2 + key, limit(subject.key_limits))];
            let rates = scopes.into_iter().filter_map(|(scope, limit)| self.model.rate(scope, tokens, limit?, now));
            let expected: Option<Rate> = rates.min_by_key(|rate| (rate.remaining, rate.limit));
            assert_eq!(rate, expected);
        }
    }
}

#[test]
fn random_schedules_agree_with_a_slow_exact_simulation() {
    let mut seen = [0; 4];
    for seed in 0..400 {
        let mut world = World::new(seed);
        for step in 0..400 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
            assert!(result.is_ok(), "seed {seed}, step {step}, {} ns after {JUNE_MS} ms", world.now_ns);
        }
        seen.iter_mut().zip(world.seen).for_each(|(sum, count)| *sum += count);
    }
    assert!(seen.iter().all(|count| *count > 1000), "admitted, refused, reserved, refused: {seen:?}");
}
