//! Continuous batching: who runs, what each step computes, who gives up its memory.
//!
//! Between flows, counters of service rule ([`super::flow`]): the flow with the least is admitted next and given the next
//! tokens of a step. Within a flow one total order rules everything: [`Urgency`] (priority, arrival, choice). Its waiting
//! sequences are admitted in it, its tokens are handed out in it, and its least urgent one is preempted first. With one
//! flow alone that order is all there is.
//!
//! Progress. A flow's most urgent running sequence is its top; the top that arrived first is the elder. Every step
//! computes at least one token of the elder: it is given its token and row of logits before all others; a request that
//! all the blocks together cannot hold is refused, and every other holder may be preempted for it, while nobody but a more
//! urgent sequence of its own flow is preferred to it, so its blocks are there. (Floors are kept from an elder that can
//! be held beside them; see [`super::fair`].) It therefore ends after finitely many steps, and then the next one is the
//! elder, so what runs ends. Admission stops at the flow with the least claim when it has no room: what runs ends, and
//! it has. While a flow waits its counter stands still and those of the others rise, or they are idle, and come back at no
//! less than the least counter: so its claim is the least in the end. Arrivals of the same priority are less urgent, so
//! nothing starves; a steady stream of higher priorities does hold back lower ones of its own flow, which is what
//! priorities are for.

use super::blocks::BlockPool;
use super::draft::Drafts;
use super::flow::{Fairness, Flows};
use super::plan::{Plan, Row};
use super::prefix;
use super::sequence::{Sequence, SequenceId, Spec, Urgency};
use orrery_model::Span;
use std::collections::{BTreeMap, HashMap};

/// Sizes that bound a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub blocks: usize,
    pub block_tokens: usize,
    /// Sequences that run at the same time; the two limits below also bound it.
    pub sequences_max: usize,
    /// Tokens per step.
    pub step_tokens_max: usize,
    /// Rows of logits per step.
    pub step_logits_max: usize,
    /// Share blocks between requests.
    pub prefix_cache: bool,
    pub drafts: Drafts,
    pub fairness: Fairness,
}

/// What is remembered of a live request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    priority: i32,
    choices: usize,
    flow: u64,
}

/// What was sampled for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    pub id: SequenceId,
    pub token: u32,
    /// The token ends the sequence.
    pub stop: bool,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Stop,
    Length,
}

/// Counters since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Prompt tokens that were looked up in the prefix cache, and found.
    pub prefix_queries_tokens: u64,
    pub prefix_hits_tokens: u64,
    pub preemptions: u64,
    pub steps: u64,
    /// Drafts that were verified, their tokens, and those that were accepted.
    pub drafts: u64,
    pub drafts_tokens: u64,
    pub drafts_accepted_tokens: u64,
}

/// The scheduler. Each step: `schedule`, run the plan, then `commit` (or `fail`); `add` and the cancels come in between.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) limits: Limits,
    pub(super) pool: BlockPool,
    /// Counters of service, and the sequences that wait.
    pub(super) flows: Flows,
    pub(super) running: BTreeMap<Urgency, Sequence>,
    /// Choices 1… of a request until choice 0 has computed the prompt, so that they find its blocks.
    held: HashMap<u64, Vec<Sequence>>,
    requests: HashMap<u64, Asked>,
    pub(super) counters: Counters,
}

