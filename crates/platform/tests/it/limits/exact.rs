//! Exact times and amounts, one limit at a time, as the tenant's and as the key's.

use super::{Client, JULY_MS, JUNE_MS, MS, SCOPES, SECOND, at, told};
use orrery_platform::limits::{LimitKind, LimitScope, Rate, RateLimits};
use orrery_store::{Limits, Spent};

#[test]
fn requests_are_admitted_at_the_nanosecond_and_not_before() {
    for (limit, wait_ns) in [(60, SECOND), (1, 60 * SECOND), (7, 8_571_428_572), (1_000_000, 60_000)] {
        for scope in SCOPES {
            let client = Client::limited(scope, Limits { requests_per_minute: Some(limit), ..Limits::default() });
            let limiter = client.limiter();
            for _ in 0..limit {
                drop(client.enter(&limiter, 1, 1, at(5)).expect("there is room"));
            }
            let refusal = client.admit(&limiter, at(5)).expect_err("it is full");
            assert_eq!(told(&refusal), (LimitKind::Requests, scope, Some(wait_ns.into()), false));
            assert_eq!(refusal.retry_after_ms(), Some(wait_ns.div_ceil(MS)));
            let refusal = client.admit(&limiter, at(5 + wait_ns - 1)).expect_err("a nanosecond early");
            assert_eq!(told(&refusal), (LimitKind::Requests, scope, Some(1), false));
            let permit = client.admit(&limiter, at(5 + wait_ns));
            assert!(permit.is_ok(), "{limit} {scope}");
        }
    }
}

#[test]
fn tokens_are_admitted_at_the_nanosecond_and_not_before() {
    for (limit, first, second, wait_ns) in [
        (6000, 6000, 100, SECOND),
        (6000, 5999, 6000, 59_990_000_000),
        (7, 7, 7, 60 * SECOND),
        (11, 10, 2, 5_454_545_455),
    ] {
        for scope in SCOPES {
            let client = Client::limited(scope, Limits { tokens_per_minute: Some(limit), ..Limits::default() });
            let limiter = client.limiter();
            let _first = client.enter(&limiter, first, 0, at(7)).expect("there is room");
            let refusal = client.enter(&limiter, second, 0, at(7)).expect_err("there is no room");
            assert_eq!(told(&refusal), (LimitKind::Tokens, scope, Some(wait_ns.into()), false));
            let refusal = client.enter(&limiter, second, 0, at(7 + wait_ns - 1)).expect_err("a nanosecond early");
            assert_eq!(told(&refusal), (LimitKind::Tokens, scope, Some(1), false));
            assert!(client.enter(&limiter, second, 0, at(7 + wait_ns)).is_ok(), "{limit} {scope}");
        }
    }
}

#[test]
fn what_can_never_fit_says_so_and_names_what_would() {
    let limits = |tokens, month_tokens, month_cost_nano| Limits {
        tokens_per_minute: tokens,
        month_tokens,
        month_cost_nano,
        ..Limits::default()
    };
    for (limits, kind, message) in [
        (
            limits(Some(1000), None, None),
            LimitKind::Tokens,
            "this request may take 1001 tokens (the prompt's and those it may generate), and the key's limit is 1000 \
             tokens per minute; ask for 1000 or less in all, with a lower `max_tokens` or a shorter prompt, or ask who \
             runs this service to raise the key's limit",
        ),
        (
            limits(None, Some(900), None),
            LimitKind::MonthTokens,
            "the key's budget of 900 tokens for this month has 900 left, and this request may take 1001; ask for 900 or \
             less in all, with a lower `max_tokens` or a shorter prompt, or ask who runs this service to raise the \
             key's limit",
        ),
        (
            limits(None, None, Some(1_500_000_000)),
            LimitKind::MonthCost,
            "the key's budget of 1.5 for this month has 1.5 left, and this request may cost 2; lower `max_tokens`, or \
             ask who runs this service to raise the key's limit",
        ),
    ] {
        let client = Client::limited(LimitScope::Key, limits);
        let refusal = client.enter(&client.limiter(), 1001, 2_000_000_000, at(0)).expect_err("over the limit");
        assert_eq!(told(&refusal), (kind, LimitScope::Key, None, false));
        assert_eq!((refusal.message.as_str(), refusal.retry_after_ms()), (message, None));
    }
}

