//! What reading and running a model can refuse.

use std::path::PathBuf;

/// Every message names the bad value and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: not a model that can be read: {reason}")]
    Malformed { path: PathBuf, reason: String },
    #[error("{what} `{found}` is not supported; supported: {supported}")]
    Unsupported { what: &'static str, found: String, supported: String },
    #[error("tensor `{name}`: {reason}")]
    Tensor { name: String, reason: String },
    #[error("chat template: {0}")]
    Template(String),
    /// The template works and does not take these messages: the caller's to mend.
    #[error("the model's chat template refuses these messages: {0}")]
    TemplateRefused(String),
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    #[error(transparent)]
    Kernels(#[from] orrery_kernels::Error),
}
