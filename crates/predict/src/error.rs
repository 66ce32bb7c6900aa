//! What this crate can refuse, split by what the caller can do.

use std::path::PathBuf;
use std::sync::Arc;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Messages name the bad value and the way out. They hold no contents of a request's tensors beyond the value at fault,
/// and no paths but those that the operator set.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A request that can never work as it stands. `input` is the tensor, column or field at fault.
    #[error("`{input}`: {reason}")]
    BadInput {
        /// The name in the request.
        input: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// ONNX Runtime's library is missing, or is not what it should be.
    #[error("ONNX Runtime's library `{}`: {reason}", path.display())]
    Library {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An artefact that is broken, hostile, or of a kind that is not served.
    #[error("the model's artefact: {0}")]
    BadArtefact(String),
    /// No such model on the shelf.
    #[error("there is no model `{0}`; load it first")]
    NotFound(String),
    /// A queue or the memory is full: try again later.
    #[error("{0}")]
    Overloaded(String),
    /// The request's deadline passed before its result was there.
    #[error("the deadline passed before the model had computed the request; allow more time, or send less at once")]
    Deadline,
    /// The model was unloaded, or its thread is gone.
    #[error("the model `{0}` has been unloaded")]
    Unloaded(String),
    /// The model refused to compute this request: most often its inputs do not fit together.
    #[error("the model could not compute this request: {0}")]
    Run(String),
    /// A setting with which nothing could run.
    #[error("setting {0}")]
    Settings(String),
    /// The disk.
    #[error("{what}: {source}")]
    Disk {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Our own fault.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn bad_input(input: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::BadInput { input: shown(&input.into()), reason: reason.into() }
    }

    pub(crate) fn disk(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Disk { what: what.into(), source: Arc::new(source) }
    }
}

/// Bytes of a foreign text that a message repeats.
const SHOWN_BYTES_MAX: usize = 80;

/// A foreign text as a message may show it: cut, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = text.get(..end).unwrap_or_default();
    let clean: String = cut.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if end < text.len() { format!("{clean}…") } else { clean }
}