#[test]
fn a_limit_of_nothing_refuses_for_good() {
    let none = Limits::default();
    for (limits, kind) in [
        (Limits { requests_per_minute: Some(0), ..none.clone() }, LimitKind::Requests),
        (Limits { concurrent_requests: Some(0), ..none.clone() }, LimitKind::Concurrent),
        (Limits { tokens_per_minute: Some(0), ..none.clone() }, LimitKind::Tokens),
        (Limits { month_tokens: Some(0), ..none.clone() }, LimitKind::MonthTokens),
        (Limits { month_cost_nano: Some(0), ..none.clone() }, LimitKind::MonthCost),
    ] {
        let client = Client::limited(LimitScope::Tenant, limits);
        let refusal = client.enter(&client.limiter(), 1, 1, at(0)).expect_err("nothing is allowed");
        assert_eq!(told(&refusal), (kind, LimitScope::Tenant, None, false));
    }
}

#[test]
fn places_come_back_when_a_request_ends() {
    for scope in SCOPES {
        let client = Client::limited(scope, Limits { concurrent_requests: Some(2), ..Limits::default() });
        let limiter = client.limiter();
        let first = client.admit(&limiter, at(0)).expect("a place");
        let second = client.enter(&limiter, 5, 5, at(0)).expect("a place");
        let refusal = client.admit(&limiter, at(0)).expect_err("no place");
        assert_eq!(told(&refusal), (LimitKind::Concurrent, scope, Some(SECOND.into()), true));
        let message = format!(
            "the {scope}'s limit of 2 requests at one time is reached; try again when one that runs has ended, in 1 s \
             or so"
        );
        assert_eq!(refusal.message, message);
        drop(first);
        let third = client.admit(&limiter, at(0)).expect("the first one's place");
        assert!(client.admit(&limiter, at(0)).is_err());
        second.settle(1, 1);
        let _fourth = client.admit(&limiter, at(0)).expect("the second one's place");
        drop(third);
    }
}

#[test]
fn a_refused_request_takes_nothing() {
    let all = |requests, tokens, places, month_tokens, month_cost_nano| Limits {
        requests_per_minute: Some(requests),
        tokens_per_minute: Some(tokens),
        concurrent_requests: Some(places),
        month_tokens: Some(month_tokens),
        month_cost_nano: Some(month_cost_nano),
        ..Limits::default()
    };
    let roomy = || all(2, 20, 2, 20, 20);
    for (tight, kind) in [
        (all(1, 20, 2, 20, 20), LimitKind::Requests),
        (all(2, 10, 2, 20, 20), LimitKind::Tokens),
        (all(2, 20, 1, 20, 20), LimitKind::Concurrent),
        (all(2, 20, 2, 10, 20), LimitKind::MonthTokens),
        (all(2, 20, 2, 20, 10), LimitKind::MonthCost),
    ] {
        for scope in SCOPES {
            let mut client = Client::limited(scope, tight.clone());
            match scope {
                LimitScope::Tenant => client.key_limits = roomy(),
                LimitScope::Key => client.tenant_limits = roomy(),
            }
            let limiter = client.limiter();
            let _first = client.enter(&limiter, 10, 10, at(0)).expect("the first fits");
            for _ in 0..5 {
                let refusal = client.enter(&limiter, 10, 10, at(0)).expect_err("the second does not");
                assert_eq!((refusal.kind, refusal.scope), (kind, scope));
            }
            // Had one of the five taken anything anywhere, this one would find it gone.
            (client.tenant_limits, client.key_limits) = (roomy(), roomy());
            let _second = client.enter(&limiter, 10, 10, at(0)).expect("nothing was taken");
            assert!(client.enter(&limiter, 1, 1, at(0)).is_err());
        }
    }
}

