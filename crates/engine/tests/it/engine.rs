//! The engine thread behind its handle: results under load, cancels, failures, shutdown.

use crate::fake::{Bytes, EOS, FAILING, FakeExecutor, PANICKING, Random, reference, shape};
use orrery_engine::sample::{History, Sampler, draw};
use orrery_engine::{
    Engine, Error, Event, FinishReason, Flow, Generation, Handle, Request, Sampling, Settings, Stats, Timings,
    TokenLogprobs, Usage,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn request(prompt: &[u32], max_tokens: usize) -> Request {
    Request {
        prompt: prompt.to_vec(),
        max_tokens,
        n: 1,
        sampling: greedy(),
        stop: Vec::new(),
        stop_tokens: Vec::new(),
        ignore_eos: false,
        logprobs: None,
        prompt_logprobs: None,
        cache_salt: Vec::new(),
        flow: Flow::default(),
        priority: 0,
    }
}

/// Never takes a token that makes the fake fail.
fn greedy() -> Sampling {
    let logit_bias = vec![(FAILING, -100.0), (PANICKING, -100.0)];
    Sampling { temperature: 0.0, logit_bias, ..Sampling::default() }
}

pub fn start(executor: FakeExecutor, settings: Settings) -> (Engine, Handle) {
    Engine::start_with_text(executor, Arc::new(Bytes), settings).expect("an engine")
}

/// What a request gave, by choice.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub prompt: Option<Vec<Option<TokenLogprobs>>>,
    pub tokens: BTreeMap<usize, Vec<u32>>,
    pub logprobs: BTreeMap<usize, Vec<TokenLogprobs>>,
    pub texts: BTreeMap<usize, String>,
    pub reasons: BTreeMap<usize, FinishReason>,
    pub end: Option<Result<Usage, Error>>,
}

/// Reads all events and checks their order.
pub async fn collect(mut generation: Generation) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(event) = generation.next().await {
        assert!(outcome.end.is_none(), "nothing follows the terminal event");
        match event {
            Event::Prompt { logprobs } => {
                assert!(outcome.tokens.is_empty() && outcome.prompt.is_none());
                outcome.prompt = Some(logprobs);
            }
            Event::Token { choice, token, text, logprobs } => {
                assert!(!outcome.reasons.contains_key(&choice), "no token after the choice's end");
                outcome.tokens.entry(choice).or_default().push(token);
                outcome.texts.entry(choice).or_default().push_str(&text);
                outcome.logprobs.entry(choice).or_default().extend(logprobs);
            }
            Event::Finished { choice, text, reason } => {
                outcome.texts.entry(choice).or_default().push_str(&text);
                assert!(outcome.reasons.insert(choice, reason).is_none(), "a choice ends once");
            }
            Event::Done { usage, .. } => outcome.end = Some(Ok(usage)),
            Event::Failed(error) => outcome.end = Some(Err(error)),
        }
    }
    assert!(generation.next().await.is_none(), "the end stays the end");
    outcome
}

/// The tokens of one choice by the reference executor and the public sampler.
fn alone(request: &Request, choice: usize) -> (Vec<u32>, FinishReason) {
    let mut tokens = request.prompt.clone();
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    let mut history = History::new(Arc::new(request.prompt.iter().copied().collect()));
    for position in 0..request.max_tokens {
        let bits = draw(request.sampling.seed.unwrap_or(0), choice, position);
        let token = sampler.sample(&reference(&tokens), &request.sampling, &history, bits);
        history.push(token);
        if request.stop_tokens.contains(&token) || (token == EOS && !request.ignore_eos) {
            return (tokens.split_off(request.prompt.len()), FinishReason::Stop);
        }
        tokens.push(token);
    }
    (tokens.split_off(request.prompt.len()), FinishReason::Length)
}

fn random_request(random: &mut Random) -> Request {
    let shared = random.below(3) as u32;
    let length = 1 + random.below(30);
    let own = random.below(200) as u32;
    let token = |i: usize| 1 + if i < 12 { shared * 60 + i as u32 } else { (own + i as u32 * 7) % 200 };
    Request {
        prompt: (0..length).map(token).collect(),
        max_tokens: random.below(16),
        n: if random.one_in(4) { 1 + random.below(3) } else { 1 },
        sampling: Sampling {
            temperature: [0.0, 0.7, 1.0][random.below(3)],
            top_p: [1.0, 0.8][random.below(2)],
            top_k: [0, 20][random.below(2)],
            repetition_penalty: [1.0, 1.2][random.below(2)],
            frequency_penalty: [0.0, 0.4][random.below(2)],
            logit_bias: vec![(FAILING, -100.0), (PANICKING, -100.0), (EOS, 1.0)],
            seed: Some(random.below(1000) as u64),
            ..Sampling::default()
        },
        stop_tokens: vec![33],
        ignore_eos: random.one_in(3),
        logprobs: random.one_in(2).then_some(3),
        prompt_logprobs: random.one_in(5).then_some(2),
        cache_salt: vec![0; random.below(2)],
        priority: random.below(2) as i32,
        ..request(&[], 0)
    }
}

