//! One choice of one request, as the scheduler sees it: tokens, how many of them are computed, and in which blocks.

use super::blocks::Name;
use super::draft::Trust;
use super::flow::Flow;
use super::prefix::{self, BlockHash};
use std::cmp::Reverse;
use std::sync::Arc;

/// Names a choice of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId {
    pub request: u64,
    pub choice: usize,
}

/// Urgency within a flow: the smaller one is served first and preempted last. A total order: priority, then arrival, then
/// choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Urgency {
    priority: Reverse<i32>,
    id: SequenceId,
}

impl Urgency {
    pub fn new(priority: i32, id: SequenceId) -> Self {
        Self { priority: Reverse(priority), id }
    }

    pub fn priority(&self) -> i32 {
        self.priority.0
    }

    pub fn id(&self) -> SequenceId {
        self.id
    }
}

/// What a request asks of the scheduler.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Rises with arrival: equal priorities of a flow are served in this order.
    pub request: u64,
    pub flow: Flow,
    /// Not empty.
    pub prompt: Arc<[u32]>,
    /// 0 computes the prompt and samples nothing.
    pub max_tokens: usize,
    pub choices: usize,
    pub priority: i32,
    pub salt: Vec<u8>,
    /// Logits are wanted for every prompt token but the last.
    pub prompt_logits: bool,
}

/// Layout of a sequence's tokens:
///
/// ```text
///   0 ─────────────── prompt.len() ──────── len()
///   │ prompt          │ generated           │
///   │ in blocks              │ not computed │
///   0 ────────────────── computed ──────── len()      computed = len() only between a step and its commit
/// ```
///
/// A sequence may begin with more keys and values than it counts as computed (`stored`): the last token before a sample, and
/// prompt tokens whose logits are wanted, are computed again for their logits alone.
#[derive(Debug)]
pub struct Sequence {
    pub id: SequenceId,
    pub urgency: Urgency,
    /// Id of its flow.
    pub flow: u64,
    pub prompt: Arc<[u32]>,
    pub generated: Vec<u32>,
    pub max_tokens: usize,
    /// Tokens whose keys and values are in `blocks`.
    pub computed: usize,
    /// Tokens whose keys and values were in `blocks` when it began to run.
    pub stored: usize,
    /// A step has been committed since it began to run, so that its blocks hold what they should.
    pub settled: bool,
    pub blocks: Vec<u32>,
    /// Blocks from the front that have been given their name.
    pub named: usize,
    /// Rows of prompt logits still wanted begin here; `None` when none are.
    pub prompt_rows_from: Option<usize>,
    /// The sequence has run before (it was preempted).
    pub resumed: bool,
    /// Tokens of the prompt that were counted as its flow's service, or were cached.
    pub counted: usize,
    /// Draft tokens of the step under way.
    pub drafted: usize,
    pub trust: Trust,
    root: BlockHash,
    /// Names of the full blocks as far as they were needed.
    hashes: Vec<BlockHash>,
}

impl Sequence {
    pub fn new(spec: &Spec, choice: usize, root: BlockHash) -> Self {
        let id = SequenceId { request: spec.request, choice };
        Self {
            id,
            urgency: Urgency::new(spec.priority, id),
            flow: spec.flow.id,
            prompt: spec.prompt.clone(),
            generated: Vec::new(),
            max_tokens: spec.max_tokens,
            computed: 0,
            stored: 0,
            settled: false,
            blocks: Vec::new(),
            named: 0,
            prompt_rows_from: (spec.prompt_logits && choice == 0).then_some(0),
            resumed: false,
            counted: 0,
            drafted: 0,
            trust: Trust::default(),
            root,
            hashes: Vec::new(),
        }
    }

    /// Tokens known so far. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "a sequence has a prompt")]
    pub fn len(&self) -> usize {
        self.prompt.len() + self.generated.len()
    }

    pub fn token(&self, position: usize) -> u32 {
        match self.prompt.get(position) {
            Some(token) => *token,
            None => self.generated[position - self.prompt.len()],
        }
    }

    /// Tokens to compute before the next one can be sampled.
    pub fn remaining(&self) -> usize {
        self.len() - self.computed
    }

    /// Tokens of the prompt that will be counted.
    pub fn uncounted(&self) -> usize {
        self.prompt.len().saturating_sub(self.counted)
    }

    /// One token from the next sample, and that one is a generated token.
    pub fn is_decoding(&self) -> bool {
        self.remaining() == 1 && !self.generated.is_empty()
    }

    /// Name of full block `index`. The tokens of that block are known.
    pub fn hash(&mut self, index: usize, block_tokens: usize) -> BlockHash {
        while self.hashes.len() <= index {
            let from = self.hashes.len() * block_tokens;
            let parent = self.hashes.last().unwrap_or(&self.root);
            let hash = prefix::chain(parent, (from..from + block_tokens).map(|position| self.token(position)));
            self.hashes.push(hash);
        }
        self.hashes[index]
    }

    /// Name of the block before block `index`, or of the root.
    pub fn parent(&mut self, index: usize, block_tokens: usize) -> BlockHash {
        match index.checked_sub(1) {
            Some(before) => self.hash(before, block_tokens),
            None => self.root,
        }
    }

    /// Name of block `index`, which ends with token `end`.
    pub fn name(&mut self, index: usize, end: usize, block_tokens: usize) -> Name {
        let parent = self.parent(index, block_tokens);
        let tokens: Box<[u32]> = (index * block_tokens..end).map(|position| self.token(position)).collect();
        let is_full = tokens.len() == block_tokens;
        let hash =
            if is_full { self.hash(index, block_tokens) } else { prefix::chain(&parent, tokens.iter().copied()) };
        Name { hash, parent, tokens }
    }

    /// Prompt positions whose logits are wanted among `count` tokens from `computed`.
    pub fn prompt_rows(&self, count: usize) -> std::ops::Range<usize> {
        match self.prompt_rows_from {
            None => 0..0,
            Some(from) => {
                let end = (self.computed + count).min(self.prompt.len() - 1);
                self.computed.max(from).min(end)..end
            }
        }
    }

    /// Rows of logits that `count` tokens from `computed` have.
    pub fn logit_rows(&self, count: usize) -> usize {
        self.prompt_rows(count).len() + usize::from(self.samples(count))
    }

    /// Whether the last of `count` tokens is followed by a sample.
    pub fn samples(&self, count: usize) -> bool {
        count == self.remaining() && self.max_tokens > 0
    }
}
