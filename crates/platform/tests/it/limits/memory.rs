//! What is idle is forgotten, and nothing that would be missed.

use super::{Client, SECOND, at};
use orrery_platform::limits::LimitKind;
use orrery_store::{Limits, Spent};

fn limits() -> Limits {
    Limits { requests_per_minute: Some(60), tokens_per_minute: Some(60), ..Limits::default() }
}

#[test]
fn memory_is_bounded_by_who_came_lately() {
    let mut client = Client::new(limits(), limits());
    let limiter = client.limiter();
    for index in 0..10_000_u64 {
        let now = at(index * SECOND);
        client.key = format!("key_{index}").parse().expect("an id");
        if index % 10 == 0 {
            client.tenant = format!("ten_{index}").parse().expect("an id");
        }
        client.seed(&limiter, at(index * SECOND + 1), Spent::default());
        client.enter(&limiter, 2, 0, now).expect("it fits").settle(1, 0);
        limiter.sweep(now, now.mono_ns);
        assert!(limiter.subjects() <= 20, "{} at {index}", limiter.subjects());
    }
    limiter.sweep(at(20_000 * SECOND), 20_000 * SECOND);
    assert_eq!(limiter.subjects(), 0);
}

#[test]
fn what_is_in_use_is_not_forgotten() {
    let client = Client::new(limits(), limits());
    let limiter = client.limiter();
    let sweep = |now_ns, ledger_until_ns| limiter.sweep(at(now_ns), ledger_until_ns);
    let permit = client.admit(&limiter, at(0)).expect("it fits");
    assert_eq!(sweep(1000 * SECOND, u64::MAX), 0, "a request is admitted");
    let reservation = permit.reserve(60, 0, at(1000 * SECOND)).expect("it fits");
    assert_eq!(sweep(2000 * SECOND, u64::MAX), 0, "a request runs");
    drop(client.enter(&limiter, 60, 0, at(2000 * SECOND)).expect("it fits"));
    reservation.settle(60, 0);
    drop(client.enter(&limiter, 60, 0, at(2000 * SECOND)).map(|reservation| reservation.settle(60, 0)));
    assert_eq!(sweep(2060 * SECOND - 1, u64::MAX), 0, "the bucket is not full");
    assert_eq!(sweep(2060 * SECOND, 2060 * SECOND - 2), 0, "the ledger may not have it");
    assert_eq!(sweep(2060 * SECOND, 2060 * SECOND - 1), 2);
    assert_eq!(client.admit(&limiter, at(2060 * SECOND)).expect_err("forgotten").kind, LimitKind::Unseeded);
}

#[test]
fn who_was_idle_and_came_again_is_idle_anew() {
    let client = Client::new(Limits::default(), Limits::default());
    let limiter = client.limiter();
    assert_eq!(limiter.sweep(at(10), 9), 0, "idle since 10");
    client.enter(&limiter, 1, 1, at(20)).expect("no limit").settle(1, 1);
    assert_eq!(limiter.sweep(at(30), 15), 0, "the ledger may not have what ended after 20");
    assert_eq!(limiter.sweep(at(40), 30), 2);
}

#[test]
fn an_idle_key_goes_and_its_busy_tenant_stays() {
    let client = Client::new(limits(), limits());
    let mut busy = Client::new(limits(), limits());
    busy.key = "key_busy".parse().expect("an id");
    let limiter = client.limiter();
    busy.seed(&limiter, at(0), Spent::default());
    let _held = busy.admit(&limiter, at(0)).expect("it fits");
    assert_eq!(limiter.subjects(), 3);
    assert_eq!(limiter.sweep(at(SECOND), SECOND), 1);
    assert!(limiter.is_seeded(&client.tenant, None) && !limiter.is_seeded(&client.tenant, Some(&client.key)));
}

#[test]
fn an_answer_of_the_ledger_from_before_a_sweep_is_not_taken() {
    let client = Client::new(limits(), limits());
    let limiter = client.limiter();
    assert_eq!(limiter.sweep(at(100), 100), 2);
    for (asked_ns, taken) in [(99, false), (100, false), (101, true)] {
        assert_eq!(limiter.seed(&client.tenant, None, at(asked_ns), Spent::default()), taken);
        assert_eq!(limiter.is_seeded(&client.tenant, None), taken);
    }
}
