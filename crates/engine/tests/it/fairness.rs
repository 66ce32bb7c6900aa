//! Flows: each gets its part of tokens, places and blocks by its weight, whatever the others do.
//!
//! The bound (after Sheng et al., OSDI 2024). Let two flows have waiting sequences during the whole of a window of steps, and no
//! floors. When one is behind, the other is not admitted any more, so it can get ahead only by what its running sequences still
//! have to come; and it was admitted last when its counter was no more than the claim of the one behind. So it gets ahead by no
//! more than both, and the difference of their counters changes by no more than each can be ahead of the other:
//!
//! ```text
//!   outstanding(f) = (prompts(f) + sequences_max × max_tokens(f) × cost) / weight(f)
//!   claimed(f)     = (prompts(f) + sequences_max × cost)                 / weight(f)
//!   prompts(f)     = sequences_max × prompt tokens(f), or what fits into the memory
//!   ahead(f, g)    = outstanding(f) + claimed(g)
//!   bound          = ahead(f, g) + ahead(g, f)
//! ```

use crate::fake::{Random, mix};
use crate::scheduler::{Harness, limits, spec};
use orrery_engine::core::flow::{Fairness, Flow, virtual_cost};
use orrery_engine::core::scheduler::Limits;
use orrery_engine::core::sequence::Spec;
use std::collections::BTreeMap;

fn flow(id: u64) -> Flow {
    Flow { id, ..Flow::default() }
}

fn of(flow: Flow, spec: Spec) -> Spec {
    Spec { flow, salt: flow.id.to_le_bytes().to_vec(), ..spec }
}

/// Prompts that share nothing.
fn prompt(request: u64, length: usize) -> Vec<u32> {
    (0..length as u64).map(|i| 1 + (mix(request << 20 | i) % 200) as u32).collect()
}

fn counter(harness: &Harness, id: u64) -> u128 {
    harness.scheduler.flows().get(id).expect("known").counter
}

fn running(harness: &Harness, id: u64) -> usize {
    harness.scheduler.flows().get(id).map_or(0, |state| state.running)
}

fn waits(harness: &Harness, id: u64) -> bool {
    harness.scheduler.flows().get(id).is_some_and(|state| !state.waiting.is_empty())
}

/// The requests of one flow in a contest.
#[derive(Clone, Copy)]
struct Contestant {
    weight: u32,
    length: usize,
    max_tokens: usize,
}

/// The bound above, in virtual units.
fn bound(limits: &Limits, contestants: [Contestant; 2]) -> u128 {
    let cost = limits.fairness.generated_token_cost;
    let both = contestants.map(|Contestant { weight, length, max_tokens }| {
        let prompts = (limits.sequences_max * length).min(limits.blocks * limits.block_tokens);
        let outstanding = prompts + limits.sequences_max * max_tokens * cost;
        let claimed = prompts + limits.sequences_max * cost;
        virtual_cost(outstanding + claimed, weight)
    });
    both[0] + both[1]
}

/// Keeps more of flows 1 and 2 waiting than a step can admit, and checks the bound after every step; service of both, and the widest difference.
fn contest(seed: u64, weights: [u32; 2]) -> ([u128; 2], u128, u128) {
    let mut random = Random(seed);
    let limits = Limits {
        sequences_max: 2 + random.below(6),
        step_tokens_max: 8 + random.below(24),
        fairness: Fairness { burst_tokens: random.below(64), ..Fairness::default() },
        ..limits(20 + random.below(20))
    };
    let mut harness = Harness::new(limits);
    let mut contestant = |weight| Contestant { weight, length: 1 + random.below(30), max_tokens: 1 + random.below(12) };
    let contestants = weights.map(&mut contestant);
    let allowed = bound(&limits, contestants);
    let (mut next, mut base, mut widest) = (0, None, 0);
    for _ in 0..800 {
        for (id, Contestant { weight, length, max_tokens }) in (1..).zip(contestants) {
            while harness.scheduler.flows().get(id).is_none_or(|state| state.waiting.len() < 9) {
                // One is as urgent as it likes.
                let priority = if id == 2 { random.below(3) as i32 } else { 0 };
                let own = spec(next, &prompt(next, length), max_tokens);
                harness.add(of(Flow { weight, ..flow(id) }, Spec { priority, ..own }));
                next += 1;
            }
        }
        let (one, two) = (counter(&harness, 1), counter(&harness, 2));
        let (first, second) = *base.get_or_insert((one, two));
        let difference = (one - first).abs_diff(two - second);
        assert!(difference <= allowed, "seed {seed}: {difference} apart, {allowed} allowed");
        widest = widest.max(difference);
        harness.step(usize::MAX);
    }
    let (first, second) = base.expect("steps");
    let service = [counter(&harness, 1) - first, counter(&harness, 2) - second];
    harness.finish();
    (service, widest, allowed)
}

