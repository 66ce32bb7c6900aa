//! Jobs as they are shown.

use super::request::Kept;
use crate::Error;
use orrery_store::{Job, JobEvent};
use serde_json::Value;

/// A job. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct JobInfo {
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: &'static str,
    pub is_final: bool,
    pub created_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
    pub attempt: u32,
    pub cancel_requested: bool,
    pub training_file: String,
    pub validation_file: Option<String>,
    /// What the model is called.
    pub name: String,
    pub deploy: Option<String>,
    /// Task, algorithm and the rest, complete.
    pub spec: Value,
    /// For a job that failed: `code`, `message` and `param`.
    pub error: Option<Value>,
    /// For a job that succeeded: `model`, `version`, `metrics`.
    pub result: Option<Value>,
    pub events: u64,
}

impl JobInfo {
    pub(super) fn of(job: &Job) -> Result<Self, Error> {
        let kept: Kept = json("specification", &job.spec)?;
        Ok(Self {
            id: job.id.to_string(),
            status: job.status.as_str(),
            is_final: job.status.is_final(),
            created_at_ms: job.created_at_ms,
            started_at_ms: job.started_at_ms,
            finished_at_ms: job.finished_at_ms,
            attempt: job.attempt,
            cancel_requested: job.cancel_requested,
            training_file: kept.training_file,
            validation_file: kept.validation_file,
            name: kept.name,
            deploy: kept.deploy,
            spec: kept.spec,
            error: job.error.as_deref().map(|text| json("error", text)).transpose()?,
            result: job.result.as_deref().map(|text| json("result", text)).transpose()?,
            events: job.events,
        })
    }
}

/// Something that a job told.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEventInfo {
    /// From 1, without gaps.
    pub sequence: u64,
    pub at_ms: i64,
    /// `log`, `step`, `metrics`, `checkpoint`, `trial` and others.
    pub kind: String,
    pub data: Value,
}

impl JobEventInfo {
    pub(super) fn of(event: JobEvent) -> Result<Self, Error> {
        let data = json("event", &event.data)?;
        Ok(Self { sequence: event.sequence, at_ms: event.at_ms, kind: event.kind, data })
    }
}

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPage {
    pub after: Option<String>,
    /// At most so many.
    pub jobs_max: usize,
}

pub(super) fn json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Internal {
        message: format!("a job's {what} is damaged"),
        source: Some(Box::new(error)),
    })
}
