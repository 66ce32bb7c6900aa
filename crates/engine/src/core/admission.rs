//! Who may begin: places, blocks, and the part of a prompt that is cached already.

use super::plan::Started;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, Urgency};
use orrery_model::BlockCopy;

/// What an admission finds, or makes.
pub(super) struct Room {
    pub places: usize,
    pub available: usize,
    /// Blocks for the sequence, and those promised to the ones that run.
    pub wanted: usize,
}

impl Room {
    pub fn has_blocks(&self) -> bool {
        self.available >= self.wanted
    }

    pub fn suffices(&self) -> bool {
        self.places > 0 && self.has_blocks()
    }
}

/// What the cache has of a sequence's beginning.
struct Hits {
    /// Whole blocks, to be shared.
    blocks: Vec<u32>,
    /// A block whose first tokens are those that come next, to be copied, and how many they are.
    front: Option<(u32, usize)>,
}

impl Scheduler {
    /// Lets waiting sequences run while there are places and blocks for all their known tokens: the most urgent one of the
    /// flow with the least claim, again and again. A flow whose prompts fill the step, or for which there is no room, holds
    /// up the rest, so that it gets the tokens, or what becomes free. Blocks of which only the front fits are to be copied.
    pub(super) fn admit(&mut self, budget: usize, copies: &mut Vec<BlockCopy>) -> Vec<Started> {
        let mut started = Vec::new();
        while let Some((flow, urgency)) = self.flows.next() {
            let before = self.running.range(..urgency).filter(|(_, sequence)| sequence.flow == flow);
            if before.map(|(_, sequence)| sequence.remaining()).sum::<usize>() >= budget {
                break;
            }
            let Some(hits) = self.hits(flow, urgency) else { break };
            if !self.make_room(flow, urgency, &hits.blocks) {
                break;
            }
            started.extend(self.start(flow, urgency, &hits, copies));
        }
        started
    }

    /// Cached blocks that begin the sequence.
    fn hits(&mut self, flow: u64, urgency: Urgency) -> Option<Hits> {
        let block_tokens = self.limits.block_tokens;
        let sequence = self.flows.get_mut(flow)?.waiting.get_mut(&urgency)?;
        let (pool, len) = (&self.pool, sequence.len());
        let find = |index| pool.find(&sequence.hash(index, block_tokens));
        let blocks: Vec<u32> = (0..len / block_tokens).map_while(find).collect();
        let from = blocks.len() * block_tokens;
        let next: Vec<u32> = (from..len.min(from + block_tokens)).map(|position| sequence.token(position)).collect();
        let front = pool.find_front(&sequence.parent(blocks.len(), block_tokens), &next);
        Some(Hits { blocks, front })
    }

    /// Makes sure of a place and of blocks for the waiting sequence, preempting running ones when that suffices: first those
    /// that other flows run beyond their shares while this one has less than its own, then those of lower priority in
    /// its own flow. `false`, and nothing changed, when it does not.
    fn make_room(&mut self, flow: u64, urgency: Urgency, hits: &[u32]) -> bool {
        let Some(sequence) = self.flows.get(flow).and_then(|state| state.waiting.get(&urgency)) else { return false };
        let hits_cached = hits.iter().filter(|block| self.pool.references(**block) == 0).count();
        let needed = self.blocks_for(sequence.len()) - hits.len() + hits_cached;
        let promised: usize = self.running.values().map(|running| self.promised(running)).sum();
        let places = self.limits.sequences_max - self.running.len();
        // Who would run alone may have all there is: it will be the elder.
        let available = if self.running.is_empty() { self.pool.available() } else { self.pool.available_to(flow) };
        let mut room = Room { places, available, wanted: needed + promised };
        let mut victims = Vec::new();
        if !room.suffices() {
            self.beyond_shares(flow, needed, &mut room, &mut victims, hits);
        }
        for (victim, running) in self.running.iter().rev().filter(|(_, running)| running.flow == flow) {
            if room.suffices() {
                break;
            }
            if victim.priority() >= urgency.priority() {
                return false;
            }
            self.vacate(running, hits, &mut room);
            victims.push(*victim);
        }
        if !room.suffices() {
            return false;
        }
        // Nothing is allocated between here and `start`, so the hits cannot be lost, whoever held them.
        for victim in victims {
            self.preempt(victim);
        }
        true
    }

    /// What there will be when the running sequence is gone; the blocks of its own that become available.
    pub(super) fn vacate(&self, running: &Sequence, hits: &[u32], room: &mut Room) -> usize {
        let is_freed = |block: &&u32| self.pool.references(**block) == 1 && !hits.contains(block);
        let freed = running.blocks.iter().filter(is_freed).count();
        room.wanted -= self.promised(running);
        room.available += freed;
        room.places += 1;
        freed
    }

    /// Blocks that a running sequence will still take for the tokens that it has.
    pub(super) fn promised(&self, sequence: &Sequence) -> usize {
        self.blocks_for(sequence.len()).saturating_sub(sequence.blocks.len())
    }

    /// At least the last token is left to compute, and every prompt token whose logits are still wanted.
    fn start(&mut self, flow: u64, urgency: Urgency, hits: &Hits, copies: &mut Vec<BlockCopy>) -> Option<Started> {
        let mut sequence = self.flows.get_mut(flow)?.waiting.remove(&urgency)?;
        for block in &hits.blocks {
            self.pool.acquire(*block);
        }
        sequence.blocks.extend_from_slice(&hits.blocks);
        sequence.named = hits.blocks.len();
        sequence.stored = hits.blocks.len() * self.limits.block_tokens;
        if let Some((from, count)) = hits.front
            && let Some(to) = self.pool.allocate(flow)
        {
            // When it is the only one to be had, the block itself is taken, with what it holds.
            if to != from {
                copies.push(BlockCopy { from, to });
            }
            sequence.blocks.push(to);
            sequence.stored += count;
        }
        let skippable = sequence.prompt_rows_from.unwrap_or(usize::MAX).min(sequence.len() - 1);
        sequence.computed = sequence.stored.min(skippable);
        // A prompt's last token is computed again where its logits are wanted.
        sequence.counted = sequence.counted.max(sequence.computed.min(sequence.prompt.len()));
        let first_time = !std::mem::replace(&mut sequence.resumed, true);
        if first_time && sequence.prompt_rows_from.is_none() {
            self.counters.prefix_queries_tokens += sequence.prompt.len() as u64;
            self.counters.prefix_hits_tokens += sequence.computed as u64;
        }
        let started = Started { request: sequence.id.request, cached_tokens: sequence.computed };
        let report = first_time && sequence.id.choice == 0;
        self.run(sequence);
        report.then_some(started)
    }
}
