//! Same bits, always, on real (tiny) models: alone = in a batch of 64 = chunked = cached = preempted = on 1 or 2 threads = on
//! every instruction set; tokens, log-probabilities and texts.

use crate::engine::{Outcome, collect, request};
use crate::fake::Random;
use orrery_engine::{Engine, Handle, Load, LoadError, ModelExecutor, Request, Sampling, Settings};
use orrery_kernels::isa::Isa;
use orrery_model::{LoadSettings, Model};
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models").join(name)
}

/// How an engine differs from the plain one.
#[derive(Clone)]
pub struct Variant {
    pub isa: Option<&'static str>,
    pub threads: usize,
    pub blocks: usize,
    pub settings: Settings,
}

impl Variant {
    /// Whole prompts, no cache, one thread, ample memory.
    pub fn plain() -> Self {
        let settings = Settings { prefix_cache: false, step_target_ms: 0, ..Settings::default() };
        Self { isa: None, threads: 1, blocks: 600, settings }
    }

    pub fn start(&self, name: &str) -> (Engine, Handle) {
        let compute = orrery_model::compute(self.isa, Some(self.threads)).expect("compute");
        let model = Model::load(&fixture(name), LoadSettings::default(), compute, &mut |_| {}).expect("a model");
        let (tokenizer, template) = (model.tokenizer().clone(), model.template().clone());
        let executor = ModelExecutor::new(model, self.blocks).expect("memory");
        Engine::start(executor, tokenizer, template, self.settings.clone()).expect("an engine")
    }
}

/// Requests that share prefixes; greedy and sampled ones, with and without log-probabilities of the prompt.
fn requests() -> Vec<Request> {
    let mut random = Random(2024);
    let prefix: Vec<u32> = (0..100).map(|_| random.below(256) as u32).collect();
    let sampled = Sampling { top_p: 0.9, seed: Some(7), frequency_penalty: 0.2, ..Sampling::default() };
    (0..8)
        .map(|i| {
            let shared = [0, 40, 70, 100][i % 4];
            let mut prompt = prefix[..shared].to_vec();
            prompt.extend((0..1 + random.below(60)).map(|_| random.below(256) as u32));
            Request {
                sampling: if i % 2 == 0 {
                    Sampling { temperature: 0.0, ..Sampling::default() }
                } else {
                    sampled.clone()
                },
                n: if i == 5 { 3 } else { 1 },
                ignore_eos: true,
                logprobs: Some(4),
                prompt_logprobs: (i == 3).then_some(2),
                ..request(&prompt, 24)
            }
        })
        .collect()
}

/// Outcomes when all requests are submitted at once, each of them `times` times; the number of cached tokens is left out.
pub async fn together(handle: &Handle, requests: &[Request], times: usize) -> Vec<Outcome> {
    let submit = |request: &Request| tokio::spawn(collect(handle.submit(request.clone()).expect("accepted")));
    let tasks: Vec<_> = (0..times).flat_map(|_| requests.iter().map(submit)).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(without_cached(task.await.expect("no panic")));
    }
    outcomes
}

fn without_cached(mut outcome: Outcome) -> Outcome {
    if let Some(Ok(usage)) = &mut outcome.end {
        usage.cached_tokens = 0;
    }
    outcome
}

async fn alone(name: &str, requests: &[Request]) -> Vec<Outcome> {
    let (engine, handle) = Variant::plain().start(name);
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.extend(together(&handle, std::slice::from_ref(request), 1).await);
    }
    engine.stop();
    for outcome in &outcomes {
        assert!(matches!(outcome.end, Some(Ok(_))), "{:?}", outcome.end);
        assert!(outcome.tokens.values().all(|tokens| tokens.len() == 24));
    }
    outcomes
}

async fn check_same(name: &str) {
    let requests = requests();
    let expected = alone(name, &requests).await;
    let check = async |what: &str, variant: Variant, times: usize| {
        let (engine, handle) = variant.start(name);
        let outcomes = together(&handle, &requests, times).await;
        for (i, outcome) in outcomes.iter().enumerate() {
            assert!(*outcome == expected[i % requests.len()], "{name}, {what}: request {i} differs");
        }
        let stats = handle.stats();
        engine.stop();
        stats
    };
    let plain = Variant::plain();
    check("a batch of 64", plain.clone(), 8).await;
    let chunked = Settings { step_tokens_max: 7, step_logits_max: 5, ..plain.settings.clone() };
    check("chunks", Variant { settings: chunked, ..plain.clone() }, 1).await;
    let cached = Settings { prefix_cache: true, sequences_max: 3, ..plain.settings.clone() };
    let stats = check("cached", Variant { settings: cached.clone(), ..plain.clone() }, 2).await;
    assert!(stats.prefix_hits_tokens > 0, "the cache was used");
    let stats = check(
        "preempted",
        Variant { blocks: 8, settings: Settings { sequences_max: 8, ..cached }, ..plain.clone() },
        2,
    )
    .await;
    assert!(stats.preemptions > 0, "memory ran out");
    check("2 threads", Variant { threads: 2, ..plain.clone() }, 1).await;
    for isa in Isa::available() {
        check(isa.name(), Variant { isa: Some(isa.name()), ..plain.clone() }, 1).await;
    }
}

#[tokio::test]
async fn llama_gives_the_same_bits_however_it_runs() {
    check_same("llama-q4_k_m.gguf").await;
}

#[tokio::test]
async fn qwen3_gives_the_same_bits_however_it_runs() {
    check_same("qwen3-q4_0.gguf").await;
}

#[tokio::test]
async fn a_model_is_loaded_and_serves() {
    let load = Load { threads: Some(1), kv_memory_bytes: 16 << 20, ..Load::default() };
    let mut last = 0.0;
    let mut progress = |part: f32| last = part;
    let (engine, handle) =
        Engine::load(&fixture("qwen2-q8_0.gguf"), &load, Settings::default(), &mut progress).expect("an engine");
    assert_eq!(last, 1.0);
    let prompt = handle.encode("hello", true).expect("tokens");
    let outcome = collect(handle.submit(request(&prompt, 8)).expect("accepted")).await;
    assert!(matches!(outcome.end, Some(Ok(usage)) if usage.prompt_tokens == prompt.len()));
    engine.stop();
}

#[test]
fn too_little_kv_memory_is_refused_with_the_least() {
    let load = Load { threads: Some(1), kv_memory_bytes: 5000, ..Load::default() };
    let refused = Engine::load(&fixture("qwen2-q8_0.gguf"), &load, Settings::default(), &mut |_| {}).err();
    let Some(LoadError::Settings(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains("5000 bytes") && message.contains("at least"), "{message}");
    let unknown = Load { isa: Some("mmx".into()), kv_memory_bytes: 1 << 24, ..load };
    let refused = Engine::load(&fixture("qwen2-q8_0.gguf"), &unknown, Settings::default(), &mut |_| {}).err();
    assert!(refused.is_some_and(|error| error.to_string().contains("mmx")));
}
