//! Where models come from: the Hugging Face hub, a Python package index, plain addresses, this machine.
//!
//! Must not know: the data folder. [`http`] makes the requests, [`download`] writes a file with resume and sha256,
//! [`hub`], [`pypi`], [`wheel`] and [`local`] know one kind of source each.

pub(crate) mod download;
pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod local;
pub(crate) mod pypi;
pub(crate) mod wheel;

use crate::Error;
use std::time::Duration;

/// Addresses, secrets and patience for the sources.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The hub (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// Sent to the hub's own host alone (`HF_TOKEN`).
    pub hub_token: Option<String>,
    /// The simple index (`PIP_INDEX_URL`); may carry a user and a password, which are never logged.
    pub pypi_index: String,
    /// Time for one connection.
    pub connect_timeout: Duration,
    /// Time in which a source must have sent its first byte; after that it is passed over.
    pub reach_timeout: Duration,
    /// Longest silence inside a download before it is tried again.
    pub stall_timeout: Duration,
    /// Wait before the first new attempt; doubled each time.
    pub retry_delay: Duration,
    /// Attempts at one file with no progress in between.
    pub attempts: u32,
    /// Largest file that is downloaded when its size is not known beforehand.
    pub file_max_bytes: u64,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            hub_endpoint: "https://huggingface.co".into(),
            hub_token: None,
            pypi_index: "https://pypi.org/simple".into(),
            connect_timeout: Duration::from_secs(5),
            reach_timeout: Duration::from_secs(9),
            stall_timeout: Duration::from_secs(20),
            retry_delay: Duration::from_millis(500),
            attempts: 3,
            file_max_bytes: 1 << 40,
        }
    }
}

impl std::fmt::Debug for SourceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSettings")
            .field("hub_endpoint", &http::redacted(&self.hub_endpoint))
            .field("hub_token", &self.hub_token.as_ref().map(|_| "***"))
            .field("pypi_index", &http::redacted(&self.pypi_index))
            .field("connect_timeout", &self.connect_timeout)
            .field("reach_timeout", &self.reach_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("retry_delay", &self.retry_delay)
            .field("attempts", &self.attempts)
            .field("file_max_bytes", &self.file_max_bytes)
            .finish()
    }
}

/// What a pull is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Another process or task downloads the same model.
    Waiting,
    Downloading,
    /// Taking the model out of a wheel.
    Extracting,
    Copying,
}

/// How far a pull has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    pub step: Step,
    /// The file that is being worked on, or the model's name while waiting.
    pub what: &'a str,
    pub bytes_done: u64,
    /// `None` where the source has not told.
    pub bytes_total: Option<u64>,
}

/// Called often, from any thread; must be quick.
pub type OnProgress<'a> = dyn Fn(&Progress<'_>) + Send + Sync + 'a;

/// Why a source did not serve.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// No connection, no answer, or cut off.
    Unreachable(String),
    /// The source is there and asks to come back later (5xx, 429, 408).
    Busy(String),
    /// The source answers, and does not have it.
    Missing(String),
    /// The source has something else under that name.
    Refused(String),
    /// Nothing to do with the source: another one would fail as well.
    Fatal(Error),
}

impl SourceError {
    pub(crate) fn disk(what: &str, error: std::io::Error) -> Self {
        Self::Fatal(Error::disk(what, error))
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Busy(reason) | Self::Missing(reason) | Self::Refused(reason) => {
                f.write_str(reason)
            }
            Self::Fatal(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}
