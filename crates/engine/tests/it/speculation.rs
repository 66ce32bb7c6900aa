//! Speculation changes when tokens come and nothing else.

use crate::engine::{Outcome, collect, request, start};
use crate::fake::{Bytes, EOS, FAILING, FakeExecutor, PANICKING, Random, Script, shape};
use crate::model::together;
use crate::scheduler::{Harness, limits, spec};
use orrery_engine::core::draft::Drafts;
use orrery_engine::core::scheduler::Limits;
use orrery_engine::{Engine, FinishReason, Flow, LoadError, Request, Sampling, Settings, Stats};
use std::sync::Arc;

fn speculating(settings: Settings) -> Settings {
    Settings { speculation_ngram: true, ..settings }
}

/// Every kind of sampling, choices, stops and prompts that share prefixes. A bias leaves few tokens to choose from in most
/// of them, so that what was said is often said again.
fn random_request(random: &mut Random) -> Request {
    let (shared, own) = (random.below(3) as u32, random.below(200) as u32);
    let token = |i: usize| 1 + if i < 12 { shared * 60 + i as u32 % 4 } else { (own + i as u32 * 7) % 200 };
    let few = [2, 3, 100][random.below(3)];
    let bias = (97..97 + few).map(|token| (token, if few < 100 { 20.0 } else { 0.0 }));
    let never = [(FAILING, -100.0), (PANICKING, -100.0)];
    Request {
        prompt: (0..1 + random.below(30)).map(token).collect(),
        max_tokens: random.below(40),
        n: if random.one_in(4) { 1 + random.below(3) } else { 1 },
        sampling: Sampling {
            temperature: [0.0, 0.0, 0.7][random.below(3)],
            top_p: [1.0, 0.8][random.below(2)],
            repetition_penalty: [1.0, 1.2][random.below(2)],
            frequency_penalty: [0.0, 0.4][random.below(2)],
            presence_penalty: [0.0, 0.5][random.below(2)],
            logit_bias: bias.chain(never).chain([(EOS, 18.0)]).collect(),
            seed: Some(random.below(1000) as u64),
            ..Sampling::default()
        },
        stop: if random.one_in(3) { vec!["abba".into(), "bbb".into()] } else { Vec::new() },
        stop_tokens: if random.one_in(3) { vec![98] } else { Vec::new() },
        ignore_eos: random.one_in(2),
        logprobs: random.one_in(2).then_some(3),
        prompt_logprobs: random.one_in(6).then_some(2),
        cache_salt: vec![0; random.below(2)],
        flow: Flow::default(),
        priority: random.below(2) as i32,
    }
}

/// The outcomes of one seed's requests; every seventh is dropped on the way.
async fn outcomes(seed: u64, settings: Settings) -> (Vec<Outcome>, Stats) {
    let (engine, handle) = start(FakeExecutor::new(shape(26, 80)), settings);
    let mut random = Random(seed);
    let mut running = Vec::new();
    for i in 0..60 {
        let generation = handle.submit(random_request(&mut random)).expect("accepted");
        if i % 7 == 3 {
            drop(generation);
        } else {
            running.push(tokio::spawn(collect(generation)));
        }
    }
    let mut outcomes = Vec::new();
    for task in running {
        let mut outcome = task.await.expect("no panic");
        let Some(Ok(usage)) = &mut outcome.end else { panic!("{outcome:?}") };
        // What is cached depends on who came first.
        usage.cached_tokens = 0;
        outcomes.push(outcome);
    }
    let stats = handle.stats();
    engine.stop();
    (outcomes, stats)
}

#[tokio::test]
async fn every_kind_of_request_gives_the_same_with_and_without() {
    let (mut accepted, mut refused, mut preemptions) = (0, 0, 0);
    for seed in 0..20 {
        // Few at a time, which leaves room for drafts.
        let plain = Settings { sequences_max: 4, prefix_cache: seed % 2 == 0, ..Settings::default() };
        let (expected, stats) = outcomes(seed, plain.clone()).await;
        assert_eq!((stats.drafts, stats.drafts_tokens), (0, 0), "off means off");
        let (found, stats) = outcomes(seed, speculating(plain)).await;
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "request {i} of seed {seed}");
        }
        accepted += stats.drafts_accepted_tokens;
        refused += stats.drafts_tokens - stats.drafts_accepted_tokens;
        preemptions += stats.preemptions;
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
    assert!(preemptions > 20, "memory ran out {preemptions} times");
}

#[tokio::test]
async fn a_text_that_repeats_itself_takes_fewer_steps() {
    let line = b"the quick brown fox ";
    let play = async |settings: Settings| {
        let script = Script(line.iter().map(|byte| u32::from(*byte)).collect());
        let (engine, handle) = Engine::start_with_text(script, Arc::new(Bytes), settings).expect("an engine");
        let generation = handle.submit(request(&[1], 200)).expect("accepted");
        let outcome = collect(generation).await;
        let stats = handle.stats();
        engine.stop();
        (outcome, stats)
    };
    let (expected, stats) = play(Settings::default()).await;
    assert_eq!((stats.steps, stats.drafts), (200, 0));
    let (found, stats) = play(speculating(Settings::default())).await;
    assert_eq!(found, expected);
    // 22 steps until the line has begun again, then drafts of 2 and 4 tokens, eighteen of 8, and one of the 7 that are left.
    assert_eq!((stats.steps, stats.drafts), (43, 21));
    assert_eq!(stats.drafts_accepted_tokens, 200 - stats.steps);
}

