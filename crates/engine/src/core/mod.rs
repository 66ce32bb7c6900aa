//! The scheduling core: a pure object over integers.
//!
//! Owns which sequences run, which tokens each step computes and which KV blocks hold them. No tensors, no threads, no
//! clock and no async: the same calls give the same plans. Start at [`scheduler::Scheduler`]; [`blocks`] keeps the
//! memory, [`prefix`] names its contents, [`sequence`] is one choice of one request, [`draft`] guesses its next tokens,
//! [`flow`] counts who had how much, and `fair` shares tokens, places and blocks by it.

mod admission;
pub mod blocks;
pub mod draft;
mod fair;
pub mod flow;
mod plan;
pub mod prefix;
pub mod scheduler;
pub mod sequence;

pub use plan::{Plan, Row, Started};