#[tokio::test]
async fn a_busy_engine_gives_each_request_what_it_gets_alone() {
    let settings = Settings { step_tokens_max: 24, step_logits_max: 12, sequences_max: 10, ..Settings::default() };
    let (engine, handle) = start(FakeExecutor::new(shape(24, 64)), settings);
    let mut random = Random(99);
    let mut running = Vec::new();
    for _ in 0..400 {
        let request = random_request(&mut random);
        let generation = handle.submit(request.clone()).expect("accepted");
        if random.one_in(6) {
            drop(generation);
        } else {
            running.push((request, tokio::spawn(collect(generation))));
        }
    }
    let mut sampler = Sampler::new(orrery_model::LogitMath::portable());
    for (request, task) in running {
        let outcome = task.await.expect("no panic");
        let mut completion_tokens = 0;
        for choice in 0..request.n {
            let (tokens, reason) = alone(&request, choice);
            assert_eq!(outcome.tokens.get(&choice).cloned().unwrap_or_default(), tokens, "{request:?}");
            assert_eq!(outcome.reasons.get(&choice), Some(&reason));
            completion_tokens += tokens.len() + usize::from(reason == FinishReason::Stop);
            let logprobs = outcome.logprobs.get(&choice).map_or(0, Vec::len);
            assert_eq!(logprobs, if request.logprobs.is_some() { tokens.len() } else { 0 });
        }
        if let Some(top) = request.prompt_logprobs {
            let expected: Vec<_> = (0..request.prompt.len())
                .map(|i| (i > 0).then(|| sampler.logprobs(&reference(&request.prompt[..i]), request.prompt[i], top)))
                .collect();
            assert_eq!(outcome.prompt, Some(expected));
        }
        let usage = outcome.end.expect("an end").expect("no failure");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (request.prompt.len(), completion_tokens));
        assert!(usage.cached_tokens < request.prompt.len());
    }
    let stats = settled(&handle).await;
    assert_eq!((stats.running, stats.waiting, stats.blocks_used), (0, 0, 0));
    assert!(stats.preemptions > 0 && stats.prefix_hits_tokens > 0, "{stats:?}");
    engine.stop();
}

/// Statistics after everything sent before was obeyed: commands are taken in order.
async fn settled(handle: &Handle) -> Stats {
    collect(handle.submit(request(&[1], 0)).expect("accepted")).await;
    handle.stats()
}

#[tokio::test]
async fn dropping_a_generation_frees_its_blocks_within_one_step() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { prefix_cache: false, ..Settings::default() });
    let mut generation = handle.submit(Request { ignore_eos: true, ..request(&[1, 2, 3], 200) }).expect("accepted");
    permits.send(()).expect("engine");
    assert!(matches!(generation.next().await, Some(Event::Token { .. })));
    assert_eq!((handle.stats().running, handle.stats().blocks_used), (1, 1));
    drop(generation);
    // The step under way ends; the next one is the other request's alone.
    let other = handle.submit(request(&[9], 0)).expect("accepted");
    permits.send(()).expect("engine");
    permits.send(()).expect("engine");
    collect(other).await;
    assert_eq!((handle.stats().running, handle.stats().blocks_used, handle.stats().waiting), (0, 0, 0));
    assert!(handle.stats().steps <= 3, "its second step may have begun, no third");
    engine.stop();
}

