//! A running generation as the platform's events: tokens with their texts, redacted where the tenant wants that.

use crate::accounts::{Standing, Tab};
use crate::chat::{Event, FinishReason, Logprob, PromptToken, Timings, TokenLogprobs, Usage, engine_error};
use crate::filter::Filter;
use crate::retained::Recorder;
use crate::{Admission, Error};
use orrery_engine::{Generation, Handle};
use orrery_store::Outcome;
use std::collections::VecDeque;

/// A running generation. Dropping it cancels the request.
pub struct Reply {
    /// Held as long as the request runs.
    _admission: Admission,
    /// `None` once it is closed.
    tab: Option<Tab>,
    /// The prompt's text as the model sees it (for `echo`).
    pub prompt_text: String,
    pub prompt_tokens: Vec<u32>,
    handle: Handle,
    generation: Generation,
    standing: Standing,
    /// `None` where nothing is kept, and once it is handed on.
    recorder: Option<Recorder>,
    /// `None` where nothing is looked for.
    filter: Option<Filter>,
    ready: VecDeque<Event>,
    /// Terminal events have been given out.
    ended: bool,
}

impl Drop for Reply {
    /// A client that goes away pays for what was produced, read or not.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.generation.take_in();
        self.count();
        self.end(Outcome::Cancelled, self.generation.timings().into());
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("prompt_tokens", &self.prompt_tokens.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn new(
        admission: Admission,
        prompt_text: String,
        prompt_tokens: Vec<u32>,
        handle: Handle,
        generation: Generation,
        filter: Option<Filter>,
        (tab, standing): (Tab, Standing),
    ) -> Self {
        Self {
            standing,
            _admission: admission,
            tab: Some(tab),
            prompt_text,
            prompt_tokens,
            handle,
            generation,
            recorder: None,
            filter,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// Writes down what is given out.
    pub(crate) fn recorded(mut self, recorder: Option<Recorder>) -> Self {
        self.recorder = recorder;
        self
    }

    /// The id under which request and answer will be found, where they are kept.
    pub fn retained_id(&self) -> Option<&str> {
        self.recorder.as_ref().map(Recorder::id)
    }

    /// The id of the request's row in the ledger, while it runs.
    pub fn request_id(&self) -> Option<&str> {
        self.tab.as_ref()?.request_id()
    }

    /// The next event; `None` after the terminal one.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = if self.standing.is_lost() { None } else { Some(self.step().await) };
        // It may have been lost while this waited.
        let Some(event) = event.filter(|_| !self.standing.is_lost()) else { return Some(self.revoke()) };
        if let Some(recorder) = &mut self.recorder {
            recorder.event(&event);
        }
        self.close(&event);
        Some(event)
    }

    async fn step(&mut self) -> Event {
        if let Some(event) = self.ready.pop_front() {
            return event;
        }
        match self.generation.next().await {
            Some(event) => {
                self.count();
                let event = self.event(event);
                self.filtered(event)
            }
            None => Event::Failed(Error::internal("the engine ended without a last event")),
        }
    }

    /// Ends a request whose key is not good any more: it is billed as if its client had gone away.
    fn revoke(&mut self) -> Event {
        self.ended = true;
        self.generation.take_in();
        self.count();
        self.end(Outcome::Cancelled, self.generation.timings().into());
        Event::Failed(Error::Unauthenticated("the key was revoked while the request ran; use another one".into()))
    }

    /// What has been produced is billed before it is given out.
    fn count(&mut self) {
        if let Some(tab) = &mut self.tab {
            tab.count(self.generation.usage().into());
        }
    }

    /// A terminal event goes out when the ledger is sure of the request.
    fn close(&mut self, event: &Event) {
        let (outcome, timings) = match event {
            Event::Done { timings, .. } => (Outcome::Completed, *timings),
            Event::Failed(_) => (Outcome::Failed, self.generation.timings().into()),
            _ => return,
        };
        self.ended = true;
        self.end(outcome, timings);
    }

    fn end(&mut self, outcome: Outcome, timings: Timings) {
        if let Some(tab) = self.tab.take() {
            tab.close(outcome, timings);
        }
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(outcome, self.generation.usage().into());
        }
    }

    /// The event with personal data masked; a choice that is refused for it ends here.
    fn filtered(&mut self, event: Event) -> Event {
        let Some(filter) = &mut self.filter else { return event };
        match event {
            Event::Token { choice, token, text, logprobs } => {
                let text = filter.push(choice, &text).unwrap_or_else(|| {
                    self.generation.drop_choice(choice);
                    let (text, reason) = (String::new(), FinishReason::ContentFilter);
                    self.ready.push_back(Event::Finished { choice, text, reason });
                    String::new()
                });
                Event::Token { choice, token, text, logprobs }
            }
            Event::Finished { choice, text, reason } => match filter.finish(choice, &text) {
                Some(text) => Event::Finished { choice, text, reason },
                None => Event::Finished { choice, text: String::new(), reason: FinishReason::ContentFilter },
            },
            other => other,
        }
    }

    fn event(&self, event: orrery_engine::Event) -> Event {
        use orrery_engine::Event as From;
        match event {
            From::Prompt { logprobs } => Event::Prompt { tokens: self.prompt(logprobs) },
            From::Token { choice, token, text, logprobs } => Event::Token {
                choice,
                token,
                text,
                logprobs: logprobs.map(|logprobs| token_logprobs(&self.handle, &logprobs)),
            },
            From::Finished { choice, text, reason } => Event::Finished { choice, text, reason: finish_reason(reason) },
            From::Done { usage, timings } => Event::Done { usage: usage.into(), timings: timings.into() },
            From::Failed(error) => Event::Failed(engine_error(error)),
        }
    }

    fn prompt(&self, logprobs: Vec<Option<orrery_engine::TokenLogprobs>>) -> Vec<PromptToken> {
        let mut logprobs = VecDeque::from(logprobs);
        let token = |token: &u32| PromptToken {
            token: *token,
            text: self.handle.token(*token).0,
            logprobs: logprobs.pop_front().flatten().map(|logprobs| token_logprobs(&self.handle, &logprobs)),
        };
        self.prompt_tokens.iter().map(token).collect()
    }
}

fn token_logprobs(handle: &Handle, logprobs: &orrery_engine::TokenLogprobs) -> TokenLogprobs {
    let one = |logprob: &orrery_engine::Logprob| {
        let (text, bytes) = handle.token(logprob.token);
        Logprob { token: logprob.token, text, bytes, logprob: logprob.logprob }
    };
    TokenLogprobs { chosen: one(&logprobs.chosen), top: logprobs.top.iter().map(one).collect() }
}

fn finish_reason(reason: orrery_engine::FinishReason) -> FinishReason {
    match reason {
        orrery_engine::FinishReason::Stop => FinishReason::Stop,
        orrery_engine::FinishReason::Length => FinishReason::Length,
    }
}

impl From<orrery_engine::Usage> for Usage {
    fn from(usage: orrery_engine::Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
        }
    }
}

impl From<orrery_engine::Timings> for Timings {
    fn from(timings: orrery_engine::Timings) -> Self {
        Self { queue: timings.queue, prefill: timings.prefill, decode: timings.decode }
    }
}
