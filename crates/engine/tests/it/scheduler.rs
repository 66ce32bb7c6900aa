//! The scheduling core under seeded random workloads: every row of logits equals what the sequence gives alone, the laws
//! hold at every step, and every request ends once.

use crate::fake::{FAILING, FakeExecutor, Random, VOCABULARY, mix, reference, shape};
use orrery_engine::Executor;
use orrery_engine::core::draft::Drafts;
use orrery_engine::core::flow::{Fairness, Flow};
use orrery_engine::core::scheduler::{End, Limits, Sampled, Scheduler};
use orrery_engine::core::sequence::{SequenceId, Spec};
use orrery_engine::core::{Plan, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub fn limits(blocks: usize) -> Limits {
    Limits {
        blocks,
        block_tokens: 4,
        sequences_max: 8,
        step_tokens_max: 16,
        step_logits_max: 10,
        prefix_cache: true,
        drafts: Drafts::default(),
        fairness: Fairness::default(),
    }
}

pub fn spec(request: u64, prompt: &[u32], max_tokens: usize) -> Spec {
    Spec {
        request,
        flow: Flow::default(),
        prompt: prompt.into(),
        max_tokens,
        choices: 1,
        priority: 0,
        salt: Vec::new(),
        prompt_logits: false,
    }
}

/// The token that a choice takes after `tokens`: the best one of the logits, shifted by the choice so that choices differ;
/// or, in `repeats` of 256 cases, which the logits decide too, the one that came five tokens before.
fn pick(logits: &[f32], tokens: &[u32], choice: usize, repeats: u8) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(token, _)| token);
    let dice = (logits[0].to_bits() >> 4) as u8;
    match tokens.len().checked_sub(5) {
        Some(before) if dice < repeats => tokens[before],
        _ => ((best + choice) % FAILING as usize) as u32,
    }
}

/// What one choice generates alone: tokens and end.
fn alone(spec: &Spec, choice: usize, is_stop: fn(u32) -> bool, repeats: u8) -> (Vec<u32>, End) {
    let mut tokens = spec.prompt.to_vec();
    for _ in 0..spec.max_tokens {
        let token = pick(&reference(&tokens), &tokens, choice, repeats);
        tokens.push(token);
        if is_stop(token) {
            return (tokens.split_off(spec.prompt.len()), End::Stop);
        }
    }
    (tokens.split_off(spec.prompt.len()), End::Length)
}

pub struct Harness {
    pub is_stop: fn(u32) -> bool,
    /// See [`pick`].
    pub repeats: u8,
    pub scheduler: Scheduler,
    executor: FakeExecutor,
    specs: BTreeMap<u64, Spec>,
    generated: BTreeMap<SequenceId, Vec<u32>>,
    ended: BTreeMap<SequenceId, End>,
    cancelled: BTreeSet<u64>,
    prompt_rows: BTreeMap<u64, usize>,
    cached: BTreeMap<u64, usize>,
    /// Tokens computed.
    computed: usize,
    /// Of all plans.
    fingerprint: u64,
    /// Who may read what each block holds: a salt and, without a prefix cache, a request.
    readers: HashMap<u32, (Vec<u8>, Option<u64>)>,
}

impl Harness {
    pub fn new(limits: Limits) -> Self {
        Self {
            is_stop: |_| false,
            repeats: 0,
            executor: FakeExecutor::new(shape(limits.blocks, usize::MAX)),
            scheduler: Scheduler::new(limits),
            specs: BTreeMap::new(),
            generated: BTreeMap::new(),
            ended: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            prompt_rows: BTreeMap::new(),
            cached: BTreeMap::new(),
            computed: 0,
            fingerprint: 0,
            readers: HashMap::new(),
        }
    }

    pub fn add(&mut self, spec: Spec) {
        self.scheduler.add(&spec);
        self.specs.insert(spec.request, spec);
    }

    /// The request has its first token.
    pub fn has_begun(&self, request: u64) -> bool {
        self.generated.contains_key(&SequenceId { request, choice: 0 })
    }

    pub fn has_ended(&self, request: u64) -> bool {
        self.ended.contains_key(&SequenceId { request, choice: 0 })
    }

    /// Prompt tokens that the request found cached.
    pub fn cached_tokens(&self, request: u64) -> usize {
        self.cached[&request]
    }