#[test]
fn flows_that_want_more_are_served_by_their_weights() {
    let (mut telling, mut worst) = (0, 0.0_f64);
    for seed in 0..60 {
        let weights = [[100, 100], [100, 300], [1000, 100], [7, 11]][seed as usize % 4];
        let (service, widest, allowed) = contest(seed, weights);
        // The window is long against what may lie between them.
        telling += usize::from(service[0] > 3 * allowed);
        worst = worst.max(widest as f64 / allowed as f64);
    }
    assert!(telling > 20, "{telling} windows are long");
    assert!(worst > 0.2, "the bound is of the right size: {worst} of it was used");
}

fn random_flow(random: &mut Random) -> Flow {
    let id = random.below(4) as u64;
    // Floors of 0 to 45 percent in all.
    let floor_blocks_percent = [0, 10, 15, 20][id as usize];
    Flow { weight: [1, 50, 100, 1000][random.below(4)], floor_blocks_percent, ..flow(id) }
}

fn random_spec(random: &mut Random, request: u64, capacity: usize) -> Spec {
    let flow = random_flow(random);
    let length = (1 + random.below(24)).min(capacity - 1);
    let shared = (random.below(3) as u64, random.below(9).min(length));
    let mut tokens = prompt(shared.0, shared.1);
    tokens.extend(prompt(1000 + request, length - shared.1));
    let own = spec(request, &tokens, random.below(20).min(capacity - length));
    let choices = if random.one_in(5) { 1 + random.below(3) } else { 1 };
    let priority = if random.one_in(3) { random.below(5) as i32 - 2 } else { 0 };
    of(flow, Spec { choices, priority, prompt_logits: random.one_in(6), ..own })
}

/// What idle flows have cached within their floors.
fn kept(harness: &Harness) -> BTreeMap<u64, usize> {
    let (flows, pool) = (harness.scheduler.flows(), harness.scheduler.pool());
    let idle = (0..4).filter(|id| flows.get(*id).is_some_and(|state| state.requests == 0));
    let kept = |id| {
        let percent = flows.get(id).map_or(0, |state| state.flow.floor_blocks_percent as usize);
        (id, pool.cached_of(id).min((pool.total() * percent / 100).saturating_sub(pool.used_of(id))))
    };
    idle.map(kept).collect()
}

/// Several flows with everything that one has, under pressure of memory and places: results are those of each request alone
/// and the laws of the scheduler hold (the harness sees to both), idle flows keep what their floors hold, and all
/// requests end, whatever the weights.
#[test]
fn random_workloads_of_several_flows() {
    let (mut preemptions, mut hits, mut floors) = (0, 0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let blocks = 10 + random.below(30);
        let limits = Limits {
            sequences_max: 1 + random.below(10),
            step_tokens_max: 1 + random.below(40),
            step_logits_max: 1 + random.below(20),
            prefix_cache: !random.one_in(4),
            fairness: Fairness { generated_token_cost: 1 + random.below(4), burst_tokens: random.below(40) },
            ..limits(blocks)
        };
        // Requests fit beside the floors, so that these always hold.
        let capacity = blocks * 55 / 100 * 4;
        let mut harness = Harness::new(limits);
        harness.is_stop = |token| token.is_multiple_of(23);
        let mut next = 0;
        for _ in 0..80 {
            for _ in 0..random.below(3) {
                harness.add(random_spec(&mut random, next, capacity));
                next += 1;
            }
            if next > 0 && random.one_in(5) {
                harness.cancel(random.below(next as usize) as u64);
            }
            let before = kept(&harness);
            harness.step(if random.one_in(3) { 1 + random.below(8) } else { usize::MAX });
            let after = kept(&harness);
            for (id, count) in &before {
                assert!(after.get(id).is_none_or(|after| after >= count), "seed {seed}: the floor of flow {id}");
                floors += count;
            }
        }
        harness.finish();
        preemptions += harness.scheduler.counters().preemptions;
        hits += harness.scheduler.counters().prefix_hits_tokens;
    }
    assert!(preemptions > 300 && hits > 1000 && floors > 1000, "{preemptions} preemptions, {hits} hits, {floors} kept");
}