impl Scheduler {
    pub fn new(limits: Limits) -> Self {
        assert!(limits.block_tokens > 0, "invariant: a block holds tokens");
        let at_least_one = |n: usize| n.max(1);
        let limits = Limits {
            sequences_max: at_least_one(limits.sequences_max.min(limits.step_tokens_max).min(limits.step_logits_max)),
            step_tokens_max: at_least_one(limits.step_tokens_max),
            step_logits_max: at_least_one(limits.step_logits_max),
            ..limits
        };
        Self {
            limits,
            pool: BlockPool::new(limits.blocks),
            flows: Flows::new(limits.fairness),
            running: BTreeMap::new(),
            held: HashMap::new(),
            requests: HashMap::new(),
            counters: Counters::default(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Sequences that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait and have run before.
    pub fn preempted(&self) -> usize {
        self.flows.waiting().filter(|sequence| sequence.resumed).count()
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.flows.waiting().next().is_none()
    }

    /// Queues a request. The caller has checked that it fits: `blocks_for(prompt + max_tokens − 1)` ≤ blocks.
    pub fn add(&mut self, spec: &Spec) {
        debug_assert!(!spec.prompt.is_empty() && spec.choices > 0);
        let root = prefix::root(&spec.salt, (!self.limits.prefix_cache).then_some(spec.request));
        let asked = Asked { priority: spec.priority, choices: spec.choices, flow: spec.flow.id };
        self.requests.insert(spec.request, asked);
        self.flows.join(spec.flow);
        self.flows.wait(Sequence::new(spec, 0, root));
        if spec.choices > 1 {
            self.held.insert(spec.request, (1..spec.choices).map(|choice| Sequence::new(spec, choice, root)).collect());
        }
    }

    /// Ends all choices of a request; its blocks are free or cached at once. Unknown requests are ignored.
    pub fn cancel(&mut self, request: u64) {
        let Some(asked) = self.requests.get(&request).copied() else { return };
        self.held.remove(&request);
        for choice in 0..asked.choices {
            self.take(SequenceId { request, choice });
        }
        self.forget(request);
    }

    /// Ends one choice of a request.
    pub fn cancel_choice(&mut self, id: SequenceId) {
        if let Some(held) = self.held.get_mut(&id.request) {
            held.retain(|sequence| sequence.id != id);
        }
        self.take(id);
        if id.choice == 0 {
            self.release_held(id.request);
        }
        self.forget_if_over(id.request);
    }

    /// Decides the next step of at most `budget` tokens (bounded by the limits). With one flow alone it is never fewer than the
    /// sequences that run; with several, what gets no token waits, and the prompt of one that is behind may take more.
    /// The plan is empty only when nothing waits and nothing runs.
    pub fn schedule(&mut self, budget: usize) -> Plan {
        let budget = budget.min(self.limits.step_tokens_max);
        let budget = if self.flows.is_alone() { budget.max(self.running.len()) } else { budget }.max(1);
        let mut plan = Plan::default();
        plan.started = self.admit(budget, &mut plan.batch.copies);
        // Each flow's admission stops at the budget, so that with one alone every sequence that decodes has its token.
        let budget = budget.max(if self.flows.is_alone() { self.running.len() } else { self.prompt_behind() });
        let mut shares = self.shares(budget);
        let elder = self.elder();
        // The elder comes first. With one flow alone all come in the order of urgency, so that what has its blocks is not
        // preempted by what comes later; a flow that holds more than its share may lose some to a later one all the same.
        for (urgency, count) in &mut shares {
            *count = self.secure(*urgency, *count, elder);
        }
        shares.retain(|(urgency, count)| *count > 0 && self.running.contains_key(urgency));
        let drafts = self.drafts(&shares, budget);
        for ((urgency, count), draft) in shares.iter().zip(&drafts) {
            self.place(*urgency, *count, draft, &mut plan);
        }
        debug_assert!(plan.batch.tokens.len() <= budget && plan.rows.len() <= self.limits.step_logits_max);
        debug_assert!(!plan.is_empty() || self.is_idle(), "a step with work makes progress");
        if !plan.is_empty() {
            self.counters.steps += 1;
        }
        self.debug_check();
        plan
    }

    /// Records a plan that ran and what was sampled from it, in the order of its rows; gives the sequences that ended.
    /// Sequences that were cancelled since are passed over.
    pub fn commit(&mut self, plan: &Plan, sampled: &[Sampled]) -> Vec<(SequenceId, End)> {
        let mut ended = Vec::new();
        let mut sampled = sampled;
        for (id, span) in plan.sequences.iter().zip(&plan.batch.spans) {
            let own = sampled.iter().take_while(|sample| sample.id == *id).count();
            let (own, others) = sampled.split_at(own);
            sampled = others;
            ended.extend(self.append(*id, own).map(|end| (*id, end)));
            self.advance(*id, span.count, own.len());
            let prompt_only = |sequence: &mut Sequence| sequence.max_tokens == 0 && sequence.remaining() == 0;
            if self.running_mut(*id).is_some_and(prompt_only) {
                ended.push((*id, End::Length));
            }
        }
        debug_assert!(sampled.is_empty(), "samples come in the order of the rows");
        for (id, _) in &ended {
            self.take(*id);
            self.forget_if_over(id.request);
        }
        self.debug_check();
        ended
    }

    /// Gives up the requests of a plan that could not be run, all their choices included.
    pub fn fail(&mut self, plan: &Plan) -> Vec<u64> {
        let mut requests: Vec<u64> = plan.sequences.iter().map(|id| id.request).collect();
        requests.sort_unstable();
        requests.dedup();
        for request in &requests {
            self.cancel(*request);
        }
        self.debug_check();
        requests
    }

    /// Panics unless the conservation laws hold.
    pub fn check(&self) {
        let mut holders: HashMap<u32, u32> = HashMap::new();
        for sequence in self.running.values() {
            for block in &sequence.blocks {
                *holders.entry(*block).or_default() += 1;
            }
            assert!(
                sequence.computed <= sequence.blocks.len() * self.limits.block_tokens,
                "computed tokens have blocks"
            );
            assert!(sequence.computed <= sequence.len());
            let most = self.blocks_for(sequence.len() + sequence.drafted);
            assert!(sequence.blocks.len() <= most, "no block past the tokens and the draft under way");
            let held = sequence.computed.max(sequence.stored);
            assert!(held <= sequence.blocks.len() * self.limits.block_tokens, "stored tokens have blocks");
            assert!(sequence.named <= held / self.limits.block_tokens, "names are of what is computed");
        }
        self.pool.check(&holders);
        for sequence in self.flows.waiting().chain(self.held.values().flatten()) {
            assert!(sequence.blocks.is_empty() && sequence.computed == 0, "what waits holds nothing");
        }
        assert!(self.running.len() <= self.limits.sequences_max, "sequences that run are bounded");
        for sequence in self.running.values().chain(self.flows.waiting()).chain(self.held.values().flatten()) {
            let asked = self.requests.get(&sequence.id.request);
            assert!(asked.is_some_and(|asked| asked.flow == sequence.flow), "a live sequence has its request");
        }
        self.check_flows();
    }

    fn check_flows(&self) {
        for state in self.flows.active() {
            let id = state.flow.id;
            let own = || self.running.values().filter(|sequence| sequence.flow == id);
            assert_eq!(state.running, own().count(), "sequences of flow {id} that run");
            assert_eq!(state.pending, own().map(Sequence::uncounted).sum::<usize>(), "prompt tokens of flow {id}");
            let requests = self.requests.values().filter(|asked| asked.flow == id).count();
            assert_eq!(state.requests, requests, "requests of flow {id}");
        }
        let requests = self.flows.active().map(|state| state.requests).sum::<usize>();
        assert_eq!(self.requests.len(), requests, "every request is of an active flow");
    }

    fn debug_check(&self) {
        if cfg!(debug_assertions) {
            self.check();
        }
    }
}

/// What a step computes of one sequence.
impl Scheduler {
    /// Gives the sequence blocks for `count` more tokens, preempting others; the tokens that it got blocks for.
    fn secure(&mut self, urgency: Urgency, count: usize, elder: Option<Urgency>) -> usize {
        let Some(sequence) = self.running.get(&urgency) else { return 0 };
        let (flow, computed, held) = (sequence.flow, sequence.computed, sequence.blocks.len());
        let needed = self.blocks_for(computed + count).saturating_sub(held);
        while self.pool.available_to(flow) < needed {
            match self.victim(urgency, elder) {
                Some(victim) => self.preempt(victim),
                None => break,
            }
        }
        // What the floors of others keep is for the elder alone, when there is nothing else.
        let available = if Some(urgency) == elder { self.pool.available() } else { self.pool.available_to(flow) };
        let fitting = (held + available) * self.limits.block_tokens - computed;
        let count = count.min(fitting);
        let needed = self.blocks_for(computed + count).saturating_sub(held);
        let blocks: Vec<u32> = (0..needed).map_while(|_| self.pool.allocate(flow)).collect();
        if let Some(sequence) = self.running.get_mut(&urgency) {
            sequence.blocks.extend(blocks);
        }
        count
    }

    /// Writes the sequence's next `count` tokens into the plan, and its draft after them.
    fn place(&self, urgency: Urgency, count: usize, draft: &[u32], plan: &mut Plan) {
        let Some(sequence) = self.running.get(&urgency) else { return };
        let row = plan.batch.tokens.len();
        let position = sequence.computed;
        plan.batch.tokens.extend((position..position + count).map(|position| sequence.token(position)));
        plan.batch.tokens.extend(draft);
        let stored = sequence.stored.saturating_sub(position).min(count);
        let (count_all, blocks) = (count + draft.len(), sequence.blocks.clone());
        plan.batch.spans.push(Span { row, count: count_all, position, stored, blocks });
        plan.sequences.push(sequence.id);
        for prompt_position in sequence.prompt_rows(count) {
            plan.batch.logits_rows.push(row + prompt_position - position);
            plan.rows.push(Row::Prompt { id: sequence.id, position: prompt_position });
        }
        if sequence.samples(count) {
            let drafts = draft.iter().copied().map(Some).chain([None]);
            for (offset, draft) in drafts.enumerate() {
                plan.batch.logits_rows.push(row + count - 1 + offset);
                plan.rows.push(Row::Sample { id: sequence.id, draft });
            }
        }
    }
}

/// Changes of state.
impl Scheduler {
    /// Appends what was sampled for the sequence; how it ended, if it did.
    fn append(&mut self, id: SequenceId, sampled: &[Sampled]) -> Option<End> {
        let sequence = self.running_mut(id)?;
        debug_assert!(sampled.len() <= sequence.drafted + 1, "one sample more than drafts");
        sequence.generated.extend(sampled.iter().map(|sample| sample.token));
        let flow = sequence.flow;
        self.flows.charge(flow, 0, sampled.len());
        let sequence = self.running_mut(id)?;
        if sampled.last().is_some_and(|sample| sample.stop) {
            return Some(End::Stop);
        }
        (!sampled.is_empty() && sequence.generated.len() >= sequence.max_tokens).then_some(End::Length)
    }

    /// Counts the tokens of a span of `count` as computed, but for the drafts that were refused, and names the blocks that
    /// they filled. `sampled`: how many were, and appended.
    fn advance(&mut self, id: SequenceId, count: usize, sampled: usize) {
        let block_tokens = self.limits.block_tokens;
        let Some((_, urgency)) = self.place_of(id) else { return };
        let Some(sequence) = self.running.get_mut(&urgency) else { return };
        let drafted = std::mem::take(&mut sequence.drafted);
        let accepted = sampled.saturating_sub(1);
        sequence.computed += count - drafted + accepted;
        if drafted > 0 {
            sequence.trust.learn(drafted, accepted);
            self.counters.drafts += 1;
            self.counters.drafts_tokens += drafted as u64;
            self.counters.drafts_accepted_tokens += accepted as u64;
        }
        sequence.settled = true;
        // Nobody else holds these: they were never named.
        let held = sequence.computed.max(sequence.stored).div_ceil(block_tokens);
        for block in sequence.blocks.drain(held..).rev() {
            self.pool.release(block, false);
        }
        let counted = sequence.computed.min(sequence.prompt.len()).max(sequence.counted);
        let (flow, prompt) = (sequence.flow, counted - std::mem::replace(&mut sequence.counted, counted));
        self.flows.charge(flow, prompt, 0);
        let prompt_done = sequence.computed >= sequence.prompt.len();
        if let Some(from) = &mut sequence.prompt_rows_from {
            *from = sequence.computed.max(*from);
            if prompt_done {
                sequence.prompt_rows_from = None;
            }
        }
        for index in sequence.named..sequence.computed / block_tokens {
            let name = sequence.name(index, (index + 1) * block_tokens, block_tokens);
            self.pool.name(sequence.blocks[index], name);
            sequence.named = index + 1;
        }
        if prompt_done && id.choice == 0 {
            self.release_held(id.request);
        }
    }

    /// Back to the queue. What it computed stays cached until the blocks are needed.
    pub(super) fn preempt(&mut self, urgency: Urgency) {
        let Some(mut sequence) = self.stop(urgency) else { return };
        self.let_go(&mut sequence, usize::MAX);
        sequence.computed = 0;
        sequence.stored = 0;
        sequence.settled = false;
        sequence.named = 0;
        self.counters.preemptions += 1;
        self.flows.wait(sequence);
    }

    /// From now on the sequence runs.
    pub(super) fn run(&mut self, sequence: Sequence) {
        if let Some(state) = self.flows.get_mut(sequence.flow) {
            state.running += 1;
            state.pending += sequence.uncounted();
        }
        self.running.insert(sequence.urgency, sequence);
    }

    /// Takes the sequence out of those that run.
    fn stop(&mut self, urgency: Urgency) -> Option<Sequence> {
        let sequence = self.running.remove(&urgency)?;
        if let Some(state) = self.flows.get_mut(sequence.flow) {
            state.running -= 1;
            state.pending -= sequence.uncounted();
        }
        Some(sequence)
    }

    /// Removes a sequence, wherever it is.
    fn take(&mut self, id: SequenceId) {
        let Some((flow, urgency)) = self.place_of(id) else { return };
        if let Some(state) = self.flows.get_mut(flow) {
            state.waiting.remove(&urgency);
        }
        if let Some(mut sequence) = self.stop(urgency) {
            // Without a prefix cache, only the prompt's blocks are of use, and only to other choices.
            let keep = match self.limits.prefix_cache {
                true => usize::MAX,
                false if self.lives(id.request) => sequence.prompt.len() / self.limits.block_tokens,
                false => 0,
            };
            self.let_go(&mut sequence, keep);
        }
    }

    /// Releases the blocks, the last first, so that the front of a prefix outlives its tail in the cache. The first `keep`
    /// blocks may stay cached, and the last one does so with what it holds.
    fn let_go(&mut self, sequence: &mut Sequence, keep: usize) {
        let block_tokens = self.limits.block_tokens;
        let last = sequence.computed / block_tokens;
        let is_begun = !sequence.computed.is_multiple_of(block_tokens);
        if is_begun && sequence.settled && sequence.named == last && last < keep {
            let name = sequence.name(last, sequence.computed, block_tokens);
            self.pool.name(sequence.blocks[last], name);
        }
        let percent = self.flows.get(sequence.flow).map_or(0, |state| state.flow.floor_blocks_percent as usize);
        self.pool.set_floor(sequence.flow, self.pool.total() * percent / 100);
        for (index, block) in sequence.blocks.drain(..).enumerate().rev() {
            self.pool.release(block, index < keep);
        }
    }

    fn release_held(&mut self, request: u64) {
        for sequence in self.held.remove(&request).unwrap_or_default() {
            self.flows.wait(sequence);
        }
    }

    fn forget_if_over(&mut self, request: u64) {
        if !self.lives(request) {
            self.forget(request);
        }
    }

    fn forget(&mut self, request: u64) {
        if let Some(asked) = self.requests.remove(&request) {
            self.flows.leave(asked.flow);
        }
    }

    /// Some choice of the request is not over.
    fn lives(&self, request: u64) -> bool {
        let Some(asked) = self.requests.get(&request).copied() else { return false };
        let waiting = self.flows.get(asked.flow).map(|state| &state.waiting);
        let choice_lives = |choice| {
            let urgency = Urgency::new(asked.priority, SequenceId { request, choice });
            self.running.contains_key(&urgency) || waiting.is_some_and(|waiting| waiting.contains_key(&urgency))
        };
        self.held.contains_key(&request) || (0..asked.choices).any(choice_lives)
    }

    /// The flow of a sequence, and its place in the order there.
    fn place_of(&self, id: SequenceId) -> Option<(u64, Urgency)> {
        self.requests.get(&id.request).map(|asked| (asked.flow, Urgency::new(asked.priority, id)))
    }

    fn running_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        let (_, urgency) = self.place_of(id)?;
        self.running.get_mut(&urgency)
    }

    pub(super) fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.limits.block_tokens)
    }
}