    pub fn cancel(&mut self, request: u64) {
        self.scheduler.cancel(request);
        self.scheduler.check();
        self.cancelled.insert(request);
    }

    /// One step with the laws checked; `false` when there was nothing to do.
    pub fn step(&mut self, budget: usize) -> bool {
        let plan = self.scheduler.schedule(budget);
        self.scheduler.check();
        let limits = *self.scheduler.limits();
        // With several flows, a prompt of one that is behind may take a quarter of the largest step.
        let least = limits.sequences_max.max(limits.step_tokens_max / 4 + 1);
        assert!(plan.batch.tokens.len() <= limits.step_tokens_max.min(budget.max(least)));
        assert!(plan.rows.len() <= limits.step_logits_max);
        for started in &plan.started {
            assert!(self.cached.insert(started.request, started.cached_tokens).is_none(), "a request starts once");
        }
        if plan.is_empty() {
            assert!(self.scheduler.is_idle(), "an empty step only when idle");
            return false;
        }
        self.computed += plan.batch.tokens.len();
        self.fingerprint =
            format!("{plan:?}").bytes().fold(self.fingerprint, |state, byte| mix(state ^ u64::from(byte)));
        self.check_readers(&plan);
        let mut logits = Vec::new();
        self.executor.step(&plan.batch, &mut logits).expect("the fake does not fail here");
        let sampled = self.read(&plan, &logits);
        for (id, end) in self.scheduler.commit(&plan, &sampled) {
            assert!(self.ended.insert(id, end).is_none(), "{id:?} ends once");
        }
        self.scheduler.check();
        true
    }

    /// Compares every row with the reference.
    fn read(&mut self, plan: &Plan, logits: &[f32]) -> Vec<Sampled> {
        let mut sampled: Vec<Sampled> = Vec::new();
        // The token that the sequence's next row was computed after.
        let mut expected = None;
        let tokens_after = plan.batch.logits_rows.iter().map(|row| plan.batch.tokens.get(row + 1).copied());
        for ((row, after), logits) in plan.rows.iter().zip(tokens_after).zip(logits.chunks_exact(VOCABULARY)) {
            match *row {
                Row::Prompt { id, position } => {
                    let seen = self.prompt_rows.entry(id.request).or_default();
                    assert_eq!((id.choice, position), (0, *seen), "prompt rows come once and in order");
                    *seen += 1;
                    assert_eq!(logits, reference(&self.specs[&id.request].prompt[..=position]));
                }
                Row::Sample { id, draft } => {
                    assert!(draft.is_none() || draft == after, "the draft stands in the batch");
                    if let Some(last) = sampled.last().filter(|last| last.id == id)
                        && (expected != Some(last.token) || last.stop)
                    {
                        continue;
                    }
                    expected = draft;
                    let generated = self.generated.entry(id).or_default();
                    let tokens = [&self.specs[&id.request].prompt, generated.as_slice()].concat();
                    assert_eq!(logits, reference(&tokens), "{id:?} after {} tokens", tokens.len());
                    let token = pick(logits, &tokens, id.choice, self.repeats);
                    generated.push(token);
                    sampled.push(Sampled { id, token, stop: (self.is_stop)(token) });
                }
            }
        }
        sampled
    }

    /// No sequence reads what one of another salt wrote.
    fn check_readers(&mut self, plan: &Plan) {
        let block_tokens = self.scheduler.limits().block_tokens;
        for copy in &plan.batch.copies {
            let reader = self.readers[&copy.from].clone();
            self.readers.insert(copy.to, reader);
        }
        for (id, span) in plan.sequences.iter().zip(&plan.batch.spans) {
            let private = (!self.scheduler.limits().prefix_cache).then_some(id.request);
            let reader = (self.specs[&id.request].salt.clone(), private);
            for (index, block) in span.blocks.iter().enumerate() {
                if index * block_tokens < span.position + span.stored {
                    assert_eq!(self.readers.get(block), Some(&reader), "block {block} read by {id:?}");
                } else {
                    self.readers.insert(*block, reader.clone());
                }
            }
        }
    }

    pub fn finish(&mut self) {
        for _ in 0..20_000 {
            if !self.step(usize::MAX) {
                return self.check_results();
            }
        }
        panic!("no end after 20,000 steps");
    }