/// Flow 1 has taken all places; the next step runs flow 2, at the price of one sequence of flow 1.
#[test]
fn who_has_less_than_its_share_gets_a_place_at_once() {
    let mut harness = Harness::new(Limits { sequences_max: 4, step_logits_max: 4, ..limits(64) });
    for request in 0..10 {
        harness.add(of(flow(1), spec(request, &prompt(request, 6), 20)));
    }
    for _ in 0..5 {
        harness.step(usize::MAX);
    }
    assert_eq!(running(&harness, 1), 4);
    harness.add(of(flow(2), spec(10, &prompt(10, 6), 5)));
    harness.add(Spec { priority: 9, ..of(flow(1), spec(11, &prompt(11, 6), 5)) });
    harness.step(usize::MAX);
    assert_eq!((running(&harness, 1), running(&harness, 2)), (3, 1), "a priority counts among its own");
    assert!(harness.has_begun(10));
    for request in 12..20 {
        harness.add(of(flow(2), spec(request, &prompt(request, 6), 5)));
    }
    harness.step(usize::MAX);
    assert_eq!((running(&harness, 1), running(&harness, 2)), (2, 2), "half of the places, and no more");
    harness.finish();
}

/// Flow 1 holds all memory with sequences that grow.
#[test]
fn who_has_less_than_its_share_gets_blocks_at_once() {
    let mut harness = Harness::new(limits(16));
    for request in 0..10 {
        harness.add(of(flow(1), spec(request, &prompt(request, 8), 24)));
    }
    for _ in 0..4 {
        harness.step(usize::MAX);
    }
    assert!(waits(&harness, 1), "there is no room for all");
    harness.add(of(flow(2), spec(10, &prompt(10, 12), 4)));
    harness.step(usize::MAX);
    assert!(harness.has_begun(10));
    for _ in 0..3 {
        harness.step(usize::MAX);
    }
    assert!(harness.has_ended(10), "it was not interrupted");
    harness.finish();
}

/// A flow that decodes in many sequences gives its tokens up to the prompt of one that comes back.
#[test]
fn a_returning_flow_has_its_burst_before_the_tokens_of_a_flood() {
    let limits = Limits { sequences_max: 24, step_tokens_max: 36, step_logits_max: 36, ..limits(200) };
    for (burst_tokens, steps) in [(32, 1), (0, 2)] {
        let mut harness = Harness::new(Limits { fairness: Fairness { burst_tokens, ..Fairness::default() }, ..limits });
        for request in 0..20 {
            harness.add(of(flow(1), spec(request, &prompt(request, 3), 20)));
        }
        for _ in 0..6 {
            harness.step(usize::MAX);
        }
        harness.add(of(flow(2), spec(20, &prompt(20, 32), 2)));
        let needed = (1..).find(|_| harness.step(usize::MAX) && harness.has_begun(20));
        assert_eq!(needed, Some(steps), "a burst of {burst_tokens}");
        harness.finish();
    }
}

/// A stream of short requests does not hold up one that needs nearly all the memory, nor the other way round.
#[test]
fn nothing_starves_across_flows() {
    for floor_blocks_percent in [0, 40] {
        let mut harness = Harness::new(Limits { sequences_max: 4, ..limits(12) });
        let small = Flow { floor_blocks_percent, ..flow(2) };
        harness.add(of(small, spec(0, &prompt(0, 4), 8)));
        harness.step(usize::MAX);
        harness.add(of(flow(1), spec(1, &prompt(1, 38), 10)));
        let mut step = 1;
        while !harness.has_ended(1) {
            step += 1;
            harness.add(of(small, spec(step, &prompt(step, 4), 8)));
            harness.step(usize::MAX);
            assert!(step < 150, "the long one takes a bounded number of steps");
        }
        let before = (0..step).filter(|request| harness.has_ended(*request)).count();
        assert!(before >= 3, "{before} short ones ended beside it");
        harness.finish();
    }
}