#[tokio::test]
async fn a_stop_string_frees_its_choice_within_one_step() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { prefix_cache: false, ..Settings::default() });
    // A prompt after which comes a letter.
    let first = |token: &u32| alone(&request(&[*token], 1), 0).0.first().copied().unwrap_or(EOS);
    let prompt = (1..200).find(|token| (97..123).contains(&first(token))).expect("one of many");
    let stop = vec![char::from(first(&prompt) as u8).to_string()];
    let stopped = handle.submit(Request { stop, ignore_eos: true, ..request(&[prompt], 200) }).expect("accepted");
    permits.send(()).expect("engine");
    let outcome = collect(stopped).await;
    assert_eq!((outcome.reasons[&0], outcome.texts[&0].as_str()), (FinishReason::Stop, ""));
    // The step under way ends; the next one is the other request's alone.
    let other = handle.submit(request(&[9], 0)).expect("accepted");
    permits.send(()).expect("engine");
    permits.send(()).expect("engine");
    collect(other).await;
    let stats = handle.stats();
    // An engine that waits for a permit could not be stopped.
    drop(permits);
    assert_eq!((stats.running, stats.blocks_used), (0, 0));
    assert!(stats.steps <= 3, "its second step may have begun, no third");
    engine.stop();
}

#[tokio::test]
async fn ten_thousand_disconnects_leave_nothing_behind() {
    let (engine, handle) =
        start(FakeExecutor::new(shape(64, 256)), Settings { queue_max: 20_000, ..Settings::default() });
    for i in 0..10_000u32 {
        let mut generation = handle.submit(request(&[i % 200 + 1, 2, 3, 4, 5], 50)).expect("accepted");
        if i % 100 == 0 {
            generation.next().await;
        }
    }
    let stats = settled(&handle).await;
    assert_eq!((stats.running, stats.waiting, stats.blocks_used), (0, 0, 0));
    engine.stop();
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { queue_max: 2, sequences_max: 1, ..Settings::default() });
    let first = handle.submit(request(&[1], 2)).expect("accepted");
    // The gate holds the first one's step; wait until it has left the queue.
    while handle.stats().waiting > 0 {
        tokio::task::yield_now().await;
    }
    let second = handle.submit(request(&[2], 1)).expect("accepted");
    let third = handle.submit(request(&[3], 1)).expect("accepted");
    let refused = handle.submit(request(&[4], 1)).err();
    assert_eq!(refused, Some(Error::Overloaded { limit: 2, retry_after_s: 1 }));
    drop(second);
    drop(permits);
    for generation in [first, third] {
        assert!(matches!(collect(generation).await.end, Some(Ok(_))));
    }
    assert!(handle.submit(request(&[4], 1)).is_ok());
    engine.stop();
}

/// One flow fills its part of the queue and no more; what leaves the queue gives its place back.
#[tokio::test]
async fn a_flow_cannot_fill_the_queue() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { queue_max: 4, sequences_max: 1, ..Settings::default() });
    let of = |id, queue_share_percent| {
        let flow = Flow { id, queue_share_percent, ..Flow::default() };
        handle.submit(Request { flow, ..request(&[id as u32], 3) })
    };
    let full = |limit| Some(Error::Overloaded { limit, retry_after_s: 1 });
    let mut accepted = vec![of(1, 50).expect("accepted")];
    // The first has the place when it has left the queue.
    permits.send(()).expect("engine");
    while handle.stats().waiting > 0 {
        std::thread::yield_now();
    }
    accepted.extend((0..2).map(|_| of(1, 50).expect("accepted")));
    assert_eq!(of(1, 50).err(), full(2));
    accepted.push(of(2, 1).expect("one at least"));
    assert_eq!(of(2, 1).err(), full(1));
    accepted.push(of(3, 100).expect("accepted"));
    assert_eq!(of(4, 100).err(), full(4), "the whole queue is full");
    drop(permits);
    for generation in accepted {
        assert!(matches!(collect(generation).await.end, Some(Ok(_))));
    }
    assert!(of(1, 50).is_ok());
    engine.stop();
}

#[test]
fn flows_that_make_no_sense_are_refused() {
    let (_engine, handle) = start(FakeExecutor::new(shape(9, 40)), Settings::default());
    let refusal = |flow| match handle.submit(Request { flow, ..request(&[1], 1) }) {
        Err(Error::Invalid { param: "flow", message }) => message,
        other => panic!("{:?}", other.err()),
    };
    let flow = Flow::default();
    assert!(refusal(Flow { weight: 0, ..flow }).contains("weight is 0"));
    assert!(refusal(Flow { floor_blocks_percent: 101, ..flow }).contains("`floor_blocks_percent` 101"));
    assert!(refusal(Flow { queue_share_percent: 101, ..flow }).contains("`queue_share_percent` 101"));
}