    fn check_results(&self) {
        assert_eq!(self.scheduler.pool().used(), 0, "nothing is held at the end");
        for spec in self.specs.values().filter(|spec| !self.cancelled.contains(&spec.request)) {
            for choice in 0..spec.choices {
                let id = SequenceId { request: spec.request, choice };
                let (tokens, end) = alone(spec, choice, self.is_stop, self.repeats);
                assert_eq!(self.generated.get(&id).cloned().unwrap_or_default(), tokens, "{id:?}");
                assert_eq!(self.ended.get(&id), Some(&end), "{id:?}");
            }
            let rows = self.prompt_rows.get(&spec.request).copied().unwrap_or(0);
            assert_eq!(rows, if spec.prompt_logits { spec.prompt.len() - 1 } else { 0 });
        }
    }
}

fn random_spec(random: &mut Random, request: u64, blocks: usize) -> Spec {
    let capacity = blocks * 4;
    // A few prefixes that many requests share.
    let prefix = (random.below(3), random.below(3) * 4 + random.below(3));
    let length = (1 + random.below(24)).min(capacity - 1);
    let token = |i: usize, own: usize| {
        let shared = i < prefix.1 * 2;
        1 + (mix((i * 7 + if shared { prefix.0 } else { own }) as u64) % 200) as u32
    };
    let own = 1000 + random.below(1000);
    let prompt: Vec<u32> = (0..length).map(|i| token(i, own)).collect();
    Spec {
        request,
        flow: Flow::default(),
        max_tokens: random.below(20).min(capacity - length),
        choices: if random.one_in(4) { 1 + random.below(4) } else { 1 },
        priority: if random.one_in(4) { random.below(3) as i32 - 1 } else { 0 },
        salt: vec![random.below(2) as u8; random.below(2)],
        prompt_logits: random.one_in(5),
        prompt: prompt.into(),
    }
}

/// Fingerprint of the workloads' plans as they were before there were flows: one flow alone is scheduled by its own order
/// only. A change of that order on purpose changes it.
const ONE_FLOW: u64 = 0x5d36_0bca_b399_9079;

/// Arrivals, cancels, priorities, choices, salts and shared prefixes under pressure of memory.
#[test]
fn random_workloads_give_what_each_request_gives_alone() {
    let (mut preemptions, mut hits, mut accepted, mut refused, mut plans) = (0, 0, 0, 0, 0);
    for seed in 0..300 {
        let mut random = Random(seed);
        let blocks = 8 + random.below(30);
        let limits = Limits {
            sequences_max: 1 + random.below(10),
            step_tokens_max: 1 + random.below(40),
            step_logits_max: 1 + random.below(20),
            prefix_cache: !random.one_in(4),
            drafts: random_drafts(&mut random),
            ..limits(blocks)
        };
        let repeats = [0, 128, 230][random.below(3)];
        let mut harness = Harness { is_stop: |token| token.is_multiple_of(23), repeats, ..Harness::new(limits) };
        let mut next = 0;
        for _ in 0..60 {
            for _ in 0..random.below(3) {
                harness.add(random_spec(&mut random, next, blocks));
                next += 1;
            }
            if next > 0 && random.one_in(5) {
                harness.cancel(random.below(next as usize) as u64);
            }
            if next > 0 && random.one_in(10) {
                // A choice that its reader ended; its request is not compared any more.
                let request = random.below(next as usize) as u64;
                harness.scheduler.cancel_choice(SequenceId { request, choice: random.below(3) });
                harness.cancelled.insert(request);
            }
            let budget = if random.one_in(3) { 1 + random.below(8) } else { usize::MAX };
            harness.step(budget);
        }
        harness.finish();
        let counters = harness.scheduler.counters();
        plans = mix(plans ^ harness.fingerprint);
        preemptions += counters.preemptions;
        hits += counters.prefix_hits_tokens;
        accepted += counters.drafts_accepted_tokens;
        refused += counters.drafts_tokens - counters.drafts_accepted_tokens;
    }
    assert_eq!(plans, ONE_FLOW, "plans {plans:#x}");
    assert!(preemptions > 500, "the workloads put memory under pressure: {preemptions} preemptions");
    assert!(hits > 2000, "the workloads share prefixes: {hits} tokens hit");
    assert!(accepted > 500 && refused > 500, "drafts are right and wrong: {accepted} accepted, {refused} refused");
}

