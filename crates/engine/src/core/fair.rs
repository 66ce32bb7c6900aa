//! How flows share a step's tokens, the places and the blocks.
//!
//! Tokens of a step are dealt out one turn after the other: a turn is one token that decodes or a piece of a prompt, and the
//! next turn is the flow's that has the least counter, this step's turns included. What decodes and gets no turn
//! keeps its place and its blocks, so waiting costs it nothing but time. A flow that has come back from idleness has its
//! burst first.
//!
//! Places and blocks are taken from others by preemption, not kept empty: what a preempted sequence has computed
//! stays cached, so that giving up a place costs little more than a token, and an empty place would cost a token every
//! step. It is taken only from flows that hold more than their share of what is short, and never a flow's top, except by
//! the elder: so sequences cannot take each other's memory in turn for ever.
//!
//! Floors. A flow that uses no more blocks than its floor loses none to flows beyond theirs, and its cached blocks up to
//! there are out of their reach, whether it is active or not. An elder too long to be held beside the floors of the others does
//! take them, since it could never end otherwise. A floor is of blocks, not of places: one of its places a flow may lose to
//! its share of them all the same, and what was computed there stays cached within the floor.

use super::admission::Room;
use super::flow::{State, virtual_cost};
use super::scheduler::Scheduler;
use super::sequence::{Sequence, Urgency};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Tokens of a prompt in one turn while several flows want some.
const TURN_TOKENS: usize = 16;

/// One flow in the dealing of a step.
struct Turn<'a> {
    state: &'a State,
    /// Dealt to it in this step, in virtual units.
    dealt: u128,
    /// What decodes, then prompts, each in the order of urgency.
    wanting: VecDeque<&'a Sequence>,
}

impl Turn<'_> {
    /// The least is next: what has a burst left, then the least counter, then who came first.
    fn key(&self) -> (bool, u128, u64) {
        (self.dealt >= self.state.credit, self.state.counter + self.dealt, self.state.since)
    }
}

/// A step's tokens and rows of logits while they are dealt out.
struct Deal {
    tokens_left: usize,
    rows_left: usize,
    counts: HashMap<Urgency, usize>,
}

impl Deal {
    /// Gives the sequence at most `most` tokens more; those that it got.
    fn give(&mut self, sequence: &Sequence, most: usize) -> usize {
        let had = self.counts.get(&sequence.urgency).copied().unwrap_or(0);
        let rows = sequence.logit_rows(had);
        let count = chunk(sequence, had + most.min(self.tokens_left), rows + self.rows_left);
        if count > had {
            self.tokens_left -= count - had;
            self.rows_left -= sequence.logit_rows(count) - rows;
            self.counts.insert(sequence.urgency, count);
        }
        count.saturating_sub(had)
    }

    fn is_whole(&self, sequence: &Sequence) -> bool {
        self.counts.get(&sequence.urgency).is_some_and(|count| *count == sequence.remaining())
    }
}

impl Scheduler {
    /// Tokens of this step for each running sequence: one for each that decodes, the rest as prefill chunks, the most
    /// urgent first; between flows by their counters. The elder's come first, then the others' in the order of urgency.
    pub(super) fn shares(&self, budget: usize) -> Vec<(Urgency, usize)> {
        let counts = HashMap::with_capacity(self.running.len());
        let mut deal = Deal { tokens_left: budget, rows_left: self.limits.step_logits_max, counts };
        let mut turns = self.turns();
        let elder = self.elder();
        if turns.len() > 1
            && let Some(sequence) = elder.and_then(|elder| self.running.get(&elder))
        {
            deal.give(sequence, 1);
        }
        while deal.tokens_left > 0
            && let Some(index) = next_turn(&turns)
        {
            let most = if turns.len() > 1 { TURN_TOKENS } else { usize::MAX };
            self.take_turn(&mut turns[index], &mut deal, most);
            if turns[index].wanting.is_empty() {
                turns.swap_remove(index);
            }
        }
        let given = |urgency: &Urgency| deal.counts.get(urgency).map(|count| (*urgency, *count));
        let rest = self.running.keys().filter(|urgency| Some(**urgency) != elder);
        elder.iter().chain(rest).filter_map(given).collect()
    }

