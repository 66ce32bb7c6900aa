//! Continuous batching: scheduler, block allocator, prefix cache, sampler, and the async handle in front of one engine
//! thread.
//!
//! Must not know: tenants, HTTP, the database. `core` is pure: integers in, integers out, no async, no clock.
//! Start at [`Handle`], then [`core`].

#![forbid(unsafe_code)]

mod check;
pub mod core;
pub mod executor;
mod generation;
pub mod handle;
mod inspect;
mod live;
#[cfg(feature = "mock")]
pub mod mock;
mod pace;
pub mod request;
pub mod sample;
mod settings;
mod shared;
mod stop;
mod text;
mod worker;

pub use core::flow::Flow;
pub use executor::{Executor, ModelExecutor, Shape};
pub use generation::{Canceller, Generation};
pub use handle::{ChatMessage, Engine, Handle, Load, LoadError, Roofline, Stats};
pub use inspect::{inspect, places};
pub use request::{Error, Event, FinishReason, Logprob, Request, Sampling, Timings, TokenLogprobs, Usage};
pub use settings::Settings;
pub use text::{Detokenize, Text};
