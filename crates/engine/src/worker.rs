//! The engine thread: commands → schedule → step → sample → commit → events.
//!
//! One thread owns the executor, the scheduler and the sampler. It sleeps in the command queue when there is nothing to
//! do, so a submit wakes it at once. Start at [`Worker::run`].

use crate::core::draft::Drafts;
use crate::core::flow::Fairness;
use crate::core::scheduler::{End, Limits, Sampled, Scheduler};
use crate::core::sequence::{SequenceId, Spec};
use crate::core::{Plan, Row};
use crate::executor::Executor;
use crate::live::Live;
use crate::pace::Pace;
use crate::request::{Error, FinishReason, TokenLogprobs};
use crate::sample::Sampler;
use crate::settings::Settings;
use crate::shared::{Command, Raw, Shared, Submission, fault};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// The state of the engine thread.
pub struct Worker<E> {
    executor: E,
    scheduler: Scheduler,
    sampler: Sampler,
    pace: Pace,
    live: HashMap<u64, Live>,
    logits: Vec<f32>,
    vocabulary: usize,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
}

/// A token that was sampled in this step.
struct Chosen {
    sampled: Sampled,
    logprobs: Option<TokenLogprobs>,
}

impl<E: Executor> Worker<E> {
    pub fn new(executor: E, settings: &Settings, commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        let (shape, sampler) = (executor.shape(), Sampler::new(executor.logit_math()));
        let limits = Limits {
            blocks: shape.blocks,
            block_tokens: shape.block_tokens,
            sequences_max: settings.sequences_max,
            step_tokens_max: settings.step_tokens_max,
            step_logits_max: settings.step_logits_max,
            prefix_cache: settings.prefix_cache,
            drafts: drafts(settings),
            fairness: Fairness {
                generated_token_cost: settings.generated_token_cost,
                burst_tokens: settings.burst_tokens,
            },
        };
        Self {
            executor,
            scheduler: Scheduler::new(limits),
            sampler,
            pace: Pace::new(settings.step_target_ms),
            live: HashMap::new(),
            logits: Vec::new(),
            vocabulary: shape.vocabulary,
            commands,
            shared,
        }
    }

