//! Budgets: reservations, the turn of the month, and sums that are seeded.

use super::{Client, JULY_MS, JUNE_MS, SCOPES, SECOND, at, told};
use orrery_platform::limits::{LimitKind, LimitScope, Limiter, Now, month_start_ms};
use orrery_store::{DAY_MS, Limits, Spent};

const BUDGET: u64 = 1000;

fn limited(scope: LimitScope, kind: LimitKind) -> Client {
    let (tokens, cost) = if kind == LimitKind::MonthTokens { (Some(BUDGET), None) } else { (None, Some(BUDGET)) };
    Client::limited(scope, Limits { month_tokens: tokens, month_cost_nano: cost, ..Limits::default() })
}

fn wall(wall_ms: i64) -> Now {
    Now { mono_ns: (wall_ms - JUNE_MS) as u64 * super::MS, wall_ms }
}

fn each(check: impl Fn(LimitKind, LimitScope, &Client)) {
    for kind in [LimitKind::MonthTokens, LimitKind::MonthCost] {
        SCOPES.into_iter().for_each(|scope| check(kind, scope, &limited(scope, kind)));
    }
}

#[test]
fn spent_and_reserved_are_no_more_than_the_budget() {
    each(|kind, scope, client| {
        let limiter = client.limiter();
        client.enter(&limiter, 300, 300, at(0)).expect("it fits").settle(200, 200);
        let held = client.enter(&limiter, 799, 799, at(0)).expect("it fits");
        // It would fit if the held one gave all back: nobody knows when.
        let refusal = client.enter(&limiter, 2, 2, at(0)).expect_err("1 is left");
        assert_eq!(told(&refusal), (kind, scope, Some(SECOND.into()), true));
        let last = client.enter(&limiter, 1, 1, at(0)).expect("1 is left");
        let refusal = client.admit(&limiter, at(0)).expect_err("all is reserved");
        assert_eq!(told(&refusal), (kind, scope, Some(SECOND.into()), true));
        held.settle(799, 799);
        last.settle(1, 1);
        let refusal = client.admit(&limiter, at(0)).expect_err("all is spent");
        let until_july_ns = (JULY_MS - JUNE_MS) as u128 * 1_000_000;
        assert_eq!(told(&refusal), (kind, scope, Some(until_july_ns), false));
        let budget = if kind == LimitKind::MonthTokens { "1000 tokens" } else { "0.000001" };
        let message = format!(
            "the {scope}'s budget of {budget} for this month is used up; wait for the next month, which begins on \
             2025-07-01 (UTC)"
        );
        assert_eq!(refusal.message, message);
    });
}

#[test]
fn a_new_month_has_a_new_budget_to_the_millisecond() {
    each(|kind, _, client| {
        let limiter = client.limiter();
        client.enter(&limiter, BUDGET, BUDGET, at(0)).expect("it fits").settle(BUDGET, BUDGET);
        let refusal = client.admit(&limiter, wall(JULY_MS - 1)).expect_err("June goes on");
        assert_eq!((refusal.kind, refusal.retry_after_ms()), (kind, Some(1)));
        let _july = client.enter(&limiter, BUDGET, BUDGET, wall(JULY_MS)).expect("it is July");
        assert!(client.admit(&limiter, wall(JULY_MS)).is_err());
    });
}

#[test]
fn a_request_counts_in_the_month_in_which_it_came() {
    each(|_, _, client| {
        let limiter = client.limiter();
        let held = client.enter(&limiter, 600, 600, wall(JULY_MS - 1)).expect("it fits");
        let late = client.admit(&limiter, wall(JULY_MS - 1)).expect("it fits");
        let all_of_july = client.enter(&limiter, BUDGET, BUDGET, wall(JULY_MS)).expect("July is untouched");
        let refusal = late.reserve(500, 500, wall(JULY_MS)).expect_err("June has 400 left");
        assert!(refusal.is_estimate, "the client's next request will count in July, where all is reserved");
        held.settle(600, 600);
        drop(all_of_july);
        let _all_of_july = client.enter(&limiter, BUDGET, BUDGET, wall(JULY_MS)).expect("June is no part of July");
    });
}

