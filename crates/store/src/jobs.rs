//! Jobs: long work that outlives the process which began it, with the events that it tells.
//!
//! Who works on a job holds a lease on it and renews it. A lease that ran out may be taken by another, and each one has a
//! higher **fence** than the one before: what comes with an old fence is refused, so that a worker that was stopped past
//! its lease and goes on later changes nothing (Kleppmann, *How to do distributed locking*, 2016).

use crate::error::{Error, Result, check_text};
use crate::id::{JobId, KeyId, TenantId};
use crate::names::names;
use async_trait::async_trait;

/// The longest specification, error and result of a job, in bytes.
pub const JOB_TEXT_BYTES_MAX: usize = 256 * 1024;
/// The longest event, in bytes of its data.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// The most events of a job; later ones are refused.
pub const JOB_EVENTS_MAX: u64 = 100_000;
/// The most rows of one [`Jobs::jobs`] and one [`Jobs::job_events`].
pub const JOB_ROWS_MAX: usize = 1_000;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Waits for a worker.
    Queued,
    /// A worker has it, or had it and was lost.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

names!(
    JobStatus,
    "status of a job",
    Queued = "queued",
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Cancelled = "cancelled"
);

impl JobStatus {
    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The key that made it.
    pub key: KeyId,
    /// What is to be done, as JSON that the store does not read.
    pub spec: String,
    /// How far it is.
    pub status: JobStatus,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// When a worker took it first.
    pub started_at_ms: Option<i64>,
    /// When it ended.
    pub finished_at_ms: Option<i64>,
    /// How many workers have taken it.
    pub attempt: u32,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// Why it failed, as JSON that the store does not read.
    pub error: Option<String>,
    /// What came of it, as JSON that the store does not read.
    pub result: Option<String>,
    /// Events so far.
    pub events: u64,
}

impl Job {
    /// A queued job.
    pub fn new(id: JobId, tenant: TenantId, key: KeyId, spec: String, created_at_ms: i64) -> Self {
        Self {
            id,
            tenant,
            key,
            spec,
            status: JobStatus::Queued,
            created_at_ms,
            started_at_ms: None,
            finished_at_ms: None,
            attempt: 0,
            cancel_requested: false,
            error: None,
            result: None,
            events: 0,
        }
    }
}

/// The right to work on a job until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job as it is now: running, with this attempt counted.
    pub job: Job,
    /// Higher than that of every lease before.
    pub fence: u64,
}

/// Which job a worker wants.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'a> {
    /// Who asks: shown to nobody, kept to find out what happened.
    pub holder: &'a str,
    /// The present time.
    pub now_ms: i64,
    /// When the lease runs out unless it is renewed.
    pub until_ms: i64,
    /// Jobs of one tenant at one time.
    pub tenant_jobs_max: u32,
    /// Workers that may take one job; after as many were lost it has failed.
    pub attempts_max: u32,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// A final one.
    pub status: JobStatus,
    /// For a failed one.
    pub error: Option<String>,
    /// For one that succeeded.
    pub result: Option<String>,
    /// When.
    pub at_ms: i64,
}

impl JobEnd {
    /// The end of a job whose worker was lost and that nobody takes up again.
    pub(crate) fn of_lost(job: &Job, at_ms: i64) -> Self {
        if job.cancel_requested {
            return Self { status: JobStatus::Cancelled, error: None, result: None, at_ms };
        }
        Self { status: JobStatus::Failed, error: Some(lost(job.attempt)), result: None, at_ms }
    }

    /// Both stores call this before they write.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.status.is_final() {
            return Err(Error::internal(format!("a job cannot end as {}", self.status)));
        }
        for text in [&self.error, &self.result].into_iter().flatten() {
            check_json("result", text, JOB_TEXT_BYTES_MAX)?;
        }
        Ok(())
    }
}

/// Something that a job tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// From 1 in each job, without gaps; given by the store.
    pub sequence: u64,
    /// When it was told.
    pub at_ms: i64,
    /// What it is, such as `metrics`.
    pub kind: String,
    /// JSON that the store does not read.
    pub data: String,
}

/// Which jobs to list, the newest first.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    /// Of this tenant alone.
    pub tenant: Option<TenantId>,
    /// Those made before this one.
    pub after: Option<JobId>,
    /// At most so many, up to [`JOB_ROWS_MAX`].
    pub rows_max: usize,
}

