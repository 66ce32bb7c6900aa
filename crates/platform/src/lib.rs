//! The use cases: accounts, admission, limits, metering, chat and completion, redaction, the models that run, their catalogue.
//!
//! Must not know: HTTP servers, wire types, the environment (settings come in as plain structs). Start at [`Platform`].

#![forbid(unsafe_code)]

pub mod access;
pub mod accounts;
pub mod admission;
pub mod catalogue;
pub mod chat;
mod error;
pub mod evaluate;
pub mod files;
mod filter;
pub mod limits;
pub mod measure;
pub mod metering;
#[cfg(feature = "mock")]
pub mod mock;
pub mod models;
pub mod predict;
pub mod pull;
pub mod redact;
pub mod reference;
pub mod registry;
mod reply;
pub mod retained;
pub mod sources;
pub mod stats;
pub mod store;
mod text;
pub mod training;
pub mod vetting;

pub use access::Action;
pub use accounts::{Accounts, Principal};
pub use admission::Admission;
pub use catalogue::{Catalogue, DEFAULT_MODEL};
pub use chat::{ChatMessage, ChatRequest, CompletionRequest, Event, FinishReason, Generate, Prompt, Timings, Usage};
pub use error::Error;
pub use files::{FileSettings, Files};
pub use models::{ModelInfo, ModelState, Platform, Settings};
pub use pull::Puller;
pub use reference::Reference;
pub use reply::Reply;
pub use sources::{OnProgress, Progress, SourceSettings, Step};
pub use stats::ModelStats;
pub use store::{Store, StoredModel};
pub use vetting::Vetting;