#[tokio::test]
async fn a_stop_token_that_was_drafted_ends_the_choice() {
    let script: Vec<u32> = b"abcd.".iter().map(|byte| u32::from(*byte)).collect();
    let (engine, handle) =
        Engine::start_with_text(Script(script.clone()), Arc::new(Bytes), speculating(Settings::default()))
            .expect("an engine");
    // The prompt ends with the script's end, so that the script begins again.
    let prompt = [&script[4..], &script, &script].concat();
    let stop_tokens = vec![u32::from(b'.')];
    let generation = handle.submit(Request { stop_tokens, ..request(&prompt, 50) }).expect("accepted");
    let outcome = collect(generation).await;
    let stats = handle.stats();
    engine.stop();
    assert_eq!((outcome.texts[&0].as_str(), outcome.reasons[&0]), ("abcd", FinishReason::Stop));
    assert!(matches!(outcome.end, Some(Ok(usage)) if usage.completion_tokens == 5), "{:?}", outcome.end);
    // a; then b and c as drafted, and d; then the stop, which was the first token of a draft of four.
    assert_eq!((stats.steps, stats.drafts_tokens, stats.drafts_accepted_tokens), (3, 6, 2));
}

fn looping(blocks: usize, tokens_max: usize) -> Harness {
    let drafts = Drafts { tokens_max, match_min: 2, window: 64 };
    let limits = Limits { drafts, step_tokens_max: 64, step_logits_max: 32, ..limits(blocks) };
    let mut harness = Harness::new(limits);
    harness.repeats = 255;
    harness
}

#[test]
fn many_sequences_leave_no_room_for_drafts() {
    let prompt = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5];
    let accepted = |sequences: u64, tokens_max| {
        let mut harness = looping(200, tokens_max);
        for request in 0..sequences {
            harness.add(spec(request, &prompt, 20));
        }
        harness.finish();
        harness.scheduler.counters().drafts_accepted_tokens
    };
    assert_eq!(accepted(1, 0), 0);
    assert!(accepted(1, 3) > 0 && accepted(3, 3) > 0);
    assert_eq!(accepted(4, 3), 0, "four that decode fill a step of one token and three drafts");
}

#[test]
fn drafts_take_no_block_that_is_needed() {
    // Two prompts of six tokens fill the four blocks up to two tokens in each of them.
    let prompt = [7, 7, 7, 7, 7, 7];
    let mut harness = looping(4, 16);
    harness.add(spec(0, &prompt, 10));
    harness.add(spec(1, &prompt.map(|token| token + 1), 10));
    harness.step(usize::MAX);
    harness.step(usize::MAX);
    let counters = harness.scheduler.counters();
    assert_eq!((counters.preemptions, counters.drafts_tokens), (0, 2), "one draft token fits for each");
    harness.finish();
}

#[tokio::test]
async fn a_real_model_gives_the_same_bits_with_and_without() {
    use crate::model::Variant;
    for name in ["llama-q4_k_m.gguf", "qwen3-q4_0.gguf"] {
        let mut random = Random(5);
        let requests: Vec<Request> = (0..6)
            .map(|i| {
                let part: Vec<u32> = (0..5 + random.below(10)).map(|_| random.below(256) as u32).collect();
                let sampled = Sampling { temperature: 0.6, top_k: 3, seed: Some(i), ..Sampling::default() };
                let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
                Request {
                    sampling: if i % 3 == 2 { sampled } else { greedy },
                    n: if i == 2 { 2 } else { 1 },
                    ignore_eos: true,
                    logprobs: Some(4),
                    ..request(&part.repeat(3), 120)
                }
            })
            .collect();
        let plain = Variant::plain();
        let (engine, handle) = plain.start(name);
        let expected = together(&handle, &requests, 1).await;
        engine.stop();
        let settings = Settings { sequences_max: 3, prefix_cache: true, ..speculating(plain.settings.clone()) };
        let (engine, handle) = Variant { settings, ..plain }.start(name);
        let found = together(&handle, &requests, 1).await;
        let stats = handle.stats();
        engine.stop();
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(found == expected, "{name}: request {i} differs");
        }
        assert!(stats.drafts_accepted_tokens > 50, "{name}: {stats:?}");
    }
}

#[test]
fn drafts_that_could_never_be_are_refused() {
    let refused =
        |settings: Settings| match Engine::start_with_text(FakeExecutor::new(shape(9, 9)), Arc::new(Bytes), settings) {
            Err(LoadError::Settings(message)) => message,
            other => panic!("{:?}", other.map(|_| ())),
        };
    let on = || speculating(Settings::default());
    for (settings, name) in [
        (Settings { draft_tokens_max: 0, ..on() }, "`draft_tokens_max` is 0"),
        (Settings { draft_match_min: 0, ..on() }, "`draft_match_min` is 0"),
        (Settings { draft_window: 0, ..on() }, "`draft_window` is 0"),
        (Settings { draft_match_min: 9, ..on() }, "`draft_match_min` is 9; a match has no more than 8 tokens"),
    ] {
        let message = refused(settings);
        assert!(message.starts_with(name), "{message}");
    }
    let off = Settings { draft_tokens_max: 0, ..Settings::default() };
    assert!(Engine::start_with_text(FakeExecutor::new(shape(9, 9)), Arc::new(Bytes), off).is_ok());
}