    /// Works until it is told to stop or a step panics. Every request gets its terminal event.
    pub fn run(mut self) {
        while self.receive() {
            // What a panic leaves behind is only taken apart after it, never used for another step.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.step())) {
                tracing::error!(cause = panic_message(panic.as_ref()), "a step panicked; this engine stops");
                self.shared.set_failed();
                self.fail_all(&fault());
                return;
            }
        }
        self.shared.set_stopping();
        self.fail_all(&Error::ShuttingDown);
    }

    /// Takes in all commands; waits for one when there is no work. `false`: stop.
    fn receive(&mut self) -> bool {
        if self.scheduler.is_idle() {
            self.publish();
            match self.commands.recv() {
                Ok(command) => {
                    if !self.obey(command) {
                        return false;
                    }
                }
                Err(mpsc::RecvError) => return false,
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            if !self.obey(command) {
                return false;
            }
        }
        true
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Submit(submission) => self.submit(*submission),
            Command::Cancel(request) => {
                self.scheduler.cancel(request);
                self.remove(request);
            }
            Command::CancelChoice(id) => {
                self.scheduler.cancel_choice(id);
                if self.live.get_mut(&id.request).is_some_and(|live| live.end(id.choice)) {
                    self.remove(id.request);
                }
            }
            Command::Stop => return false,
        }
        true
    }

    fn submit(&mut self, submission: Submission) {
        let id = submission.id;
        let request = &submission.request;
        self.scheduler.add(&Spec {
            request: id,
            flow: request.flow,
            prompt: request.prompt.as_slice().into(),
            max_tokens: request.max_tokens,
            choices: request.n,
            priority: request.priority,
            salt: request.cache_salt.clone(),
            prompt_logits: request.prompt_logprobs.is_some(),
        });
        self.live.insert(id, Live::new(submission));
    }

    /// Drops a request's state; its reader sees the end of the events.
    fn remove(&mut self, request: u64) -> Option<Live> {
        let live = self.live.remove(&request)?;
        if live.queued {
            self.shared.leave_queue(live.request.flow.id);
        }
        Some(live)
    }

    fn fail(&mut self, request: u64, error: &Error) {
        if let Some(live) = self.remove(request) {
            live.send(Raw::Failed(error.clone()));
        }
    }

    fn fail_all(&mut self, error: &Error) {
        // No look at the scheduler: after a panic it is not to be trusted.
        let requests: Vec<u64> = self.live.keys().copied().collect();
        for request in requests {
            self.fail(request, error);
        }
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Submit(submission) = command {
                self.shared.leave_queue(submission.request.flow.id);
                // A reader that is gone needs no answer.
                let _ = submission.events.send(Raw::Failed(error.clone()));
            }
        }
        let counters = &self.shared.counters;
        for gauge in [&counters.running, &counters.preempted, &counters.blocks_used, &counters.blocks_cached] {
            gauge.store(0, Relaxed);
        }
    }

    fn step(&mut self) {
        let plan = self.scheduler.schedule(self.pace.budget());
        let begin = Instant::now();
        for started in &plan.started {
            if let Some(live) = self.live.get_mut(&started.request) {
                live.queued = false;
                self.shared.leave_queue(live.request.flow.id);
                self.shared.counters.prompt_tokens.fetch_add(live.request.prompt.len() as u64, Relaxed);
                live.send(Raw::Started { cached_tokens: started.cached_tokens, at: begin });
            }
        }
        if plan.is_empty() {
            return;
        }
        let result = self.executor.step(&plan.batch, &mut self.logits);
        self.pace.observe(plan.batch.tokens.len(), begin.elapsed());
        let expected = plan.rows.len() * self.vocabulary;
        match result {
            Ok(()) if self.logits.len() == expected => self.finish_step(&plan),
            Ok(()) => self.fail_step(&plan, &format!("{} logits came back, not {expected}", self.logits.len())),
            Err(cause) => self.fail_step(&plan, &cause),
        }
    }

    fn fail_step(&mut self, plan: &Plan, cause: &str) {
        let requests = self.scheduler.fail(plan);
        tracing::error!(cause, requests = requests.len(), "a step failed; its requests fail");
        self.publish();
        let error =
            Error::Internal("a step of the computation failed; the server's log has the cause; try again".into());
        for request in requests {
            self.fail(request, &error);
        }
    }

    /// Samples, commits, then tells. The gauges come before the events, so that who reads an event sees what led to it.
    fn finish_step(&mut self, plan: &Plan) {
        let chosen = self.read_rows(plan);
        let sampled: Vec<Sampled> = chosen.iter().map(|chosen| chosen.sampled).collect();
        let mut ended: HashMap<SequenceId, End> = self.scheduler.commit(plan, &sampled).into_iter().collect();
        self.shared.counters.generation_tokens.fetch_add(chosen.len() as u64, Relaxed);
        self.publish();
        let at = Instant::now();
        for id in &plan.sequences {
            if let Some(live) = self.live.get_mut(&id.request) {
                live.send_prompt_if_complete();
            }
        }
        let mut chosen = chosen.into_iter().peekable();
        while let Some(Chosen { sampled, logprobs }) = chosen.next() {
            // With a draft, a sequence has several tokens; the last one ends it.
            let is_last = chosen.peek().is_none_or(|next| next.sampled.id != sampled.id);
            let end = is_last.then(|| ended.remove(&sampled.id)).flatten().map(reason);
            let event = Raw::Token { choice: sampled.id.choice, token: sampled.token, logprobs, end, at };
            self.tell(sampled.id, event, end.is_some());
        }
        for id in ended.into_keys() {
            self.tell(id, Raw::Ended { choice: id.choice, at }, true);
        }
    }

    fn tell(&mut self, id: SequenceId, event: Raw, is_last: bool) {
        let Some(live) = self.live.get_mut(&id.request) else { return };
        live.send(event);
        if is_last && live.end(id.choice) {
            self.remove(id.request);
        }
    }

    /// Uses every row of logits: samples, and log-probabilities of the prompt.
    fn read_rows(&mut self, plan: &Plan) -> Vec<Chosen> {
        let mut chosen = Vec::with_capacity(plan.sequences.len());
        // Its rows that are left follow a token that was not sampled.
        let mut refused = None;
        for (row, logits) in plan.rows.iter().zip(self.logits.chunks_exact(self.vocabulary)) {
            match *row {
                Row::Prompt { id, position } => {
                    if let Some(live) = self.live.get_mut(&id.request) {
                        live.read_prompt_row(position, logits, &mut self.sampler);
                    }
                }
                Row::Sample { id, .. } if refused == Some(id) => {}
                Row::Sample { id, draft } => {
                    if let Some(live) = self.live.get_mut(&id.request) {
                        let (token, logprobs) = live.sample(id.choice, logits, &mut self.sampler);
                        let sampled = Sampled { id, token, stop: live.is_stop(token) };
                        chosen.push(Chosen { sampled, logprobs });
                        refused = (draft != Some(token) || sampled.stop).then_some(id);
                    }
                }
            }
        }
        chosen
    }

    fn publish(&self) {
        let counters = &self.shared.counters;
        let scheduled = self.scheduler.counters();
        let pool = self.scheduler.pool();
        counters.running.store(self.scheduler.running(), Relaxed);
        counters.preempted.store(self.scheduler.preempted(), Relaxed);
        counters.blocks_used.store(pool.used(), Relaxed);
        counters.blocks_cached.store(pool.cached(), Relaxed);
        counters.prefix_queries_tokens.store(scheduled.prefix_queries_tokens, Relaxed);
        counters.prefix_hits_tokens.store(scheduled.prefix_hits_tokens, Relaxed);
        counters.preemptions.store(scheduled.preemptions, Relaxed);
        counters.steps.store(scheduled.steps, Relaxed);
        counters.drafts.store(scheduled.drafts, Relaxed);
        counters.drafts_tokens.store(scheduled.drafts_tokens, Relaxed);
        counters.drafts_accepted_tokens.store(scheduled.drafts_accepted_tokens, Relaxed);
    }
}

fn drafts(settings: &Settings) -> Drafts {
    let tokens_max = if settings.speculation_ngram { settings.draft_tokens_max } else { 0 };
    Drafts { tokens_max, match_min: settings.draft_match_min, window: settings.draft_window }
}

fn reason(end: End) -> FinishReason {
    match end {
        End::Stop => FinishReason::Stop,
        End::Length => FinishReason::Length,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
