//! What is refused at submit, with which name and which way out.

use crate::engine::{collect, request, start};
use crate::fake::{Bytes, FakeExecutor, shape};
use orrery_engine::{ChatMessage, Engine, Error, Load, LoadError, Request, Sampling, Settings};
use std::sync::Arc;

/// Blocks of 4 tokens: `check` runs with a context of 40, of which the memory holds `blocks` · 4.
fn refusal(blocks: usize, edit: impl FnOnce(&mut Request)) -> Option<(&'static str, String)> {
    let (_engine, handle) = start(FakeExecutor::new(shape(blocks, 40)), Settings::default());
    let mut request = request(&[1; 30], 10);
    edit(&mut request);
    match handle.submit(request) {
        Ok(_) => None,
        Err(Error::Invalid { param, message } | Error::TooLong { param, message }) => Some((param, message)),
        Err(other) => panic!("{other:?}"),
    }
}

fn check(blocks: usize, edit: impl FnOnce(&mut Request), param: &str, message: &str) {
    let (got_param, got_message) = refusal(blocks, edit).expect("refused");
    assert_eq!((got_param, got_message.as_str()), (param, message));
}

#[test]
fn a_request_that_fits_is_accepted() {
    assert_eq!(refusal(100, |_| {}), None);
    assert_eq!(refusal(10, |_| {}), None);
    assert_eq!(refusal(10, |request| (request.prompt, request.max_tokens) = (vec![1; 40], 0)), None);
}

#[test]
fn lengths_over_the_context_are_refused_with_what_fits() {
    check(
        100,
        |request| request.max_tokens = 11,
        "max_tokens",
        "`max_tokens` 11 with a prompt of 30 tokens is too many: this model's context is 40; ask for 10 or less with this prompt",
    );
    check(
        100,
        |request| request.prompt = vec![1; 40],
        "prompt",
        "the prompt has 40 tokens, and this model's context is 40; shorten it to 39 tokens or fewer",
    );
    check(
        100,
        |request| (request.prompt, request.max_tokens) = (vec![1; 41], 0),
        "prompt",
        "the prompt has 41 tokens, and this model's context is 40; shorten it to 40 tokens or fewer",
    );
    check(
        8,
        |request| request.max_tokens = 3,
        "max_tokens",
        "`max_tokens` 3 with a prompt of 30 tokens is too many: this server's KV memory holds 32 tokens (with more, up to \
         the model's 40); ask for 2 or less with this prompt",
    );
    check(
        100,
        |request| request.max_tokens = usize::MAX,
        "max_tokens",
        &format!(
            "`max_tokens` {} with a prompt of 30 tokens is too many: this model's context is 40; ask for 10 or less with this prompt",
            usize::MAX
        ),
    );
}

#[test]
fn bad_values_are_refused_by_name() {
    let sampling = |edit: fn(&mut Sampling)| move |request: &mut Request| edit(&mut request.sampling);
    check(9, |request| request.prompt.clear(), "prompt", "`prompt` has no tokens; give at least one");
    check(9, |request| request.prompt[3] = 256, "prompt", "`prompt` has token 256; this model's tokens are 0 to 255");
    check(99, |request| request.n = 0, "n", "`n` 0 is not between 1 and 16");
    check(99, |request| request.n = 17, "n", "`n` 17 is not between 1 and 16");
    check(99, |request| request.logprobs = Some(21), "logprobs", "`logprobs` 21 is over the limit of 20");
    check(99, |request| request.stop = vec![String::new()], "stop", "`stop` has an empty string; leave it out");
    check(99, |request| request.stop = vec!["x".into(); 5], "stop", "`stop` has 5 strings; give 4 or fewer");
    let long = |request: &mut Request| request.stop = vec!["x".repeat(1025)];
    check(99, long, "stop", "`stop` has a string of 1025 bytes; give 1024 or fewer");
    check(99, sampling(|s| s.temperature = f32::NAN), "temperature", "`temperature` NaN is not a number from 0");
    check(99, sampling(|s| s.temperature = -0.5), "temperature", "`temperature` -0.5 is not a number from 0");
    check(99, sampling(|s| s.top_p = -0.5), "top_p", "`top_p` -0.5 is not between 0 and 1");
    check(99, sampling(|s| s.min_p = 1.5), "min_p", "`min_p` 1.5 is not between 0 and 1");
    check(
        99,
        sampling(|s| s.presence_penalty = f32::INFINITY),
        "presence_penalty",
        "`presence_penalty` inf is not a finite number",
    );
    check(
        99,
        sampling(|s| s.frequency_penalty = f32::NAN),
        "frequency_penalty",
        "`frequency_penalty` NaN is not a finite number",
    );
    check(
        99,
        sampling(|s| s.repetition_penalty = 0.0),
        "repetition_penalty",
        "`repetition_penalty` 0 is not a number above 0",
    );
    check(
        99,
        sampling(|s| s.logit_bias = vec![(256, 1.0)]),
        "logit_bias",
        "`logit_bias` names token 256; this model's tokens are 0 to 255",
    );
    check(
        99,
        sampling(|s| s.logit_bias = vec![(6, f32::NAN)]),
        "logit_bias",
        "`logit_bias` of token 6 is NaN, not a finite number",
    );
}

