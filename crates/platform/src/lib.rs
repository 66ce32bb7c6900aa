//! The use cases: admission, chat and completion, the models that run, the model catalogue and its downloads.
//!
//! Must not know: HTTP servers, wire types, the environment (settings come in as plain structs). Start at [`Platform`].

pub mod admission;
pub mod catalogue;
pub mod chat;
mod error;
pub mod models;
pub mod store;

pub use admission::Admission;
pub use chat::{ChatMessage, ChatRequest, CompletionRequest, Event, FinishReason, Generate, Prompt, Reply, Usage};
pub use error::Error;
pub use models::{ModelInfo, ModelState, ModelStats, Platform, Settings};
