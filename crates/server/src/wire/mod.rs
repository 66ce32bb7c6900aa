//! Wire types: what comes in, what goes out, and how the one becomes a domain type and the other is made of one.
//!
//! `fields` reads a JSON object and names the field at fault; `params` is the table of parameters, from which both the
//! checks and the OpenAPI schemas come; `chat` and `completion` are the two request and response families.

pub mod accounts;
pub mod chat;
pub mod chat_messages;
pub mod choices;
pub mod completion;
pub mod completion_logprobs;
pub mod fields;
pub mod files;
pub mod generate;
pub mod not_built;
pub mod params;
pub mod query;
pub mod registry;
pub mod retained;
pub mod tensors;
pub mod training;
pub mod usage;

#[cfg(test)]
pub mod samples;
