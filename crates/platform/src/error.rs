//! What the platform can refuse, split by what the caller can do.

/// `server` maps each case to a status and a body; `cli` prints the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `param`: the field's name in OpenAI's API, where there is one.
    #[error("{message}")]
    BadInput { param: Option<&'static str>, message: String },
    /// The same for a field whose path is known only when the program runs, such as `hyperparameters.epochs`.
    #[error("{message}")]
    BadField { field: String, message: String },
    /// A prompt, or what is asked for after it, does not fit into the model's context.
    #[error("{message}")]
    TooLong { param: &'static str, message: String },
    /// A file is over a limit of bytes.
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// No key, or one that is not good any more.
    #[error("{0}")]
    Unauthenticated(String),
    /// The key's role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// A limit or a budget of the tenant or the key is in the way.
    #[error("{message}")]
    Limited {
        message: String,
        /// Exact where only time is waited for.
        retry_after_ms: Option<u64>,
        /// A month's budget: to try again soon is of no use.
        is_budget: bool,
    },
    #[error("{message}")]
    Overloaded { message: String, retry_after_s: u64 },
    /// Loading, draining, or a source that cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The disk is full.
    #[error("{0}")]
    NoSpace(String),
    #[error("{message}")]
    Internal {
        message: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// Bad input that no field of the API names.
    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::BadInput { param: None, message: message.into() }
    }

    /// A failure of the disk: a full one is told apart from the rest.
    pub(crate) fn disk(what: &str, error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace(format!(
                "{what}: the disk is full; free some space, or choose another folder with --data-dir"
            )),
            _ => Self::Internal { message: format!("{what}: {error}"), source: Some(Box::new(error)) },
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into(), source: None }
    }
}

impl From<orrery_store::Error> for Error {
    fn from(error: orrery_store::Error) -> Self {
        use orrery_store::Error as From;
        match error {
            From::BadInput(message) => Self::bad_input(message),
            From::NotFound(message) => Self::NotFound(message),
            From::Conflict(message) => Self::Conflict(message),
            From::Full(message) => Self::NoSpace(message),
            From::OverQuota(message) => Self::Limited { message, retry_after_ms: None, is_budget: true },
            From::Unavailable(message) => Self::Unavailable(message),
            From::NewerDatabase { .. } | From::Corrupt(_) | From::MasterKey { .. } | From::Internal { .. } => {
                Self::Internal { message: error.to_string(), source: Some(Box::new(error)) }
            }
        }
    }
}
