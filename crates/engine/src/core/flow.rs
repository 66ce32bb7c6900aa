//! Flows: whose work it is, how much service each has had, and whose turn it is.
//!
//! Token-weighted fair queueing after the virtual token counter (Sheng et al., "Fairness in Serving Large Language Models",
//! OSDI 2024). Each flow has a counter of the service that it was given, divided by its weight; the one with the least is
//! served next:
//!
//! ```text
//!   service = computed prompt tokens + generated tokens × cost      cached tokens and tokens computed again are free
//!   counter = service / weight                                      of two flows that want more, equal in the long run
//!   claim   = counter + (prompt tokens still to compute + running sequences × cost) / weight
//! ```
//!
//! Admission goes by the claim, so that a flow does not take all places before its first token is counted; the tokens
//! of a step go by the counter. A flow that comes back is lifted to the least counter of those that are active (the
//! `level`), so that idleness is not saved up. Must not know: what a flow stands for.

use super::sequence::{Sequence, Urgency};
use std::collections::{BTreeMap, BTreeSet};

/// Virtual units of one token at weight 1: what is lost by whole division is less than a thousandth of a token.
const UNIT: u128 = 1_000_000;
/// The weight that [`Fairness::burst_tokens`] is given for.
const WEIGHT: u32 = 100;
/// Idle flows are forgotten beyond so many.
const KNOWN_MAX: usize = 1024;

/// Whose work a request is, and what it may expect. It travels with each request; the last one's word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    pub id: u64,
    /// Its part of the service, in proportion to the weights of the others that want some.
    pub weight: u32,
    /// KV blocks that are its own, in percent of all: its cached blocks up to here are evicted last, and what it runs
    /// within them is not preempted for the blocks of flows beyond theirs.
    pub floor_blocks_percent: u32,
    /// Its part of the queue, in percent.
    pub queue_share_percent: u32,
}

impl Default for Flow {
    fn default() -> Self {
        Self { id: 0, weight: WEIGHT, floor_blocks_percent: 0, queue_share_percent: 100 }
    }
}

/// What service costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fairness {
    /// A generated token counts as so many computed prompt tokens.
    pub generated_token_cost: usize,
    /// Service that a flow of weight 100 gets ahead of the others when it comes back from idleness: a prompt or so, for
    /// its first token.
    pub burst_tokens: usize,
}

impl Default for Fairness {
    fn default() -> Self {
        Self { generated_token_cost: 2, burst_tokens: 512 }
    }
}

/// What the scheduler knows of a flow.
#[derive(Debug)]
pub struct State {
    pub flow: Flow,
    /// Service by weight, in virtual units.
    pub counter: u128,
    /// What is left of its burst.
    pub credit: u128,
    /// Rises with every flow that becomes active: equal counters are served in this order.
    pub since: u64,
    /// Requests that are not over; 0: idle.
    pub requests: usize,
    pub waiting: BTreeMap<Urgency, Sequence>,
    /// Sequences that run, and their prompt tokens that will be counted.
    pub running: usize,
    pub pending: usize,
}

/// All flows with work, and the idle ones whose counters still say something.
#[derive(Debug)]
pub struct Flows {
    rules: Fairness,
    known: BTreeMap<u64, State>,
    active: BTreeSet<u64>,
    /// Never falls: the least counter of the active flows, or of the last one that was.
    level: u128,
    activations: u64,
}

/// Service of so many tokens for a flow of that weight, in virtual units.
pub fn virtual_cost(tokens: usize, weight: u32) -> u128 {
    tokens as u128 * UNIT / u128::from(weight.max(1))
}

impl Flows {
    pub fn new(rules: Fairness) -> Self {
        Self { rules, known: BTreeMap::new(), active: BTreeSet::new(), level: 0, activations: 0 }
    }

    pub fn rules(&self) -> Fairness {
        self.rules
    }

    /// A request of the flow arrives.
    pub fn join(&mut self, flow: Flow) {
        self.raise_level();
        if !self.known.contains_key(&flow.id) {
            self.make_space();
        }
        let (level, since) = (self.level, self.activations);
        let state = self.known.entry(flow.id).or_insert_with(|| State::new(flow));
        state.flow = flow;
        state.requests += 1;
        if state.requests == 1 {
            state.counter = state.counter.max(level);
            state.credit = virtual_cost(self.rules.burst_tokens, WEIGHT).saturating_sub(state.counter - level);
            state.since = since;
            self.activations += 1;
            self.active.insert(flow.id);
        }
    }

    /// A request of the flow is over.
    pub fn leave(&mut self, id: u64) {
        self.raise_level();
        if let Some(state) = self.known.get_mut(&id) {
            state.requests -= 1;
            if state.requests == 0 {
                self.active.remove(&id);
                if self.active.is_empty() {
                    self.level = self.level.max(state.counter);
                }
            }
        }
    }

    /// Counts service of that many prompt and generated tokens.
    pub fn charge(&mut self, id: u64, prompt: usize, generated: usize) {
        let cost = prompt + generated * self.rules.generated_token_cost;
        let Some(state) = self.known.get_mut(&id) else { return };
        let cost = virtual_cost(cost, state.flow.weight);
        state.counter += cost;
        state.credit = state.credit.saturating_sub(cost);
        state.pending -= prompt;
    }

    fn raise_level(&mut self) {
        let least = self.active().map(|state| state.counter).min();
        self.level = least.map_or(self.level, |least| self.level.max(least));
    }