#[test]
fn an_end_gives_back_what_was_not_needed() {
    let limits = Limits {
        tokens_per_minute: Some(100),
        month_tokens: Some(1000),
        month_cost_nano: Some(1000),
        ..Limits::default()
    };
    let client = Client::new(limits.clone(), limits);
    let limiter = client.limiter();
    let left = || limiter.headers(&client.subject(), at(0)).tokens.expect("a limit").remaining;
    let reservation = client.enter(&limiter, 80, 800, at(0)).expect("it fits");
    assert_eq!(left(), 20);
    reservation.tell(5, 50);
    reservation.tell(3, 30);
    drop(reservation);
    assert_eq!(left(), 95);
    client.enter(&limiter, 95, 900, at(0)).expect("it fits").settle(25, 250);
    assert_eq!(left(), 70);
    drop(client.enter(&limiter, 70, 700, at(0)).expect("50 and 250 of the cost are spent"));
    drop(client.admit(&limiter, at(0)).expect("it fits"));
    assert_eq!(left(), 70);
    let refusal = client.enter(&limiter, 70, 701, at(0)).expect_err("300 are spent, and 701 are too many");
    assert_eq!((refusal.kind, refusal.retry_after_ms()), (LimitKind::MonthCost, Some((JULY_MS - JUNE_MS) as u64)));
}

#[test]
fn the_longest_of_many_waits_is_told() {
    let tenant = Limits { requests_per_minute: Some(1), concurrent_requests: Some(1), ..Limits::default() };
    let key = Limits { tokens_per_minute: Some(60), ..Limits::default() };
    let client = Client::new(tenant, key);
    let limiter = client.limiter();
    let _first = client.enter(&limiter, 60, 0, at(0)).expect("it fits");
    let refusal = client.admit(&limiter, at(58 * SECOND)).expect_err("both are in the way");
    // The place must come back too, so that two seconds are no promise.
    assert_eq!(told(&refusal), (LimitKind::Requests, LimitScope::Tenant, Some(2 * u128::from(SECOND)), true));
    let refusal = client.admit(&limiter, at(59 * SECOND + 1)).expect_err("both are in the way");
    assert_eq!(told(&refusal), (LimitKind::Concurrent, LimitScope::Tenant, Some(SECOND.into()), true));
}

#[test]
fn a_refused_reservation_waits_for_both_gates() {
    let limits = Limits { requests_per_minute: Some(1), tokens_per_minute: Some(60), ..Limits::default() };
    let client = Client::limited(LimitScope::Key, limits);
    let limiter = client.limiter();
    let slow = client.admit(&limiter, at(0)).expect("it fits");
    let _quick = client.enter(&limiter, 2, 0, at(60 * SECOND)).expect("the request has come back");
    let refusal = slow.reserve(60, 0, at(60 * SECOND)).expect_err("58 tokens are left");
    // The tokens are there in two seconds, but the quick one has taken the request.
    assert_eq!(told(&refusal), (LimitKind::Requests, LimitScope::Key, Some(60 * u128::from(SECOND)), false));
    assert!(client.enter(&limiter, 60, 0, at(120 * SECOND - 1)).is_err());
    assert!(client.enter(&limiter, 60, 0, at(120 * SECOND)).is_ok());
}

