//! Same bits, always, on real weights: SmolLM2-135M-Instruct, 32 requests at once against each of them alone.

use crate::engine::{Outcome, request};
use crate::model::{Variant, together};
use orrery_engine::{Handle, Request, Sampling, Settings};
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUESTS: usize = 16;
const TOKENS: usize = 8;
const PREFIX: usize = 32;

/// In the folder that the tests of the product share (`target/models`). Where it is not there yet, the product pulls it.
/// Never skips: without the model the test fails.
fn model_path() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let data = target.join("models");
    let path = data.join("models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !path.exists() {
        let pull = ["run", "--quiet", "--package", "orrery-cli", "--", "pull", "smollm2-135m-instruct", "--data-dir"];
        let pulled = Command::new(env!("CARGO")).args(pull).arg(&data).status();
        assert!(pulled.is_ok_and(|status| status.success()), "the model for the tests cannot be pulled");
    }
    path
}

/// Parts of a real text, of 3 to 33 tokens; every second one begins with the same 32, a block of the prefix cache.
fn requests(handle: &Handle) -> Vec<Request> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/smollm2/varied.txt");
    let text = std::fs::read_to_string(path).expect("a fixture");
    let tokens = handle.encode(&text, false).expect("tokens");
    let sampled = Sampling { top_p: 0.9, seed: Some(11), presence_penalty: 0.5, ..Sampling::default() };
    (0..REQUESTS)
        .map(|i| {
            let own = &tokens[PREFIX + 29 * i..][..3 + 2 * i];
            let prompt = if i % 2 == 0 { own.to_vec() } else { [&tokens[..PREFIX], own].concat() };
            let sampling =
                if i % 4 < 2 { Sampling { temperature: 0.0, ..Sampling::default() } } else { sampled.clone() };
            let prompt_logprobs = (i == 3).then_some(2);
            Request { sampling, ignore_eos: true, logprobs: Some(4), prompt_logprobs, ..request(&prompt, TOKENS) }
        })
        .collect()
}

#[tokio::test]
async fn real_weights_give_the_same_bits_alone_and_together() {
    let path = model_path();
    let name = path.to_str().expect("a path of text");
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let plain = Variant { threads, blocks: 200, ..Variant::plain() };

    let (engine, handle) = plain.start(name);
    let requests = requests(&handle);
    let mut expected: Vec<Outcome> = Vec::new();
    for request in &requests {
        expected.extend(together(&handle, std::slice::from_ref(request), 1).await);
    }
    for outcome in &expected {
        assert!(matches!(outcome.end, Some(Ok(_))), "{:?}", outcome.end);
        assert!(outcome.tokens[&0].len() == TOKENS && outcome.logprobs[&0].len() == TOKENS);
    }
    let same = |what: &str, outcomes: &[Outcome]| {
        for (i, outcome) in outcomes.iter().enumerate() {
            assert!(*outcome == expected[i % REQUESTS], "{what}: request {i} differs");
        }
    };
    same("at once", &together(&handle, &requests, 2).await);
    engine.stop();

    let settings =
        Settings { prefix_cache: true, step_tokens_max: 21, sequences_max: 9, step_logits_max: 9, ..plain.settings };
    let (engine, handle) = Variant { settings, ..plain }.start(name);
    same("in chunks and cached", &together(&handle, &requests, 1).await);
    assert!(handle.stats().prefix_hits_tokens >= PREFIX as u64, "the cache was used");
    engine.stop();
}