    /// Forgets the idle flow with the least counter when there are too many. Below the level nothing is lost by it.
    fn make_space(&mut self) {
        if self.known.len() - self.active.len() < KNOWN_MAX {
            return;
        }
        let idle = self.known.iter().filter(|(_, state)| state.requests == 0);
        if let Some(id) = idle.min_by_key(|(_, state)| state.counter).map(|(id, _)| *id) {
            self.known.remove(&id);
        }
    }

    pub fn get(&self, id: u64) -> Option<&State> {
        self.known.get(&id)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut State> {
        self.known.get_mut(&id)
    }

    /// Flows with requests that are not over.
    pub fn active(&self) -> impl Iterator<Item = &State> {
        self.active.iter().filter_map(|id| self.known.get(id))
    }

    pub fn is_alone(&self) -> bool {
        self.active.len() <= 1
    }

    /// Flows that are remembered.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// The flow with the least claim among those that wait, and its most urgent sequence.
    pub fn next(&self) -> Option<(u64, Urgency)> {
        let waiting = self.active().filter(|state| !state.waiting.is_empty());
        let state = waiting.min_by_key(|state| self.claim(state))?;
        state.waiting.first_key_value().map(|(urgency, _)| (state.flow.id, *urgency))
    }

    /// The order of admission.
    pub fn claim(&self, state: &State) -> (u128, u64) {
        let cost = state.pending + state.running * self.rules.generated_token_cost;
        (state.counter + virtual_cost(cost, state.flow.weight), state.since)
    }

    pub fn wait(&mut self, sequence: Sequence) {
        if let Some(state) = self.known.get_mut(&sequence.flow) {
            state.waiting.insert(sequence.urgency, sequence);
        }
    }

    pub fn waiting(&self) -> impl Iterator<Item = &Sequence> {
        self.active().flat_map(|state| state.waiting.values())
    }

    /// What one flow gets of `total` when all that are active want more than their part.
    pub fn share(&self, state: &State, total: usize) -> usize {
        let weights: u128 = self.active().map(|state| u128::from(state.flow.weight)).sum();
        let share = total as u128 * u128::from(state.flow.weight) / weights.max(1);
        usize::try_from(share).unwrap_or(total)
    }

    /// Blocks of `total` that are the flow's own. The floors of all that are active are no more than there are blocks.
    pub fn floor(&self, state: &State, total: usize) -> usize {
        let percent: usize = self.active().map(|state| state.flow.floor_blocks_percent as usize).sum();
        total * state.flow.floor_blocks_percent as usize / percent.max(100)
    }
}

impl State {
    fn new(flow: Flow) -> Self {
        let waiting = BTreeMap::new();
        Self { flow, counter: 0, credit: 0, since: 0, requests: 0, waiting, running: 0, pending: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fairness, Flow, Flows, KNOWN_MAX, virtual_cost};

    fn flow(id: u64) -> Flow {
        Flow { id, ..Flow::default() }
    }

    fn served(flows: &mut Flows, id: u64, generated: usize) {
        flows.charge(id, 0, generated);
    }

    fn counter(flows: &Flows, id: u64) -> u128 {
        flows.get(id).expect("known").counter
    }

    #[test]
    fn idleness_is_not_saved_up() {
        let mut flows = Flows::new(Fairness { generated_token_cost: 2, burst_tokens: 10 });
        flows.join(flow(1));
        flows.join(flow(2));
        served(&mut flows, 1, 100);
        served(&mut flows, 2, 40);
        // A new flow begins where the least active one stands.
        flows.join(flow(3));
        assert_eq!(counter(&flows, 3), virtual_cost(80, 100));
        flows.leave(3);
        flows.leave(2);
        served(&mut flows, 1, 100);
        flows.join(flow(2));
        assert_eq!(counter(&flows, 2), virtual_cost(400, 100), "lifted to the only active one");
        // Who is ahead of the level stays there.
        served(&mut flows, 2, 3);
        flows.leave(2);
        flows.join(flow(2));
        assert_eq!(counter(&flows, 2), virtual_cost(406, 100));
        assert_eq!(
            flows.get(2).expect("known").credit,
            virtual_cost(4, 100),
            "its burst is what the lead leaves of it"
        );
        flows.leave(1);
        flows.leave(2);
        flows.join(flow(4));
        assert_eq!(counter(&flows, 4), virtual_cost(406, 100), "the last to leave is remembered");
    }

    #[test]
    fn idle_flows_are_forgotten_and_active_ones_never() {
        let mut flows = Flows::new(Fairness::default());
        flows.join(flow(0));
        for id in 1..5000 {
            flows.join(flow(id));
            flows.leave(id);
            assert!(flows.known() <= KNOWN_MAX + 1);
        }
        assert!(flows.get(0).is_some() && flows.get(4999).is_some() && flows.get(1).is_none());
    }

    #[test]
    fn shares_follow_weights_and_floors_fit_together() {
        let mut flows = Flows::new(Fairness::default());
        flows.join(Flow { weight: 300, floor_blocks_percent: 80, ..flow(1) });
        flows.join(Flow { weight: 100, floor_blocks_percent: 0, ..flow(2) });
        let of = |flows: &Flows, id| {
            let state = flows.get(id).expect("known");
            (flows.share(state, 100), flows.floor(state, 100))
        };
        assert_eq!((of(&flows, 1), of(&flows, 2)), ((75, 80), (25, 0)));
        flows.join(Flow { weight: 100, floor_blocks_percent: 80, ..flow(3) });
        assert_eq!((of(&flows, 1), of(&flows, 3)), ((60, 50), (20, 50)));
    }
}
