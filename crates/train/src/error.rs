//! What training can refuse, split by what the caller can do.

/// The result of every operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A message names the bad value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data are at fault. Mend the row and column that the message names.
    #[error("{0}")]
    BadData(String),
    /// A field of the job is at fault.
    #[error("{message}")]
    BadSpec {
        /// The field's path in the job, such as `hyperparameters.learning_rate`.
        field: String,
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// Loss or weights are no numbers any more.
    #[error("{0}")]
    Diverged(String),
    /// A limit of memory, time or disk was reached.
    #[error("{0}")]
    LimitReached(String),
    /// The caller asked for the end; what was learnt is in the last checkpoint.
    #[error("cancelled")]
    Cancelled,
    /// A file could not be read or written.
    #[error("{what}")]
    File {
        /// Which file, and what was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}
