//! What the engine thread and the handles share: the command queue, the state, the counters.

use crate::core::flow::Flow;
use crate::core::sequence::SequenceId;
use crate::request::{Error, FinishReason, Request, TokenLogprobs};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// What handles ask of the engine thread.
pub enum Command {
    Submit(Box<Submission>),
    /// The reader of a request is gone.
    Cancel(u64),
    /// A stop string was found in this choice.
    CancelChoice(SequenceId),
    /// End after failing what is left.
    Stop,
}

/// A checked request on its way to the engine thread.
pub struct Submission {
    pub id: u64,
    pub request: Request,
    pub seed: u64,
    /// Bounded by construction: at most `max_tokens` × `n` tokens and three events more for each choice.
    pub events: UnboundedSender<Raw>,
}

/// Events before detokenisation. `at`: when it happened, however late it is read.
#[derive(Debug)]
pub enum Raw {
    Started {
        cached_tokens: usize,
        at: Instant,
    },
    Prompt(Vec<Option<TokenLogprobs>>),
    /// `end`: this is the choice's last token; after `Stop` it is a stop token, which has no text.
    Token {
        choice: usize,
        token: u32,
        logprobs: Option<TokenLogprobs>,
        end: Option<FinishReason>,
        at: Instant,
    },
    /// The choice ends without a token (`max_tokens` 0).
    Ended {
        choice: usize,
        at: Instant,
    },
    Failed(Error),
}

const RUNNING: u8 = 0;
const STOPPING: u8 = 1;
const FAILED: u8 = 2;

/// Shared by the engine thread and all handles.
pub struct Shared {
    pub commands: mpsc::Sender<Command>,
    pub counters: Counters,
    state: AtomicU8,
    next_id: AtomicU64,
    /// Requests that wait, by flow; those without any are not in it.
    queued: Mutex<HashMap<u64, usize>>,
}

/// Gauges and counters; each is written by the engine thread, `queued` by handles too.
#[derive(Debug, Default)]
pub struct Counters {
    pub queued: AtomicUsize,
    pub running: AtomicUsize,
    pub preempted: AtomicUsize,
    pub blocks_used: AtomicUsize,
    pub blocks_cached: AtomicUsize,
    pub prefix_queries_tokens: AtomicU64,
    pub prefix_hits_tokens: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub generation_tokens: AtomicU64,
    pub preemptions: AtomicU64,
    pub steps: AtomicU64,
    pub drafts: AtomicU64,
    pub drafts_tokens: AtomicU64,
    pub drafts_accepted_tokens: AtomicU64,
}

impl Shared {
    pub fn new(commands: mpsc::Sender<Command>) -> Self {
        Self {
            commands,
            counters: Counters::default(),
            state: AtomicU8::new(RUNNING),
            next_id: AtomicU64::new(0),
            queued: Mutex::default(),
        }
    }

    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, SeqCst)
    }

    /// From now on nothing is accepted.
    pub fn set_stopping(&self) {
        // A failure stays a failure.
        let _ = self.state.compare_exchange(RUNNING, STOPPING, SeqCst, SeqCst);
    }

    pub fn set_failed(&self) {
        self.state.store(FAILED, SeqCst);
    }

    /// Why the engine accepts nothing, if it does not.
    pub fn closed(&self) -> Option<Error> {
        match self.state.load(SeqCst) {
            RUNNING => None,
            STOPPING => Some(Error::ShuttingDown),
            _ => Some(fault()),
        }
    }

    /// Takes one of the queue's places, if the flow may have one more.
    pub fn enter_queue(&self, queue_max: usize, flow: &Flow) -> Result<(), Error> {
        let mut queued = self.queued();
        let own = queued.get(&flow.id).copied().unwrap_or(0);
        let share = (queue_max * flow.queue_share_percent as usize / 100).clamp(1, queue_max);
        let full = |limit| Err(Error::Overloaded { limit, retry_after_s: 1 });
        if own >= share {
            return full(share);
        }
        if self.counters.queued.load(SeqCst) >= queue_max {
            return full(queue_max);
        }
        queued.insert(flow.id, own + 1);
        self.counters.queued.fetch_add(1, SeqCst);
        Ok(())
    }

    pub fn leave_queue(&self, flow: u64) {
        let mut queued = self.queued();
        if let Some(own) = queued.get_mut(&flow) {
            *own -= 1;
            if *own == 0 {
                queued.remove(&flow);
            }
        }
        self.counters.queued.fetch_sub(1, SeqCst);
    }

    /// Nothing panics while it is held, and counts are never half written.
    fn queued(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What clients read after a panic; the cause is in the log, not in an answer.
pub fn fault() -> Error {
    Error::Internal(
        "it stopped after an internal fault, which the server's log names; the model has to be loaded again".into(),
    )
}