#[test]
fn headers_tell_the_tighter_of_two() {
    let tenant = Limits { requests_per_minute: Some(60), tokens_per_minute: Some(1000), ..Limits::default() };
    let key = Limits { tokens_per_minute: Some(600), ..Limits::default() };
    let client = Client::new(tenant, key);
    let limiter = client.limiter();
    let headers = |now_ns| limiter.headers(&client.subject(), at(now_ns));
    let rate = |limit, remaining, reset_ms| Some(Rate { limit, remaining, reset_ms });
    assert_eq!(headers(0), RateLimits { requests: rate(60, 60, 0), tokens: rate(600, 600, 0) });
    let _held = client.enter(&limiter, 200, 0, at(0)).expect("it fits");
    assert_eq!(headers(0), RateLimits { requests: rate(60, 59, 1000), tokens: rate(600, 400, 20_000) });
    // Half a request is not a request; a nanosecond more than 500 ms are 501.
    assert_eq!(headers(SECOND / 2 - 1), RateLimits { requests: rate(60, 59, 501), tokens: rate(600, 404, 19_501) });
    assert_eq!(headers(20 * SECOND), RateLimits { requests: rate(60, 60, 0), tokens: rate(600, 600, 0) });
    let free = Client::new(Limits::default(), Limits::default());
    assert_eq!(limiter.headers(&free.subject(), at(0)), RateLimits::default());
}

#[test]
fn a_changed_limit_keeps_what_is_in_use() {
    let tokens = |limit| Limits { tokens_per_minute: Some(limit), ..Limits::default() };
    let mut client = Client::limited(LimitScope::Tenant, tokens(600));
    let limiter = client.limiter();
    let _held = client.enter(&limiter, 600, 0, at(0)).expect("it fits");
    // 10 s at 600 a minute leave 500 in use; lowered to 60 there are 440 too many, at one in a second.
    client.tenant_limits = tokens(60);
    let refusal = client.enter(&limiter, 1, 0, at(10 * SECOND)).expect_err("all is in use");
    assert_eq!(refusal.retry_after_ms(), Some(441_000));
    client.tenant_limits = tokens(510);
    assert!(client.enter(&limiter, 11, 0, at(10 * SECOND)).is_err());
    assert!(client.enter(&limiter, 10, 0, at(10 * SECOND)).is_ok());

    let places = |limit| Limits { concurrent_requests: limit, ..Limits::default() };
    let mut client = Client::limited(LimitScope::Key, places(None));
    let limiter = client.limiter();
    let mut held: Vec<_> = (0..3).map(|_| client.admit(&limiter, at(0)).expect("no limit")).collect();
    client.key_limits = places(Some(2));
    while held.len() > 1 {
        assert!(client.admit(&limiter, at(0)).is_err(), "{} run", held.len());
        held.pop();
    }
    assert!(client.admit(&limiter, at(0)).is_ok());
}

#[test]
fn a_new_limit_starts_full_and_old_requests_give_nothing_back_to_it() {
    let tokens = |limit| Limits { tokens_per_minute: limit, ..Limits::default() };
    let mut client = Client::limited(LimitScope::Key, tokens(Some(100)));
    let limiter = client.limiter();
    let old = client.enter(&limiter, 100, 0, at(0)).expect("it fits");
    client.key_limits = tokens(None);
    drop(client.admit(&limiter, at(0)).expect("no limit"));
    client.key_limits = tokens(Some(100));
    let _new = client.enter(&limiter, 100, 0, at(0)).expect("it is full again");
    drop(old);
    assert!(client.enter(&limiter, 1, 0, at(0)).is_err());
}

#[test]
fn tenants_do_not_share_and_keys_do() {
    let limits = Limits { requests_per_minute: Some(1), month_tokens: Some(10), ..Limits::default() };
    let one = Client::limited(LimitScope::Tenant, limits.clone());
    let mut sibling = Client::limited(LimitScope::Tenant, limits.clone());
    sibling.key = "key_b".parse().expect("an id");
    let mut other = Client::limited(LimitScope::Tenant, limits);
    (other.tenant, other.key) = ("ten_b".parse().expect("an id"), "key_c".parse().expect("an id"));
    let limiter = one.limiter();
    for client in [&sibling, &other] {
        client.seed(&limiter, at(0), Spent::default());
    }
    let _first = one.enter(&limiter, 10, 0, at(0)).expect("it fits");
    assert!(sibling.admit(&limiter, at(0)).is_err());
    assert!(other.enter(&limiter, 10, 0, at(0)).is_ok());
}
