//! Who may begin: places, blocks, and the part of a prompt that is cached already.

use super::plan::Started;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, Urgency};

impl Scheduler {
    /// Lets waiting sequences run, the most urgent first, while there are places, blocks for all their known tokens, and
    /// tokens of the step that no more urgent sequence wants.
    pub(super) fn admit(&mut self, budget: usize) -> Vec<Started> {
        let mut started = Vec::new();
        while let Some((urgency, _)) = self.waiting.first_key_value() {
            let urgency = *urgency;
            let wanted_before: usize = self.running.range(..urgency).map(|(_, sequence)| sequence.remaining()).sum();
            let hits = self.hits(urgency);
            if wanted_before >= budget || !self.make_room(urgency, &hits) {
                break;
            }
            started.extend(self.start(urgency, &hits));
        }
        started
    }

    /// Cached blocks that begin the sequence. At least its last token is left to compute, and every prompt token whose
    /// logits are still wanted.
    fn hits(&mut self, urgency: Urgency) -> Vec<u32> {
        let block_tokens = self.limits.block_tokens;
        let Some(sequence) = self.waiting.get_mut(&urgency) else { return Vec::new() };
        let skippable = sequence.prompt_rows_from.unwrap_or(usize::MAX).min(sequence.len() - 1);
        let pool = &self.pool;
        (0..skippable / block_tokens).map_while(|index| pool.find(&sequence.hash(index, block_tokens))).collect()
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

    fn start(&mut self, urgency: Urgency, hits: &[u32]) -> Option<Started> {
        let mut sequence = self.waiting.remove(&urgency)?;
        for block in hits {
            self.pool.acquire(*block);
        }
        sequence.blocks.extend_from_slice(hits);
        sequence.named = hits.len();
        sequence.computed = hits.len() * self.limits.block_tokens;
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
