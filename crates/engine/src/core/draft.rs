//! Speculation by prompt lookup: tokens that have followed the last ones before are computed ahead, as a draft.
//!
//! A sequence that decodes gets its draft after the token that it has to compute, in the same span, with a row of logits
//! for each. The rows are sampled one after the other as if each had been computed alone; while the sample is the
//! drafted token, the next row is worth reading:
//!
//! ```text
//!   tokens   t    d1   d2   d3        t is known; d1 to d3 are the draft
//!   samples  d1   d2   x    –         two are accepted, x is the token after them, the last row is not read
//! ```
//!
//! A row's logits depend on the tokens before it alone, so what is sampled is what would have been sampled without a
//! draft. Keys and values of refused tokens are never counted as computed, and are written over.

use super::scheduler::Scheduler;
use super::sequence::{Sequence, Urgency};

/// Longer matches are not told apart.
pub const MATCH_MAX: usize = 8;
/// Tokens of a sequence's first draft.
const FIRST: usize = 2;
/// The longest pause after drafts that were refused is 2 to this power of steps.
const PAUSE_MAX_POWER: u32 = 6;

/// How drafts are made. The default makes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drafts {
    /// Draft tokens of a step. What the step has to compute beyond one token takes their place, so that many sequences, or a
    /// prompt, leave none: rows are cheap only where there are few. 0: no drafts.
    pub tokens_max: usize,
    /// Tokens that have to recur before what followed them is drafted.
    pub match_min: usize,
    /// How many tokens back the match may lie.
    pub window: usize,
}

/// How far a sequence's drafts are trusted: their length doubles when all of one is accepted and falls to what was
/// accepted otherwise; after one that was refused whole comes a pause, twice as long each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    length: usize,
    pause: usize,
    misses: u32,
}

impl Default for Trust {
    fn default() -> Self {
        Self { length: FIRST, pause: 0, misses: 0 }
    }
}

impl Trust {
    /// The longest draft that this step should have.
    fn length(&mut self) -> usize {
        if self.pause > 0 {
            self.pause -= 1;
            return 0;
        }
        self.length
    }

    pub fn learn(&mut self, drafted: usize, accepted: usize) {
        if accepted == 0 {
            self.misses = (self.misses + 1).min(PAUSE_MAX_POWER);
            self.pause = 1 << self.misses;
            self.length = 1;
            return;
        }
        self.misses = 0;
        self.length = if accepted == drafted { self.length.max(drafted).saturating_mul(2) } else { accepted };
    }
}

impl Scheduler {
    /// A draft for each share of a step that decodes, made of what the step has left in tokens, logits and blocks; nothing
    /// is preempted for it. The blocks are given to the sequences.
    pub(super) fn drafts(&mut self, shares: &[(Urgency, usize)], budget: usize) -> Vec<Vec<u32>> {
        let mut drafts = vec![Vec::new(); shares.len()];
        let mut room = self.draft_room(shares, budget);
        let promised: usize = self.running.values().map(|sequence| self.promised(sequence)).sum();
        let rules = self.limits.drafts;
        let block_tokens = self.limits.block_tokens;
        for (index, (urgency, _)) in shares.iter().enumerate() {
            if room == 0 {
                break;
            }
            let most = room.div_ceil(shares.len() - index);
            let Some(sequence) = self.running.get_mut(urgency).filter(|sequence| sequence.is_decoding()) else {
                continue;
            };
            let draft = sequence.draft(most, rules);
            let held = sequence.blocks.len();
            let blocks = self.pool.available_to(sequence.flow).saturating_sub(promised);
            // The token that decodes has its block already.
            let fitting = (held + blocks) * block_tokens - sequence.len();
            let draft = &draft[..draft.len().min(fitting)];
            let needed = (sequence.len() + draft.len()).div_ceil(block_tokens) - held;
            sequence.blocks.extend((0..needed).map_while(|_| self.pool.allocate(sequence.flow)));
            sequence.drafted = draft.len();
            room -= draft.len();
            drafts[index] = draft.to_vec();
        }
        drafts
    }

    /// Draft tokens that the step has room for.
    fn draft_room(&self, shares: &[(Urgency, usize)], budget: usize) -> usize {
        let tokens: usize = shares.iter().map(|(_, count)| count).sum();
        let rows = |(urgency, count): &(Urgency, usize)| {
            self.running.get(urgency).map_or(0, |sequence| sequence.logit_rows(*count))
        };
        let rows: usize = shares.iter().map(rows).sum();
        let tokens_max = self.limits.drafts.tokens_max;
        let beside = tokens_max.saturating_sub(tokens.saturating_sub(1));
        beside.min(budget.saturating_sub(tokens)).min(self.limits.step_logits_max.saturating_sub(rows))
    }
}