#[tokio::test]
async fn the_longest_request_runs_in_the_smallest_memory() {
    let (engine, handle) = start(FakeExecutor::new(shape(8, 40)), Settings::default());
    assert_eq!(handle.shape().context, 32);
    let request = Request { ignore_eos: true, ..request(&[1; 2], 30) };
    assert!(
        matches!(collect(handle.submit(request).expect("accepted")).await.end, Some(Ok(usage)) if usage.completion_tokens == 30)
    );
    engine.stop();
}

#[test]
fn an_engine_without_memory_is_refused() {
    let result = Engine::start_with_text(FakeExecutor::new(shape(0, 40)), Arc::new(Bytes), Settings::default());
    assert!(matches!(result.err(), Some(LoadError::Settings(_))));
}

#[test]
fn limits_with_which_nothing_could_run_are_refused() {
    type Edit = fn(&mut Settings);
    let edits: [(&str, Edit); 5] = [
        ("queue_max", |settings| settings.queue_max = 0),
        ("sequences_max", |settings| settings.sequences_max = 0),
        ("step_tokens_max", |settings| settings.step_tokens_max = 0),
        ("step_logits_max", |settings| settings.step_logits_max = 0),
        ("choices_max", |settings| settings.choices_max = 0),
    ];
    for (name, edit) in edits {
        let mut settings = Settings::default();
        edit(&mut settings);
        let before = Load::default().check(&settings).expect_err(name).to_string();
        assert_eq!(before, format!("`{name}` is 0; no request could run: set 1 or more"));
        let executor = FakeExecutor::new(shape(9, 40));
        let started = Engine::start_with_text(executor, Arc::new(Bytes), settings);
        assert_eq!(started.err().expect(name).to_string(), before);
    }
}

#[test]
fn a_machine_that_does_not_have_it_is_told_before_there_is_a_model() {
    let check = |load: Load| load.check(&Settings::default()).map_err(|error| error.to_string());
    assert_eq!(check(Load::default()), Ok(()));
    let threads = |threads| check(Load { threads: Some(threads), ..Load::default() }).expect_err("refused");
    assert!(threads(0).starts_with("0 threads were asked for; this machine allows 1 to "));
    assert!(threads(100_000).starts_with("100000 threads were asked for"));
    let unknown = check(Load { isa: Some("sse".into()), ..Load::default() }).expect_err("refused");
    assert_eq!(unknown, "unknown instruction set `sse`; known: scalar, avx2, avx512, avx512bf16, amx");
}

#[test]
fn configured_limits_are_the_limits() {
    let settings =
        Settings { choices_max: 2, logprobs_max: 1, stop_strings_max: 1, stop_bytes_max: 3, ..Settings::default() };
    let (_engine, handle) = start(FakeExecutor::new(shape(99, 40)), settings);
    let submit = |edit: fn(&mut Request)| {
        let mut request = request(&[1; 3], 3);
        edit(&mut request);
        match handle.submit(request).err() {
            Some(Error::Invalid { param, .. }) => Some(param),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    };
    assert_eq!(submit(|request| (request.n, request.logprobs, request.stop) = (2, Some(1), vec!["abc".into()])), None);
    assert_eq!(submit(|request| request.n = 3), Some("n"));
    assert_eq!(submit(|request| request.logprobs = Some(2)), Some("logprobs"));
    assert_eq!(submit(|request| request.prompt_logprobs = Some(2)), Some("logprobs"));
    assert_eq!(submit(|request| request.stop = vec!["a".into(), "b".into()]), Some("stop"));
    assert_eq!(submit(|request| request.stop = vec!["abcd".into()]), Some("stop"));
}

#[test]
fn tokens_and_text_turn_into_each_other() {
    let (_engine, handle) = start(FakeExecutor::new(shape(9, 40)), Settings::default());
    assert_eq!(handle.encode("hé", true), Ok(vec![104, 195, 169]));
    assert_eq!(handle.decode(&[104, 195, 169]), Ok("hé".into()));
    assert!(matches!(handle.decode(&[104, 256]), Err(Error::Invalid { param: "tokens", .. })));
    assert_eq!(handle.token(195), ("<195>".into(), vec![195]));
    assert_eq!(handle.token(256), (String::new(), Vec::new()));
    let message = ChatMessage { role: "user".into(), content: "hi".into() };
    assert_eq!(handle.chat_prompt(&[message]), Ok(vec![104, 105]));
}
