//! Changes that a running server must hear of.

use crate::error::Result;
use async_trait::async_trait;

/// Tells whether another process, such as the command line, changed what a server keeps in memory.
#[async_trait]
pub trait Changes: std::fmt::Debug + Send + Sync {
    /// How many changes were made to tenants, keys and prices so far, by any process. While it stays, so do they. It
    /// grows in the same transaction as the change. Rows of usage, of audit and of last use do not count, so that a busy
    /// server does not reload for its own work. One read of one row: cheap enough to ask twice a second.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn changes(&self) -> Result<u64>;
}
