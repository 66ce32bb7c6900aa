//! Measures what the limits cost a request: `cargo run --release -p orrery-platform --example limits`.
//!
//! One request is `admit`, `reserve`, `headers` and `settle`, with every limit set for the tenant and for the key.
//! Threads share one tenant, which is one lock, or have a tenant each; `held` requests run all the time beside them.

use orrery_platform::limits::{Limiter, Now, Subject};
use orrery_store::{KeyId, Limits, Spent, TenantId};
use std::time::Instant;

const REQUESTS: u64 = 500_000;
const PLENTY: u64 = 1 << 40;

fn main() {
    for (threads, tenants, held) in [(1, 1, 0), (1, 1, 100), (1, 1, 1000), (2, 1, 0), (2, 1, 100), (2, 2, 0)] {
        let mut runs: Vec<f64> = (0..5).map(|_| run(threads, tenants, held)).collect();
        runs.sort_by(f64::total_cmp);
        let (best, median) = (runs[0], runs[2]);
        println!("{threads} threads, {tenants} tenants, {held} held: {median:.0} ns a request (best {best:.0})");
    }
}

/// Nanoseconds of one thread for one request.
fn run(threads: u64, tenants: u64, held: u64) -> f64 {
    let limiter = Limiter::default();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let limiter = &limiter;
            scope.spawn(move || work(limiter, thread, thread % tenants, held));
        }
    });
    start.elapsed().as_nanos() as f64 / REQUESTS as f64
}

fn work(limiter: &Limiter, thread: u64, tenant: u64, held: u64) {
    let limits = Limits {
        requests_per_minute: Some(PLENTY),
        tokens_per_minute: Some(PLENTY),
        concurrent_requests: Some(PLENTY),
        queue_share_percent: None,
        month_tokens: Some(PLENTY),
        month_cost_nano: Some(PLENTY),
    };
    let tenant: TenantId = format!("ten_0123456789abcde{tenant}").parse().expect("an id");
    let key: KeyId = format!("key_0123456789abcde{thread}").parse().expect("an id");
    let subject = Subject { tenant: &tenant, tenant_limits: &limits, key: &key, key_limits: &limits };
    let now = |index: u64| Now { mono_ns: index * 1000, wall_ms: 1_750_000_000_000 + (index / 1000) as i64 };
    limiter.seed(&tenant, None, now(1), Spent::default());
    limiter.seed(&tenant, Some(&key), now(1), Spent::default());
    let enter = |index| limiter.admit(&subject, now(index))?.reserve(600, 60_000, now(index));
    // The places are a queue: the oldest request ends first, mostly.
    let mut running: std::collections::VecDeque<_> = (0..held).map(|index| enter(index).expect("room")).collect();
    for index in 0..REQUESTS {
        running.push_back(enter(index).expect("room"));
        std::hint::black_box(limiter.headers(&subject, now(index)));
        if let Some(oldest) = running.pop_front() {
            oldest.settle(300, 30_000);
        }
    }
}
