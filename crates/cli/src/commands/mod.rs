//! One file per command.

pub mod bench;
pub mod chat;
pub mod completions;
pub mod eval;
pub mod key;
pub mod list;
pub mod pull;
pub mod rm;
pub mod serve;
