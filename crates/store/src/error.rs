//! What the store can refuse, split by what the caller can do.

/// The result of every operation of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// `server` maps each case to a status and a body; a message names the bad value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is outside its bounds. Send another.
    #[error("{0}")]
    BadInput(String),
    /// There is no such row or blob (any more).
    #[error("{0}")]
    NotFound(String),
    /// The id is taken, or the row is in a state that does not allow this.
    #[error("{0}")]
    Conflict(String),
    /// The disk is full. Nothing was changed; free some space and try again.
    #[error("{0}")]
    Full(String),
    /// A tenant would have more than it may. Nothing was changed.
    #[error("{0}")]
    OverQuota(String),
    /// The database is locked by another process for too long, or the disk fails. Nothing is known to have changed, and
    /// what the caller wanted written is still its own to keep; try again.
    #[error("{0}")]
    Unavailable(String),
    /// A later version of the program has written this database. Start that version.
    #[error(
        "the database {path} has schema version {found}, and this program knows versions up to {known}; start the \
             later version of the program that wrote it, or restore a copy from before"
    )]
    NewerDatabase {
        /// The file.
        path: String,
        /// The version in the file.
        found: i64,
        /// The newest version that this program reads.
        known: i64,
    },
    /// What was read is not what was written: damaged, or tampered with. Restore a copy.
    #[error("{0}")]
    Corrupt(String),
    /// A data key is wrapped by a master key that was not given. Give that one too.
    #[error(
        "the data key of tenant `{tenant}` is wrapped by the master key {wanted}, which is not among those given; \
             start with that master key as well"
    )]
    MasterKey {
        /// Whose data key.
        tenant: String,
        /// Id of the master key that is needed.
        wanted: String,
    },
    /// A fault in the program.
    #[error("{message}")]
    Internal {
        /// What was being done.
        message: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into(), source: None }
    }

    /// A failure of the disk while `doing`: a full one is told apart from the rest.
    pub(crate) fn disk(doing: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::full(doing),
            _ => Self::Unavailable(format!("{doing}: {error}")),
        }
    }

    pub(crate) fn full(doing: &str) -> Self {
        Self::Full(format!("{doing}: the disk is full; free some space and try again"))
    }
}

/// Refuses `value` of `field` unless it lies in `range`.
pub(crate) fn check_range(field: &str, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::BadInput(format!("`{field}` {value} is not in the range {least} to {most}")))
}

/// Refuses a text that is over `most_bytes`, or has a control character.
pub(crate) fn check_text(field: &str, value: &str, most_bytes: usize) -> Result<()> {
    if value.len() > most_bytes {
        let bytes = value.len();
        return Err(Error::BadInput(format!("`{field}` has {bytes} bytes, and at most {most_bytes} are allowed")));
    }
    match value.chars().find(|char| char.is_control()) {
        Some(char) => Err(Error::BadInput(format!("`{field}` has the control character {char:?}; leave it out"))),
        None => Ok(()),
    }
}
