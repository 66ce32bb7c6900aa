//! The events of one request, with their text: detokenisation, stop strings, usage, exactly one terminal event.

use crate::core::sequence::SequenceId;
use crate::request::{Error, Event, FinishReason, Request, Timings, TokenLogprobs, Usage};
use crate::shared::{Command, Raw, Shared, fault};
use crate::stop::StopMatcher;
use crate::text::{Detokenize, Text};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// The events of one request. Dropping it cancels the request; its blocks are free within one step.
pub struct Generation {
    id: u64,
    shared: Arc<Shared>,
    raw: UnboundedReceiver<Raw>,
    ready: VecDeque<Event>,
    choices: Vec<Choice>,
    usage: Usage,
    clock: Clock,
    /// The terminal event is in `ready` or was read.
    over: bool,
}

struct Choice {
    text: Box<dyn Detokenize>,
    stop: StopMatcher,
    over: bool,
}

/// Cancels one request. What it has produced can still be read; then its generation fails.
#[derive(Clone)]
pub struct Canceller {
    id: u64,
    shared: Arc<Shared>,
}

impl Canceller {
    /// Its blocks are free within one step. One that has ended stays as it is.
    pub fn cancel(&self) {
        // An engine that is gone has nothing to cancel.
        let _ = self.shared.commands.send(Command::Cancel(self.id));
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canceller({})", self.id)
    }
}

/// When what happened to a request, in this order. What has not happened stands at what came before it.
#[derive(Debug, Clone, Copy)]
struct Clock {
    submitted: Instant,
    started: Instant,
    first_token: Option<Instant>,
    last: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { submitted: now, started: now, first_token: None, last: now }
    }

    fn timings(&self) -> Timings {
        let first_token = self.first_token.unwrap_or(self.last);
        Timings {
            queue: self.started.duration_since(self.submitted),
            prefill: first_token.duration_since(self.started),
            decode: self.last.duration_since(first_token),
        }
    }
}

impl Generation {
    pub(crate) fn new(
        id: u64,
        shared: Arc<Shared>,
        raw: UnboundedReceiver<Raw>,
        request: &Request,
        text: &dyn Text,
    ) -> Self {
        let choice = |_| Choice { text: text.detokenizer(), stop: StopMatcher::new(&request.stop), over: false };
        Self {
            id,
            shared,
            raw,
            ready: VecDeque::new(),
            choices: (0..request.n).map(choice).collect(),
            usage: Usage { prompt_tokens: request.prompt.len(), ..Usage::default() },
            clock: Clock::start(),
            over: false,
        }
    }

    /// The next event, detokenised; `None` after the terminal one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            match self.raw.recv().await {
                Some(raw) => self.accept(raw),
                // The engine thread is gone, or was never told.
                None => self.fail(self.shared.closed().unwrap_or_else(fault)),
            }
        }
    }

    /// Cancels the request from elsewhere, at any time.
    pub fn canceller(&self) -> Canceller {
        Canceller { id: self.id, shared: self.shared.clone() }
    }

    /// What has been produced so far, as far as it was read.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Where the time went so far.
    pub fn timings(&self) -> Timings {
        self.clock.timings()
    }

    /// Reads all that has been produced already, without waiting for more.
    pub fn take_in(&mut self) {
        while let Ok(raw) = self.raw.try_recv() {
            self.accept(raw);
        }
    }

    /// Ends a choice: no further event of it comes. The terminal event still comes after the last choice.
    pub fn drop_choice(&mut self, index: usize) {
        let Some(choice) = self.choices.get_mut(index) else { return };
        let was_over = std::mem::replace(&mut choice.over, true);
        self.ready.retain(|event| match event {
            Event::Token { choice, .. } | Event::Finished { choice, .. } => *choice != index,
            Event::Prompt { .. } | Event::Done { .. } | Event::Failed(_) => true,
        });
        if !was_over {
            self.tell(Command::CancelChoice(SequenceId { request: self.id, choice: index }));
            self.finish_all();
        }
    }

    fn accept(&mut self, raw: Raw) {
        if self.over {
            return;
        }
        match raw {
            Raw::Started { cached_tokens, at } => {
                self.usage.cached_tokens = cached_tokens;
                (self.clock.started, self.clock.last) = (at, at);
            }
            Raw::Prompt(logprobs) => self.ready.push_back(Event::Prompt { logprobs }),
            Raw::Token { choice, token, logprobs, end, at } => {
                self.clock.first_token.get_or_insert(at);
                self.clock.last = at;
                self.accept_token(choice, token, logprobs, end);
            }
            Raw::Ended { choice, at } => {
                self.clock.last = at;
                self.finish(choice, FinishReason::Length);
            }
            Raw::Failed(error) => self.fail(error),
        }
    }

    fn accept_token(&mut self, index: usize, token: u32, logprobs: Option<TokenLogprobs>, end: Option<FinishReason>) {
        let Some(choice) = self.choices.get_mut(index).filter(|choice| !choice.over) else { return };
        self.usage.completion_tokens += 1;
        if end == Some(FinishReason::Stop) {
            return self.finish(index, FinishReason::Stop);
        }
        let pushed = choice.stop.push(&choice.text.push(token));
        self.ready.push_back(Event::Token { choice: index, token, text: pushed.text, logprobs });
        if pushed.stopped {
            if end.is_none() {
                self.tell(Command::CancelChoice(SequenceId { request: self.id, choice: index }));
            }
            self.choices[index].over = true;
            self.ready.push_back(Event::Finished { choice: index, text: String::new(), reason: FinishReason::Stop });
            self.finish_all();
        } else if let Some(reason) = end {
            self.finish(index, reason);
        }
    }

    /// Ends a choice with the text that was kept back.
    fn finish(&mut self, index: usize, reason: FinishReason) {
        let Some(choice) = self.choices.get_mut(index).filter(|choice| !choice.over) else { return };
        // An unfinished character may complete a stop string (as U+FFFD).
        let last = choice.stop.push(&choice.text.finish());
        let (text, reason) = match last.stopped {
            true => (last.text, FinishReason::Stop),
            false => (last.text + &choice.stop.finish(), reason),
        };
        choice.over = true;
        self.ready.push_back(Event::Finished { choice: index, text, reason });
        self.finish_all();
    }

    fn finish_all(&mut self) {
        if self.choices.iter().all(|choice| choice.over) {
            self.over = true;
            self.ready.push_back(Event::Done { usage: self.usage, timings: self.clock.timings() });
        }
    }

    fn fail(&mut self, error: Error) {
        self.over = true;
        self.ready.push_back(Event::Failed(error));
    }

    fn tell(&self, command: Command) {
        // An engine that is gone has nothing to cancel.
        let _ = self.shared.commands.send(command);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.over {
            self.tell(Command::Cancel(self.id));
        }
    }
}
