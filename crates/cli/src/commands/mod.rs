//! One file per command.

pub mod audit;
pub mod bench;
pub mod chat;
pub mod check;
pub mod completions;
pub mod eval;
pub mod key;
pub mod list;
pub mod price;
pub mod pull;
pub mod rm;
pub mod serve;
pub mod tenant;
pub mod train;
pub mod train_worker;
pub mod usage;
pub mod vault;