    /// Prompt tokens that the flow whose turn is next can be given before it is level with the next one; no more than a
    /// quarter of the largest step. The pace of a step is that of many sequences that decode, and a prompt is cheaper.
    pub(super) fn prompt_behind(&self) -> usize {
        let turns = self.turns();
        let Some(first) = next_turn(&turns).map(|index| &turns[index]) else { return 0 };
        let others = turns.iter().filter(|turn| turn.state.flow.id != first.state.flow.id);
        let Some(next) = others.map(|turn| turn.state.counter).min() else { return 0 };
        let lead = first.state.credit + next.saturating_sub(first.state.counter);
        let prompts = first.wanting.iter().filter(|sequence| !sequence.is_decoding());
        let wanted: usize = prompts.map(|sequence| sequence.remaining()).sum();
        let most = wanted.min(self.limits.step_tokens_max / 4);
        // One more for the elder.
        if virtual_cost(most, first.state.flow.weight) <= lead { most + 1 } else { 0 }
    }

    fn turns(&self) -> Vec<Turn<'_>> {
        let mut wanting: BTreeMap<u64, VecDeque<&Sequence>> = BTreeMap::new();
        let (decoding, prompts): (Vec<_>, Vec<_>) = self.running.values().partition(|running| running.is_decoding());
        for sequence in decoding.into_iter().chain(prompts) {
            wanting.entry(sequence.flow).or_default().push_back(sequence);
        }
        let turn = |(flow, wanting)| self.flows.get(flow).map(|state| Turn { state, dealt: 0, wanting });
        wanting.into_iter().filter_map(turn).collect()
    }

    fn take_turn(&self, turn: &mut Turn, deal: &mut Deal, most: usize) {
        let Some(sequence) = turn.wanting.front() else { return };
        let count = deal.give(sequence, most);
        let is_whole = deal.is_whole(sequence);
        let sampled = if is_whole && sequence.max_tokens > 0 { self.flows.rules().generated_token_cost } else { 0 };
        // A token that decodes is paid for by the sample after it.
        let prompt = if sequence.is_decoding() { 0 } else { count };
        turn.dealt += virtual_cost(prompt + sampled, turn.state.flow.weight);
        // No row of logits was left for it, or no token.
        if is_whole || count == 0 {
            turn.wanting.pop_front();
        }
    }

    /// The flow's most urgent running sequence, of the flow whose one arrived first.
    pub(super) fn elder(&self) -> Option<Urgency> {
        self.tops().into_values().min_by_key(Urgency::id)
    }

    /// The most urgent running sequence of each flow.
    fn tops(&self) -> BTreeMap<u64, Urgency> {
        let mut tops = BTreeMap::new();
        for (urgency, sequence) in &self.running {
            tops.entry(sequence.flow).or_insert(*urgency);
        }
        tops
    }

    /// Adds what may be preempted for an admission to flow `flow` that needs `needed` blocks, until the room suffices: of flows
    /// with a greater claim, which hold more than their share of what is short, the least urgent of the one that is
    /// furthest beyond it; as long as this flow stays within its own shares.
    pub(super) fn beyond_shares(
        &self,
        flow: u64,
        needed: usize,
        room: &mut Room,
        victims: &mut Vec<Urgency>,
        hits: &[u32],
    ) {
        let Some(own) = self.flows.get(flow) else { return };
        let within_places = own.running < self.flows.share(own, self.limits.sequences_max).max(1);
        if !within_places || self.pool.used_of(flow) + needed > self.blocks_share(own) {
            return;
        }
        let claim = self.flows.claim(own);
        let others = self.flows.active().filter(|state| state.running > 0 && self.flows.claim(state) > claim);
        let mut holdings: Vec<Holding> = others.map(|state| self.holding(state)).collect();
        while !room.suffices() {
            let blocks = !room.has_blocks();
            let furthest = holdings.iter_mut().filter(|holding| holding.excess(blocks) > 1.0);
            let furthest = furthest.max_by(|a, b| a.excess(blocks).total_cmp(&b.excess(blocks)));
            let Some(holding) = furthest else { return };
            // The last one is the top.
            let Some(victim) = holding.sequences.pop_back().filter(|_| !holding.sequences.is_empty()) else {
                holding.places = 0;
                holding.blocks = 0;
                continue;
            };
            holding.places -= 1;
            holding.blocks -= self.vacate(victim, hits, room).min(holding.blocks);
            victims.push(victim.urgency);
        }
    }

    fn holding(&self, state: &State) -> Holding<'_> {
        Holding {
            places: state.running,
            places_share: self.flows.share(state, self.limits.sequences_max).max(1),
            blocks: self.pool.used_of(state.flow.id),
            blocks_share: self.blocks_share(state).max(1),
            sequences: self.running.values().filter(|running| running.flow == state.flow.id).collect(),
        }
    }

    fn blocks_share(&self, state: &State) -> usize {
        let total = self.pool.total();
        self.flows.share(state, total).max(self.flows.floor(state, total))
    }

    /// Who gives up its blocks for a running sequence that needs some: the least urgent of the flow that is furthest beyond
    /// its share of the blocks, as long as that is another one and it is not the flow's top; then the less urgent of its own
    /// flow; then, for the elder, anyone.
    pub(super) fn victim(&self, urgency: Urgency, elder: Option<Urgency>) -> Option<Urgency> {
        let sequence = self.running.get(&urgency)?;
        let own = self.flows.get(sequence.flow)?;
        let least_own = || self.running.iter().rev().find(|(_, running)| running.flow == sequence.flow);
        let less_urgent = || least_own().map(|(last, _)| *last).filter(|last| *last > urgency);
        if self.flows.is_alone() {
            return less_urgent();
        }
        let excess = |state: &State| self.holding(state).excess(true);
        let others = self.flows.active().filter(|state| state.flow.id != own.flow.id && state.running > 0);
        let mut others: Vec<(f64, &State)> = others.map(|state| (excess(state), state)).collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.since.cmp(&b.1.since)));
        let least_of =
            |id: u64| self.running.iter().rev().find(|(_, running)| running.flow == id).map(|(last, _)| *last);
        let beyond = (others.iter()).filter(|(other, state)| *other > 1.0_f64.max(excess(own)) && state.running > 1);
        if let Some(victim) = beyond.filter_map(|(_, state)| least_of(state.flow.id)).next() {
            return Some(victim);
        }
        less_urgent().or_else(|| {
            let may_take = |state: &State| self.may_take(sequence, own, state, elder);
            let takeable = others.iter().filter(|(_, state)| may_take(state));
            takeable.filter_map(|(_, state)| least_of(state.flow.id)).find(|victim| Some(*victim) != elder)
        })
    }

    /// Whether a sequence that has nobody less urgent in its own flow may take from a flow that is not beyond its share, or
    /// has only its top.
    fn may_take(&self, sequence: &Sequence, own: &State, other: &State, elder: Option<Urgency>) -> bool {
        let total = self.pool.total();
        let keeps =
            |state: &State, more: usize| self.pool.used_of(state.flow.id) + more <= self.flows.floor(state, total);
        if Some(sequence.urgency) != elder {
            return keeps(own, 1) && !keeps(other, 0);
        }
        let floors = self.flows.active().filter(|state| state.flow.id != own.flow.id);
        let beside = total - floors.map(|state| self.flows.floor(state, total)).sum::<usize>();
        let whole = self.blocks_for(sequence.prompt.len() + sequence.max_tokens.saturating_sub(1));
        keeps(own, 1) || !keeps(other, 0) || whole > beside
    }
}

/// What a flow holds, beside its shares.
struct Holding<'a> {
    places: usize,
    places_share: usize,
    blocks: usize,
    blocks_share: usize,
    /// Its running sequences, the most urgent first.
    sequences: VecDeque<&'a Sequence>,
}

impl Holding<'_> {
    /// Above 1: more than its share, of blocks or of places.
    fn excess(&self, blocks: bool) -> f64 {
        let (held, share) = if blocks { (self.blocks, self.blocks_share) } else { (self.places, self.places_share) };
        held as f64 / share as f64
    }
}

fn next_turn(turns: &[Turn]) -> Option<usize> {
    (0..turns.len()).min_by_key(|index| turns[*index].key())
}

/// The longest prefill chunk within the tokens and logit rows that are left.
fn chunk(sequence: &Sequence, tokens_left: usize, rows_left: usize) -> usize {
    let mut count = sequence.remaining().min(tokens_left);
    // Rows fall with the chunk, by at most one a token.
    while count > 0 && sequence.logit_rows(count) > rows_left {
        count -= (sequence.logit_rows(count) - rows_left).min(count);
    }
    count
}