#[tokio::test]
async fn timings_tell_waiting_from_prefill_and_decode() {
    const PAUSE: Duration = Duration::from_millis(40);
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { sequences_max: 1, ..Settings::default() });
    let begin = Instant::now();
    let first = handle.submit(Request { ignore_eos: true, ..request(&[1], 1) }).expect("accepted");
    let second = handle.submit(Request { ignore_eos: true, ..request(&[2], 3) }).expect("accepted");
    let third = handle.submit(request(&[3], 0)).expect("accepted");
    // The first request holds the only place for one pause; the second computes its prompt in one and two tokens in
    // two; the third has no tokens, so all its time is prefill.
    let pauses = tokio::task::spawn_blocking(move || {
        for _ in 0..5 {
            std::thread::sleep(PAUSE);
            permits.send(()).expect("engine");
        }
    });
    let (first, second, third) = (timings(first).await, timings(second).await, timings(third).await);
    let whole = begin.elapsed();
    pauses.await.expect("no panic");
    // A step begins a little after the permit for the one before it.
    let least = |pauses: u32| pauses * PAUSE - PAUSE / 4;
    assert!(first.prefill >= least(1) && first.decode.is_zero(), "{first:?}");
    assert!(second.queue >= least(1) && second.prefill >= least(1) && second.decode >= least(2), "{second:?}");
    assert!(third.queue >= least(4) && third.prefill >= least(1) && third.decode.is_zero(), "{third:?}");
    for Timings { queue, prefill, decode } in [first, second, third] {
        assert!(queue + prefill + decode <= whole);
    }
    engine.stop();
}

async fn timings(mut generation: Generation) -> Timings {
    loop {
        match generation.next().await.expect("an end") {
            Event::Done { timings, .. } => return timings,
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_failed_step_fails_its_requests_and_no_others() {
    let (engine, handle) = start(FakeExecutor::new(shape(64, 256)), Settings::default());
    let failed = collect(handle.submit(request(&[1, FAILING], 5)).expect("accepted")).await;
    assert!(matches!(failed.end, Some(Err(Error::Internal(_)))), "{failed:?}");
    let healthy = collect(handle.submit(request(&[1, 2], 5)).expect("accepted")).await;
    assert!(matches!(healthy.end, Some(Ok(_))));
    engine.stop();
}

#[tokio::test]
async fn a_panic_fails_everything_and_the_process_lives() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { sequences_max: 1, ..Settings::default() });
    let bad = handle.submit(request(&[PANICKING], 5)).expect("accepted");
    let queued = handle.submit(request(&[1], 5)).expect("accepted");
    drop(permits);
    for generation in [bad, queued] {
        assert!(matches!(collect(generation).await.end, Some(Err(Error::Internal(_)))));
    }
    assert!(matches!(handle.submit(request(&[1], 5)).err(), Some(Error::Internal(_))));
    assert_eq!((handle.stats().running, handle.stats().waiting, handle.stats().blocks_used), (0, 0, 0));
    engine.stop();
}

#[tokio::test]
async fn stopping_ends_what_is_left() {
    let (executor, permits) = FakeExecutor::gated(shape(64, 256));
    let (engine, handle) = start(executor, Settings { sequences_max: 1, ..Settings::default() });
    let running = handle.submit(Request { ignore_eos: true, ..request(&[1], 200) }).expect("accepted");
    let queued = handle.submit(request(&[2], 5)).expect("accepted");
    permits.send(()).expect("engine");
    let stopping = std::thread::spawn(move || engine.stop());
    while handle.closed().is_none() {
        tokio::task::yield_now().await;
    }
    drop(permits);
    for generation in [running, queued] {
        assert_eq!(collect(generation).await.end, Some(Err(Error::ShuttingDown)));
    }
    stopping.join().expect("no panic");
    assert_eq!(handle.submit(request(&[1], 5)).err(), Some(Error::ShuttingDown));
}

#[tokio::test]
async fn seeds_repeat_and_fresh_seeds_differ() {
    let (engine, handle) = start(FakeExecutor::new(shape(64, 256)), Settings::default());
    let run = async |seed: Option<u64>, n: usize| {
        let sampling = Sampling { seed, temperature: 1.5, ..greedy() };
        let request = Request { sampling, n, ignore_eos: true, ..request(&[1, 2, 3], 20) };
        collect(handle.submit(request).expect("accepted")).await.tokens
    };
    let both = run(Some(5), 2).await;
    assert_eq!(both, run(Some(5), 2).await);
    assert_eq!(both[&1], run(Some(6), 1).await[&0], "choice i uses seed + i");
    assert_ne!(both[&0], both[&1]);
    assert_ne!(run(None, 1).await, run(None, 1).await);
    engine.stop();
}
