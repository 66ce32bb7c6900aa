//! Text of a stream: whole characters, stop strings, stop tokens, usage.

use crate::engine::{Outcome, collect, request};
use crate::fake::{Bytes, Script};
use orrery_engine::{Engine, Event, FinishReason, Request, Usage};
use std::sync::Arc;

/// Plays `text` as the continuation of a prompt of one token.
async fn play(text: &[u8], edit: impl FnOnce(&mut Request)) -> Outcome {
    let script = Script(text.iter().map(|byte| u32::from(*byte)).collect());
    let (engine, handle) = Engine::start_with_text(script, Arc::new(Bytes), Default::default()).expect("an engine");
    let mut request = request(&[1], text.len());
    edit(&mut request);
    let outcome = collect(handle.submit(request).expect("accepted")).await;
    engine.stop();
    outcome
}

fn check(outcome: &Outcome, text: &str, reason: FinishReason, completion_tokens: usize) {
    assert_eq!(outcome.texts[&0], text);
    assert_eq!(outcome.reasons[&0], reason);
    let usage = Usage { prompt_tokens: 1, completion_tokens, cached_tokens: 0 };
    assert_eq!(outcome.end, Some(Ok(usage)));
}

#[tokio::test]
async fn characters_arrive_whole() {
    check(&play("aé日!".as_bytes(), |_| {}).await, "aé日!", FinishReason::Length, 7);
    // The end cuts a character: its bytes become U+FFFD.
    check(&play("aé日!".as_bytes(), |request| request.max_tokens = 5).await, "aé\u{fffd}", FinishReason::Length, 5);
}

#[tokio::test]
async fn a_stop_string_ends_the_choice_where_it_is_completed() {
    let stop = |request: &mut Request| request.stop = vec!["END".into(), "ND!".into()];
    check(&play(b"say END! more", stop).await, "say ", FinishReason::Stop, 7);
    check(&play(b"say EN no", stop).await, "say EN no", FinishReason::Length, 9);
    // Held back at the end: it comes with the finish.
    check(&play(b"say EN", stop).await, "say EN", FinishReason::Length, 6);
}

#[tokio::test]
async fn a_stop_token_counts_but_has_no_text() {
    let outcome = play(b"ab\0cd", |_| {}).await;
    check(&outcome, "ab", FinishReason::Stop, 3);
    assert_eq!(outcome.tokens[&0], [97, 98]);
    let ignored = play(b"ab\0cd", |request| request.ignore_eos = true).await;
    check(&ignored, "abcd", FinishReason::Length, 5);
    assert_eq!(ignored.tokens[&0], [97, 98, 0, 99, 100]);
    let own = play(b"ab\0cd", |request| {
        request.ignore_eos = true;
        request.stop_tokens = vec![u32::from(b'c')];
    });
    check(&own.await, "ab", FinishReason::Stop, 4);
}

#[tokio::test]
async fn choices_stop_on_their_own() {
    let outcome = play(b"xxENDyy", |request| {
        request.stop = vec!["END".into()];
        request.n = 3;
    });
    let outcome = outcome.await;
    assert_eq!(outcome.texts.values().collect::<Vec<_>>(), ["xx", "xx", "xx"]);
    assert_eq!(outcome.end, Some(Ok(Usage { prompt_tokens: 1, completion_tokens: 15, cached_tokens: 0 })));
}

#[tokio::test]
async fn a_choice_that_is_dropped_says_no_more_and_the_others_go_on() {
    let script = Script(b"abcdef".iter().map(|byte| u32::from(*byte)).collect());
    let (engine, handle) = Engine::start_with_text(script, Arc::new(Bytes), Default::default()).expect("an engine");
    let mut request = request(&[1], 6);
    request.n = 2;
    let mut generation = handle.submit(request).expect("accepted");
    let mut seen = [String::new(), String::new()];
    let mut dropped = false;
    let end = loop {
        match generation.next().await.expect("an end") {
            Event::Token { choice, text, .. } | Event::Finished { choice, text, .. } => {
                assert!(!(dropped && choice == 0), "the dropped choice is silent");
                seen[choice] += &text;
                if choice == 0 && seen[0].len() >= 2 {
                    generation.drop_choice(0);
                    dropped = true;
                }
            }
            end => break end,
        }
    };
    assert!(matches!(end, Event::Done { .. }), "{end:?}");
    assert_eq!(seen, ["ab", "abcdef"]);
    assert!(generation.next().await.is_none());
    engine.stop();
}

#[tokio::test]
async fn no_tokens_asked_gives_the_prompt_alone() {
    let outcome = play(b"abc", |request| {
        request.max_tokens = 0;
        request.prompt_logprobs = Some(1);
    });
    let outcome = outcome.await;
    check(&outcome, "", FinishReason::Length, 0);
    assert_eq!(outcome.prompt, Some(vec![None]));
}