/// Flow 2 has a floor and one sequence at a time within it.
#[test]
fn what_runs_within_its_floor_is_not_preempted() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut harness = Harness::new(Limits { sequences_max: 6, ..limits(20) });
        let mut next = 0;
        let mut own = None;
        for _ in 0..200 {
            if random.one_in(2) {
                let length = 1 + random.below(20);
                let flood = Flow { weight: 1000, ..flow(1) };
                harness.add(of(flood, spec(next, &prompt(next, length), 1 + random.below(30))));
                next += 1;
            }
            if own.is_none_or(|request| harness.has_ended(request)) {
                let small = Flow { weight: 1, floor_blocks_percent: 25, ..flow(2) };
                harness.add(of(small, spec(next, &prompt(next, 1 + random.below(8)), 12)));
                own = Some(next);
                next += 1;
            }
            let ran = running(&harness, 2);
            harness.step(usize::MAX);
            let runs = running(&harness, 2) + usize::from(own.is_some_and(|request| harness.has_ended(request)));
            assert!(runs >= ran, "seed {seed}: flow 2 was preempted within its floor");
        }
        harness.finish();
        assert!(harness.scheduler.counters().preemptions > 0, "memory was short");
    }
}

/// Flow 2 has a floor and one sequence at a time within it, beside two floods without one: what is the elder takes from the
/// other flood, and what is not the elder waits. Flow 4 is idle, and its floor is what an elder takes when there is nothing else.
#[test]
fn floors_hold_between_floods_and_against_the_elder() {
    let (mut preemptions, mut full) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut harness = Harness::new(Limits { sequences_max: 6, ..limits(20) });
        let idle = Flow { floor_blocks_percent: 25, ..flow(4) };
        harness.add(of(idle, spec(0, &prompt(0, 20), 1)));
        harness.finish();
        let weights = [[1, 1000], [1000, 1], [100, 100]][seed as usize % 3];
        let (mut next, mut own) = (1, None);
        for _ in 0..200 {
            for (id, weight) in [1, 3].into_iter().zip(weights) {
                if random.one_in(3) {
                    // 15 blocks at most: it can be held beside the floor of flow 2.
                    let own = spec(next, &prompt(next, 1 + random.below(30)), 1 + random.below(30));
                    harness.add(of(Flow { weight, ..flow(id) }, own));
                    next += 1;
                }
            }
            if own.is_none_or(|request| harness.has_ended(request)) {
                let small = Flow { weight: 1, floor_blocks_percent: 25, ..flow(2) };
                harness.add(of(small, spec(next, &prompt(next, 1 + random.below(8)), 12)));
                own = Some(next);
                next += 1;
            }
            let ran = running(&harness, 2);
            harness.step(usize::MAX);
            let runs = running(&harness, 2) + usize::from(own.is_some_and(|request| harness.has_ended(request)));
            assert!(runs >= ran, "seed {seed}: flow 2 was preempted within its floor");
            // What the idle flow has cached is out of reach.
            full += usize::from(ran > 0 && harness.scheduler.pool().used() >= 15);
        }
        harness.finish();
        preemptions += harness.scheduler.counters().preemptions;
    }
    assert!(
        preemptions > 300 && full > 100,
        "{preemptions} preemptions, {full} steps with all blocks in use that can be"
    );
}

/// The prompt of flow 2 stays cached through a flood that uses more memory than there is.
#[test]
fn a_cache_within_its_floor_outlives_a_flood() {
    for (floor_blocks_percent, cached) in [(30, 15), (0, 0)] {
        let mut harness = Harness::new(limits(16));
        let small = Flow { floor_blocks_percent, ..flow(2) };
        harness.add(of(small, spec(0, &prompt(0, 16), 1)));
        harness.finish();
        for request in 1..30 {
            harness.add(of(flow(1), spec(request, &prompt(request, 12), 20)));
        }
        harness.finish();
        harness.add(of(small, spec(30, &prompt(0, 16), 1)));
        harness.finish();
        assert_eq!(harness.cached_tokens(30), cached);
        // A flow that needs all the memory, and has nobody to wait for, has it.
        harness.add(of(flow(1), spec(31, &prompt(31, 60), 4)));
        harness.finish();
    }
}
