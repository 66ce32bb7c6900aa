//! Events for the tests of the two encoders.

use crate::sse::{Encode, Frames};
use orrery_platform::chat::{Logprob, PromptToken, TokenLogprobs};
use orrery_platform::{Event, FinishReason, Timings, Usage};

/// Runs events through an encoder, up to and with its last chunk.
pub fn encode(encoder: &mut impl Encode, events: Vec<Event>) -> String {
    let mut out = Frames::default();
    for event in events {
        if let Event::Done { usage, .. } = event {
            encoder.finish(usage, &mut out);
        } else {
            encoder.event(0, event, &mut out).expect("an event");
        }
    }
    String::from_utf8(out.take().to_vec()).expect("UTF-8")
}

fn token(choice: usize, text: &str) -> Event {
    Event::Token { choice, token: 7, text: text.to_owned(), logprobs: None }
}

fn finished(choice: usize, text: &str, reason: FinishReason) -> Event {
    Event::Finished { choice, text: text.to_owned(), reason }
}

fn done(completion_tokens: usize) -> Event {
    let usage = Usage { prompt_tokens: 5, completion_tokens, cached_tokens: 2 };
    Event::Done { usage, timings: Timings::default() }
}

/// Three tokens, the second held back and the last flushed at the end.
pub fn one_choice() -> Vec<Event> {
    vec![token(0, "Hel"), token(0, ""), token(0, "lo "), finished(0, "world", FinishReason::Length), done(4)]
}

pub fn two_choices() -> Vec<Event> {
    vec![
        token(1, "b"),
        token(0, "a"),
        finished(1, "", FinishReason::Stop),
        token(0, "A"),
        finished(0, "", FinishReason::Length),
        done(3),
    ]
}

fn logprob(text: &str, logprob: f32) -> Logprob {
    Logprob { token: 7, text: text.to_owned(), bytes: text.as_bytes().to_vec(), logprob }
}

fn scored(text: &str, value: f32) -> TokenLogprobs {
    TokenLogprobs { chosen: logprob(text, value), top: vec![logprob("the", -0.25), logprob(text, value)] }
}

pub fn with_logprobs() -> Vec<Event> {
    let token = Event::Token { choice: 0, token: 7, text: "é".to_owned(), logprobs: Some(scored("é", -1.5)) };
    vec![token, finished(0, "", FinishReason::Stop), done(1)]
}

/// The prompt "Hé" in two tokens, then one token.
pub fn echoed() -> Vec<Event> {
    let first = PromptToken { token: 1, text: "H".to_owned(), logprobs: None };
    let second = PromptToken { token: 2, text: "é".to_owned(), logprobs: Some(scored("é", -2.0)) };
    let answer = Event::Token { choice: 0, token: 3, text: "!".to_owned(), logprobs: Some(scored("!", -0.5)) };
    vec![Event::Prompt { tokens: vec![first, second] }, answer, finished(0, "", FinishReason::Stop), done(1)]
}