impl Sequence {
    /// The draft of this step: at most `most` tokens, as far as they are trusted and may still be generated. The sequence
    /// decodes.
    fn draft(&mut self, most: usize, rules: Drafts) -> Vec<u32> {
        // The step gives one token more than are accepted.
        let wanted = (self.max_tokens - self.generated.len()).saturating_sub(1);
        let most = most.min(wanted).min(self.trust.length());
        if most == 0 {
            return Vec::new();
        }
        match find(|position| self.token(position), self.len(), rules) {
            Some(from) => follow(|position| self.token(position), self.len(), from, most),
            None => Vec::new(),
        }
    }
}

/// Where the last tokens occurred before: the position after the longest such place, the latest one among equals. At
/// most `window` × [`MATCH_MAX`] comparisons.
fn find(token: impl Fn(usize) -> u32, len: usize, rules: Drafts) -> Option<usize> {
    let common =
        |end: usize| (0..MATCH_MAX.min(end)).take_while(|back| token(end - 1 - back) == token(len - 1 - back)).count();
    let mut best = None;
    let mut longest = rules.match_min.max(1) - 1;
    for end in (len.saturating_sub(rules.window).max(1)..len).rev() {
        let length = common(end);
        if length > longest {
            (best, longest) = (Some(end), length);
        }
        if longest >= MATCH_MAX {
            break;
        }
    }
    best
}

/// `count` tokens from `from` on. Past the last known token they go on with the draft itself, as a loop does.
fn follow(token: impl Fn(usize) -> u32, len: usize, from: usize, count: usize) -> Vec<u32> {
    let mut draft: Vec<u32> = Vec::with_capacity(count);
    for position in from..from + count {
        draft.push(if position < len { token(position) } else { draft[position - len] });
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::{Drafts, PAUSE_MAX_POWER, Trust, find, follow};

    const NONE: [u32; 0] = [];
    const RULES: Drafts = Drafts { tokens_max: 8, match_min: 2, window: 100 };

    fn draft(tokens: &[u32], rules: Drafts) -> Vec<u32> {
        let token = |position: usize| tokens[position];
        find(token, tokens.len(), rules).map_or(Vec::new(), |from| follow(token, tokens.len(), from, 4))
    }

    #[test]
    fn the_longest_match_wins_and_then_the_latest() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 6, 9, 2, 3], RULES), [4, 5, 6, 9]);
        // 2 3 → 7 is later, 1 2 3 → 4 is longer.
        assert_eq!(draft(&[1, 2, 3, 4, 8, 2, 3, 7, 8, 1, 2, 3], RULES), [4, 8, 2, 3]);
        assert_eq!(draft(&[2, 3, 4, 8, 2, 3, 7, 8, 9, 2, 3], RULES), [7, 8, 9, 2]);
    }

    #[test]
    fn a_loop_is_drafted_past_its_end() {
        assert_eq!(draft(&[5, 5, 5], RULES), [5, 5, 5, 5]);
        assert_eq!(draft(&[1, 2, 3, 1, 2, 3], RULES), [1, 2, 3, 1]);
    }

    #[test]
    fn too_short_too_far_or_no_match_drafts_nothing() {
        assert_eq!(draft(&[1], RULES), NONE);
        assert_eq!(draft(&[3, 4, 5, 3], RULES), NONE);
        assert_eq!(draft(&[3, 4, 5, 3], Drafts { match_min: 1, ..RULES }), [4, 5, 3, 4]);
        let far = [1, 2, 3, 9, 9, 7, 8, 1, 2];
        assert_eq!(draft(&far, Drafts { window: 7, ..RULES }), [3, 9, 9, 7]);
        assert_eq!(draft(&far, Drafts { window: 6, ..RULES }), NONE);
    }

    #[test]
    fn trust_grows_with_success_and_pauses_longer_after_each_failure() {
        let mut trust = Trust::default();
        assert_eq!(trust.length(), 2);
        trust.learn(2, 2);
        trust.learn(4, 4);
        assert_eq!(trust.length(), 8);
        trust.learn(8, 3);
        assert_eq!(trust.length(), 3);
        for power in (1..=PAUSE_MAX_POWER).chain([PAUSE_MAX_POWER]) {
            trust.learn(1, 0);
            let pause = (0..).take_while(|_| trust.length() == 0).count();
            assert_eq!(pause, 1 << power);
        }
        trust.learn(1, 1);
        assert_eq!(trust.length(), 2);
        trust.learn(2, 0);
        assert_eq!(trust.pause, 2, "a success forgives");
    }
}