fn random_drafts(random: &mut Random) -> Drafts {
    match random.below(4) {
        0 => Drafts::default(),
        _ => Drafts { tokens_max: 1 + random.below(12), match_min: 1 + random.below(3), window: 1 + random.below(64) },
    }
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_decode() {
    let mut harness = Harness::new(limits(64));
    harness.add(spec(0, &[5, 6], 30));
    harness.step(usize::MAX);
    harness.add(spec(1, &(1..101).collect::<Vec<u32>>(), 2));
    for step in 0..6 {
        harness.step(usize::MAX);
        assert_eq!(harness.generated[&SequenceId { request: 0, choice: 0 }].len(), step + 2, "decoding goes on");
    }
    harness.finish();
    // 100 tokens beside one that decodes: 15 a step.
    assert_eq!(harness.scheduler.counters().preemptions, 0);
}

#[test]
fn a_prompt_that_is_cached_whole_computes_only_its_last_token() {
    let prompt: Vec<u32> = (1..=16).collect();
    let mut harness = Harness::new(limits(64));
    harness.add(spec(0, &prompt, 1));
    harness.finish();
    let computed = harness.computed;
    harness.add(spec(1, &prompt, 1));
    harness.finish();
    assert_eq!(harness.cached[&1], 15, "the last token is computed again, for its logits");
    assert_eq!(harness.computed - computed, 1);
    // Another salt finds nothing.
    harness.add(Spec { salt: b"other".to_vec(), ..spec(2, &prompt, 1) });
    harness.finish();
    assert_eq!(harness.cached[&2], 0);
}

#[test]
fn a_block_is_copied_as_far_as_it_fits() {
    let mut harness = Harness::new(limits(64));
    let first: Vec<u32> = (1..=18).collect();
    harness.add(spec(0, &first, 1));
    harness.finish();
    // The same prompt, which ends within a block; then one that turns away in the middle of a full block.
    let other = [&first[..10], &[99, 98, 97]].concat();
    for (request, prompt, cached) in [(1, &first, 17), (2, &other, 10), (3, &other, 12)] {
        let (computed, used) = (harness.computed, harness.scheduler.pool().used());
        harness.add(spec(request, prompt, 1));
        harness.finish();
        assert_eq!(harness.cached[&request], cached, "request {request}");
        assert_eq!(harness.computed - computed, prompt.len() - cached);
        assert_eq!(harness.scheduler.pool().used(), used);
    }
    harness.add(Spec { salt: b"other".to_vec(), ..spec(4, &first, 1) });
    harness.finish();
    assert_eq!(harness.cached[&4], 0, "another salt finds nothing to copy");
}

#[test]
fn the_block_to_copy_from_is_taken_when_it_is_the_last_one() {
    let mut harness = Harness::new(limits(3));
    harness.add(spec(0, &[1, 2, 3], 1));
    harness.finish();
    harness.add(spec(1, &[7, 7, 7, 7, 7, 7], 3));
    harness.step(usize::MAX);
    harness.add(spec(2, &[1, 2, 3, 4], 1));
    harness.finish();
    assert_eq!(harness.cached[&2], 3);
}

#[test]
fn choices_share_the_prompt_even_without_a_prefix_cache() {
    let prompt: Vec<u32> = (1..=42).collect();
    let mut harness = Harness::new(Limits { prefix_cache: false, ..limits(64) });
    harness.add(Spec { choices: 3, ..spec(0, &prompt, 1) });
    harness.add(spec(1, &prompt, 1));
    harness.finish();
    // Choices 1 and 2 compute the two tokens past the last full block; request 1 shares nothing.
    assert_eq!(harness.computed, 42 + 2 + 2 + 42);
    assert_eq!(harness.cached, BTreeMap::from([(0, 0), (1, 0)]));
    assert_eq!((harness.scheduler.pool().cached(), harness.scheduler.pool().free()), (0, 64));
}

#[test]
fn prompt_logits_are_bounded_per_step_and_skip_no_cached_token() {
    let prompt: Vec<u32> = (1..=40).collect();
    let mut harness = Harness::new(Limits { step_logits_max: 3, step_tokens_max: 64, ..limits(64) });
    harness.add(spec(0, &prompt, 1));
    harness.finish();
    harness.add(Spec { prompt_logits: true, ..spec(1, &prompt, 1) });
    harness.finish();
    assert_eq!((harness.cached[&1], harness.prompt_rows[&1]), (0, 39));
    assert_eq!(harness.scheduler.pool().cached(), 10, "their blocks are shared all the same");
    assert_eq!(harness.scheduler.counters().steps, 1 + 14, "three rows a step");
}

#[test]
fn the_youngest_gives_way_when_blocks_run_out() {
    // Two sequences that each need 6 of the 8 blocks in the end.
    let mut harness = Harness::new(limits(8));
    harness.add(spec(0, &[1, 2, 3, 4], 20));
    harness.add(spec(1, &[9, 8, 7, 6], 20));
    let mut first_end = Vec::new();
    while harness.step(usize::MAX) {
        for id in harness.ended.keys() {
            if !first_end.contains(id) {
                first_end.push(*id);
            }
        }
    }
    harness.check_results();
    assert!(harness.scheduler.counters().preemptions > 0);
    assert_eq!(first_end[0].request, 0, "the older one ends first");
}

#[test]
fn a_higher_priority_takes_the_place_of_a_lower_one() {
    let mut harness = Harness::new(Limits { sequences_max: 1, ..limits(64) });
    harness.add(spec(0, &[1, 2, 3], 12));
    harness.step(usize::MAX);
    harness.add(Spec { priority: 5, ..spec(1, &[3, 2, 1], 2) });
    harness.add(spec(2, &[4, 4], 2));
    harness.step(usize::MAX);
    assert_eq!(harness.scheduler.counters().preemptions, 1);
    assert!(harness.generated.contains_key(&SequenceId { request: 1, choice: 0 }));
    harness.finish();
    assert_eq!(harness.scheduler.counters().preemptions, 1, "equal priorities do not displace each other");
}

/// A steady stream of younger requests does not hold up an older one.
#[test]
fn nothing_starves_among_equals() {
    let mut harness = Harness::new(Limits { sequences_max: 4, ..limits(12) });
    harness.add(spec(0, &(1..=30).collect::<Vec<u32>>(), 10));
    let mut step = 0;
    while !harness.ended.contains_key(&SequenceId { request: 0, choice: 0 }) {
        step += 1;
        harness.add(spec(step, &[step as u32 % 200 + 1, 3], 8));
        harness.step(usize::MAX);
        assert!(step < 40, "the first request takes a bounded number of steps");
    }
    harness.finish();
}

#[test]
fn a_failed_step_frees_its_requests_and_keeps_the_cache_clean() {
    let mut harness = Harness::new(limits(64));
    let prompt: Vec<u32> = (1..=12).collect();
    harness.add(Spec { choices: 2, ..spec(0, &prompt, 4) });
    let plan = harness.scheduler.schedule(usize::MAX);
    assert_eq!(harness.scheduler.fail(&plan), [0]);
    harness.cancelled.insert(0);
    assert!(harness.scheduler.is_idle());
    assert_eq!((harness.scheduler.pool().free(), harness.scheduler.pool().cached()), (64, 0));
    // Had its blocks been named, this would hit memory that was never written.
    harness.add(spec(1, &prompt, 4));
    harness.finish();
    // The same for a block that was to be copied.
    let turned = [&prompt[..10], &[99, 98]].concat();
    harness.add(spec(2, &turned, 4));
    let plan = harness.scheduler.schedule(usize::MAX);
    assert_eq!((plan.batch.copies.len(), plan.batch.spans[0].position), (1, 10));
    assert_eq!(harness.scheduler.fail(&plan), [2]);
    harness.cancelled.insert(2);
    harness.add(spec(3, &turned, 4));
    harness.finish();
}

#[test]
fn no_tokens_asked_computes_the_prompt_and_ends() {
    let mut harness = Harness::new(limits(64));
    harness.add(Spec { prompt_logits: true, choices: 2, ..spec(0, &[1, 2, 3, 4, 5, 6], 0) });
    harness.finish();
    assert_eq!(harness.ended.len(), 2);
}
