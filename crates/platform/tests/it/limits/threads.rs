//! Many at once, at the edge of a limit: not one too many, and not one too few.

use super::{Client, SCOPES, SECOND, at};
use orrery_platform::limits::{LimitKind, Reservation};
use orrery_store::Limits;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: usize = 200;
const TOKENS: u64 = 10;

/// All at once, through both gates; those that were admitted hold what they have.
fn rush(client: &Client) -> (Vec<Reservation>, Vec<LimitKind>) {
    let limiter = client.limiter();
    let start = Barrier::new(THREADS);
    let enter = || {
        start.wait();
        client.enter(&limiter, TOKENS, TOKENS, at(0))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(enter)).collect();
        threads.into_iter().map(|thread| thread.join().expect("joined")).collect()
    });
    let (admitted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let kinds = refused.into_iter().filter_map(|refused| Some(refused.err()?.kind));
    (admitted.into_iter().flatten().collect(), kinds.collect())
}

#[test]
fn two_hundred_at_the_edge_overshoot_by_nothing() {
    let none = Limits::default();
    for (limits, kind, fit) in [
        (Limits { tokens_per_minute: Some(777), ..none.clone() }, LimitKind::Tokens, 77),
        (Limits { month_tokens: Some(999), ..none.clone() }, LimitKind::MonthTokens, 99),
        (Limits { month_cost_nano: Some(1200), ..none.clone() }, LimitKind::MonthCost, 120),
        (Limits { requests_per_minute: Some(50), ..none.clone() }, LimitKind::Requests, 50),
        (Limits { concurrent_requests: Some(7), ..none.clone() }, LimitKind::Concurrent, 7),
    ] {
        for scope in SCOPES {
            let (admitted, refused) = rush(&Client::limited(scope, limits.clone()));
            assert_eq!((admitted.len(), refused.len()), (fit, THREADS - fit), "{kind:?} {scope}");
            assert!(refused.iter().all(|refused| *refused == kind), "{kind:?} {scope}");
        }
    }
}

#[test]
fn refused_ones_never_push_out_others_for_good() {
    // Half of them ask for more than there ever is: what they hold between the gates must all come back.
    let limits = Limits { requests_per_minute: Some(1000), tokens_per_minute: Some(1000), ..Limits::default() };
    let client = Client::new(limits.clone(), limits);
    let limiter = client.limiter();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, limiter) = (&client, &limiter);
            scope.spawn(move || {
                for _ in 0..1000 {
                    let tokens = if thread % 2 == 0 { 1001 } else { 100 };
                    drop(client.enter(limiter, tokens, 0, at(0)));
                }
            });
        }
    });
    let left = limiter.headers(&client.subject(), at(0));
    assert_eq!(left.tokens.expect("a limit").remaining, 1000);
}

#[test]
fn over_time_no_more_passes_than_the_limit_allows() {
    let (per_minute, budget, rounds) = (60_000, 150_000, 3000);
    let limits = Limits { tokens_per_minute: Some(per_minute), month_tokens: Some(budget), ..Limits::default() };
    for scope in SCOPES {
        let client = Client::limited(scope, limits.clone());
        let limiter = client.limiter();
        let (clock, used, last) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for round in 0..rounds {
                        let now_ns = clock.fetch_add(SECOND / 200, Ordering::Relaxed);
                        let Ok(reservation) = client.enter(&limiter, 500, 500, at(now_ns)) else { continue };
                        last.fetch_max(now_ns, Ordering::Relaxed);
                        used.fetch_add(round % 500, Ordering::Relaxed);
                        reservation.settle(round % 500, 0);
                    }
                });
            }
        });
        let (used, seconds) = (used.into_inner(), last.into_inner().div_ceil(SECOND));
        assert!(used <= (per_minute + seconds * per_minute / 60).min(budget), "{used} in {seconds} s");
        assert!(used > budget - 500, "the budget was there to be used, but {used} is all that was");
    }
}