#[test]
fn a_request_that_is_late_for_its_month_may_come_again_at_once() {
    each(|kind, scope, client| {
        let limiter = client.limiter();
        let _held = client.enter(&limiter, 600, 600, wall(JULY_MS - 1)).expect("it fits");
        let late = client.admit(&limiter, wall(JULY_MS - 1)).expect("it fits");
        drop(client.admit(&limiter, wall(JULY_MS)).expect("a request of July"));
        let refusal = late.reserve(500, 500, wall(JULY_MS)).expect_err("June has 400 left");
        assert_eq!(told(&refusal), (kind, scope, Some(0), false));
        assert!(client.enter(&limiter, 500, 500, wall(JULY_MS)).is_ok());
    });
}

#[test]
fn nobody_is_admitted_before_the_sums_are_known() {
    let client = Client::new(Limits::default(), Limits::default());
    let limiter = Limiter::default();
    let refused = |scope| {
        let refusal = client.admit(&limiter, at(0)).expect_err("unknown");
        assert_eq!((refusal.kind, refusal.scope), (LimitKind::Unseeded, scope));
    };
    refused(LimitScope::Tenant);
    assert!(!limiter.is_seeded(&client.tenant, None));
    assert!(limiter.seed(&client.tenant, None, at(0), Spent::default()));
    assert!(limiter.is_seeded(&client.tenant, None) && !limiter.is_seeded(&client.tenant, Some(&client.key)));
    refused(LimitScope::Key);
    assert!(limiter.seed(&client.tenant, Some(&client.key), at(0), Spent::default()));
    assert!(limiter.is_seeded(&client.tenant, Some(&client.key)));
    assert!(client.admit(&limiter, at(0)).is_ok());
}

#[test]
fn seeded_sums_count_once_and_only_in_their_month() {
    each(|kind, _, client| {
        let limiter = Limiter::default();
        client.seed(&limiter, at(0), Spent { tokens: 900, cost_nano: 900 });
        let held = client.enter(&limiter, 50, 50, at(0)).expect("it fits");
        // A second request asked the ledger at the same time as the first, and is late.
        client.seed(&limiter, at(0), Spent { tokens: 0, cost_nano: 0 });
        client.seed(&limiter, at(0), Spent { tokens: 900, cost_nano: 900 });
        let refusal = client.enter(&limiter, 51, 51, at(0)).expect_err("50 are left");
        assert_eq!(refusal.kind, kind);
        held.settle(50, 50);
        assert!(client.enter(&limiter, 50, 50, at(0)).is_ok());

        let limiter = Limiter::default();
        client.seed(&limiter, wall(JULY_MS - 1), Spent { tokens: BUDGET, cost_nano: BUDGET });
        assert!(client.admit(&limiter, wall(JULY_MS - 1)).is_err());
        assert!(client.enter(&limiter, BUDGET, BUDGET, wall(JULY_MS)).is_ok());
    });
}

#[test]
fn more_than_was_reserved_is_charged() {
    each(|_, _, client| {
        let limiter = client.limiter();
        client.enter(&limiter, 10, 10, at(0)).expect("it fits").settle(990, 990);
        assert!(client.enter(&limiter, 11, 11, at(0)).is_err());
        assert!(client.enter(&limiter, 10, 10, at(0)).is_ok());
    });
}

#[test]
fn months_start_at_midnight_of_the_first() {
    let may_ms = 1_746_057_600_000;
    for (wall_ms, start_ms) in [(JULY_MS, JULY_MS), (JULY_MS - 1, JULY_MS - 30 * DAY_MS), (JUNE_MS - DAY_MS, may_ms)] {
        assert_eq!(month_start_ms(wall_ms), start_ms);
    }
}
