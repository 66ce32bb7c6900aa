//! Who may begin: places, blocks, and the part of a prompt that is cached already.

use super::plan::Started;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, Urgency};
use orrery_model::BlockCopy;

/// What the cache has of a sequence's beginning.
struct Hits {
    /// Whole blocks, to be shared.
    blocks: Vec<u32>,
    /// A block whose first tokens are those that come next, to be copied, and how many they are.
    front: Option<(u32, usize)>,
}

impl Scheduler {
    /// Lets waiting sequences run, the most urgent first, while there are places, blocks for all their known tokens, and
    /// tokens of the step that no more urgent sequence wants. Blocks of which only the front fits are to be copied.
    pub(super) fn admit(&mut self, budget: usize, copies: &mut Vec<BlockCopy>) -> Vec<Started> {
        let mut started = Vec::new();
        while let Some((urgency, _)) = self.waiting.first_key_value() {
            let urgency = *urgency;
            let wanted_before: usize = self.running.range(..urgency).map(|(_, sequence)| sequence.remaining()).sum();
            let hits = self.hits(urgency);
            if wanted_before >= budget || !self.make_room(urgency, &hits.blocks) {
                break;
            }
            started.extend(self.start(urgency, &hits, copies));
        }
        started
    }

    /// Cached blocks that begin the sequence.
    fn hits(&mut self, urgency: Urgency) -> Hits {
        let block_tokens = self.limits.block_tokens;
        let Some(sequence) = self.waiting.get_mut(&urgency) else { return Hits { blocks: Vec::new(), front: None } };
        let (pool, len) = (&self.pool, sequence.len());
        let find = |index| pool.find(&sequence.hash(index, block_tokens));
        let blocks: Vec<u32> = (0..len / block_tokens).map_while(find).collect();
        let from = blocks.len() * block_tokens;
        let next: Vec<u32> = (from..len.min(from + block_tokens)).map(|position| sequence.token(position)).collect();
        let front = pool.find_front(&sequence.parent(blocks.len(), block_tokens), &next);
        Hits { blocks, front }
    }

    /// Makes sure of a place and of blocks for the waiting sequence, preempting running ones of lower priority when
    /// that suffices. `false`, and nothing changed, when it does not.
    fn make_room(&mut self, urgency: Urgency, hits: &[u32]) -> bool {
        let Some(sequence) = self.waiting.get(&urgency) else { return false };
        let hits_cached = hits.iter().filter(|block| self.pool.references(**block) == 0).count();
        let needed = self.blocks_for(sequence.len()) - hits.len() + hits_cached;
        let mut promised: usize = self.running.values().map(|running| self.promised(running)).sum();
        let mut available = self.pool.available();
        let mut places = self.limits.sequences_max - self.running.len();
        let mut victims = Vec::new();
        for (victim, running) in self.running.iter().rev() {
            if places > 0 && available >= needed + promised {
                break;
            }
            if victim.priority() >= urgency.priority() {
                return false;
            }
            promised -= self.promised(running);
            available += running
                .blocks
                .iter()
                .filter(|block| self.pool.references(**block) == 1 && !hits.contains(block))
                .count();
            places += 1;
            victims.push(*victim);
        }
        if places == 0 || available < needed + promised {
            return false;
        }
        // Nothing is allocated between here and `start`, so the hits cannot be lost, whoever held them.
        for victim in victims {
            self.preempt(victim);
        }
        true
    }

    /// Blocks that a running sequence will still take for the tokens that it has.
    pub(super) fn promised(&self, sequence: &Sequence) -> usize {
        self.blocks_for(sequence.len()).saturating_sub(sequence.blocks.len())
    }

    /// At least the last token is left to compute, and every prompt token whose logits are still wanted.
    fn start(&mut self, urgency: Urgency, hits: &Hits, copies: &mut Vec<BlockCopy>) -> Option<Started> {
        let mut sequence = self.waiting.remove(&urgency)?;
        for block in &hits.blocks {
            self.pool.acquire(*block);
        }
        sequence.blocks.extend_from_slice(&hits.blocks);
        sequence.named = hits.blocks.len();
        sequence.stored = hits.blocks.len() * self.limits.block_tokens;
        if let Some((from, count)) = hits.front
            && let Some(to) = self.pool.allocate()
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
        let first_time = !std::mem::replace(&mut sequence.resumed, true);
        if first_time && sequence.prompt_rows_from.is_none() {
            self.counters.prefix_queries_tokens += sequence.prompt.len() as u64;
            self.counters.prefix_hits_tokens += sequence.computed as u64;
        }
        let started = Started { request: sequence.id.request, cached_tokens: sequence.computed };
        let report = first_time && sequence.id.choice == 0;
        self.running.insert(urgency, sequence);
        report.then_some(started)
    }
}
