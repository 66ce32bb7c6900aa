//! Continuous batching: scheduler, block allocator, prefix cache, sampler, and the async handle in front of one engine
//! thread.
//!
//! Must not know: tenants, HTTP, the database. `core` is pure: integers in, integers out, no async, no clock.
//! Start at [`Handle`], then [`core`].

pub mod core;
pub mod executor;
pub mod handle;
pub mod request;
pub mod sample;
mod worker;

pub use executor::{Executor, ModelExecutor, Shape};
pub use handle::{ChatMessage, Engine, Generation, Handle, Load, LoadError, Settings, Stats};
pub use request::{Error, Event, FinishReason, Logprob, Request, Sampling, TokenLogprobs, Usage};