/// Jobs and their events. Contract as for [`Tenants`](crate::Tenants); erasing a tenant deletes its jobs.
///
/// An id is looked up in all tenants: who may see a job is the caller's to decide.
#[async_trait]
pub trait Jobs: std::fmt::Debug + Send + Sync {
    /// Adds a queued job.
    ///
    /// # Errors
    /// `BadInput`; `NotFound`: there is no such tenant; `Conflict`: the id is taken, or the tenant was erased.
    async fn create_job(&self, job: &Job) -> Result<()>;

    /// # Errors
    /// `NotFound`.
    async fn job(&self, id: &JobId) -> Result<Job>;

    /// The newest first; of two that were made at one time, the one with the higher id.
    ///
    /// # Errors
    /// `NotFound`: `after` is no job (of that tenant).
    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>>;

    /// Takes the next job: one that is queued, or whose worker was lost. Tenants with fewer running jobs come first, then
    /// older jobs. A lost job that was cancelled or had its last attempt ends here, and is never given out.
    ///
    /// # Errors
    /// Those of the database alone.
    async fn lease_job(&self, request: &LeaseRequest<'_>) -> Result<Option<Lease>>;

    /// Keeps a lease until `until_ms`; says whether somebody asked for the job's end.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`: another worker has it, or it has ended.
    async fn renew_lease(&self, id: &JobId, fence: u64, until_ms: i64) -> Result<bool>;

    /// Puts a job back into the queue, as if this worker had never taken it: for a server that shuts down.
    ///
    /// # Errors
    /// As for [`Jobs::renew_lease`].
    async fn return_job(&self, id: &JobId, fence: u64) -> Result<()>;

    /// Ends a job.
    ///
    /// # Errors
    /// As for [`Jobs::renew_lease`].
    async fn finish_job(&self, id: &JobId, fence: u64, end: &JobEnd) -> Result<()>;

    /// Asks for a job's end: a queued one is cancelled at once, a running one as soon as its worker hears of it. Gives the
    /// job as it is now. Asking again changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`: it has ended otherwise.
    async fn cancel_job(&self, id: &JobId, at_ms: i64) -> Result<Job>;

    /// Adds events in order; their sequence is given here, whatever they hold.
    ///
    /// # Errors
    /// As for [`Jobs::renew_lease`]; `BadInput`: one is too long, or the job would have over [`JOB_EVENTS_MAX`].
    async fn append_job_events(&self, id: &JobId, fence: u64, events: &[JobEvent]) -> Result<()>;

    /// Events with a sequence above `after`, the oldest first.
    ///
    /// # Errors
    /// `NotFound`.
    async fn job_events(&self, id: &JobId, after: u64, rows_max: usize) -> Result<Vec<JobEvent>>;
}

/// Why a job failed whose workers were all lost.
fn lost(attempts: u32) -> String {
    format!(
        "{{\"code\":\"worker_lost\",\"message\":\"the job's worker ended without a word {attempts} times; it may need more \
         memory or time than it is allowed\"}}"
    )
}

pub(crate) fn unknown_job(id: &JobId) -> Error {
    Error::NotFound(format!("there is no job {id}"))
}

pub(crate) fn taken_job(id: &JobId) -> Error {
    Error::Conflict(format!("there is a job {id} already"))
}

pub(crate) fn lost_lease(id: &JobId) -> Error {
    Error::Conflict(format!("the lease on job {id} is another's now, or the job has ended"))
}

pub(crate) fn ended(job: &Job) -> Error {
    Error::Conflict(format!("job {} has ended ({}); it cannot be cancelled any more", job.id, job.status))
}

/// Both stores call these before they write.
pub(crate) fn check_job(job: &Job) -> Result<()> {
    check_json("spec", &job.spec, JOB_TEXT_BYTES_MAX)
}

pub(crate) fn check_events(job: &Job, events: &[JobEvent]) -> Result<()> {
    if job.events + events.len() as u64 > JOB_EVENTS_MAX {
        let id = &job.id;
        return Err(Error::BadInput(format!("job {id} would have over {JOB_EVENTS_MAX} events")));
    }
    for event in events {
        check_text("kind", &event.kind, 64)?;
        check_json("data", &event.data, EVENT_BYTES_MAX)?;
    }
    Ok(())
}

fn check_json(field: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    let bytes = text.len();
    Err(Error::BadInput(format!("`{field}` has {bytes} bytes, and at most {bytes_max} are allowed")))
}
