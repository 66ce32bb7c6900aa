//! A request inside the engine thread: what its sampling needs to remember, and where its events go.

use crate::request::{Request, TokenLogprobs};
use crate::sample::{History, Sampler, draw};
use crate::shared::{Raw, Submission};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

pub struct Live {
    pub request: Request,
    /// It holds one of the queue's places.
    pub queued: bool,
    seed: u64,
    events: UnboundedSender<Raw>,
    choices: Vec<Choice>,
    /// Log-probabilities of the prompt as far as they are known; `None` when not wanted, or sent.
    prompt: Option<Vec<Option<TokenLogprobs>>>,
}

#[derive(Clone)]
struct Choice {
    generated: usize,
    /// Kept only where penalties need it.
    history: History,
    ended: bool,
}

impl Live {
    pub fn new(submission: Submission) -> Self {
        let Submission { request, seed, events, .. } = submission;
        let penalised = History::is_needed(&request.sampling);
        let seen: BTreeSet<u32> = if penalised { request.prompt.iter().copied().collect() } else { BTreeSet::new() };
        let choice = Choice { generated: 0, history: History::new(Arc::new(seen)), ended: false };
        Self {
            queued: true,
            seed,
            events,
            choices: vec![choice; request.n],
            // The first token has no log-probability.
            prompt: request.prompt_logprobs.is_some().then(|| vec![None]),
            request,
        }
    }

    /// A reader that is gone has sent a cancel, so a failed send needs no answer.
    pub fn send(&self, event: Raw) {
        let _ = self.events.send(event);
    }

    pub fn is_stop(&self, token: u32) -> bool {
        self.request.stop_tokens.contains(&token)
    }

    /// Marks a choice as over; `true` when no choice is left.
    pub fn end(&mut self, choice: usize) -> bool {
        if let Some(choice) = self.choices.get_mut(choice) {
            choice.ended = true;
        }
        self.choices.iter().all(|choice| choice.ended)
    }

    /// The next token of a choice.
    pub fn sample(&mut self, choice: usize, logits: &[f32], sampler: &mut Sampler) -> (u32, Option<TokenLogprobs>) {
        let state = &mut self.choices[choice];
        let random = draw(self.seed, choice, state.generated);
        let token = sampler.sample(logits, &self.request.sampling, &state.history, random);
        state.generated += 1;
        if History::is_needed(&self.request.sampling) {
            state.history.push(token);
        }
        let logprobs = self.request.logprobs.map(|top| sampler.logprobs(logits, token, top));
        (token, logprobs)
    }

    /// Takes the log-probability of the prompt's token after `position`.
    pub fn read_prompt_row(&mut self, position: usize, logits: &[f32], sampler: &mut Sampler) {
        let (Some(known), Some(top)) = (&mut self.prompt, self.request.prompt_logprobs) else { return };
        debug_assert_eq!(known.len(), position + 1, "rows of the prompt come once and in order");
        if let Some(token) = self.request.prompt.get(position + 1) {
            known.push(Some(sampler.logprobs(logits, *token, top)));
        }
    }

    pub fn send_prompt_if_complete(&mut self) {
        if self.prompt.as_ref().is_some_and(|known| known.len() == self.request.prompt.len())
            && let Some(known) = self.prompt.take()
        {
            self.send(Raw::Prompt(known));
        }
    }
}
