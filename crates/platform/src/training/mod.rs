//! Training as a service: jobs are taken, queued, run by workers in processes of their own, and end as a version in the
//! registry.
//!
//! Must not know: HTTP, what trainers do (that is the crate `train`). Start at [`Training::create`]; `supervisor.rs` runs what
//! is queued, `worker.rs` is what the other process does.

mod folder;
mod info;
mod process;
mod protocol;
mod request;
mod settings;
mod supervisor;
pub mod worker;

pub use info::{JobEventInfo, JobInfo, JobPage};
pub use request::JobRequest;
pub use settings::TrainingSettings;
pub use supervisor::Supervisor;

use crate::Error;
use crate::access::Action;
use crate::accounts::{Principal, now_ms};
use crate::files::Files;
use crate::registry::Registry;
use orrery_store::{JOB_ROWS_MAX, Job, JobId, JobQuery, JobStatus, Store};
use request::Kept;
use std::sync::Arc;
use tokio::sync::Notify;

/// The training jobs of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Training {
    store: Arc<dyn Store>,
    files: Files,
    registry: Registry,
    settings: Arc<TrainingSettings>,
    /// Something is queued, or is to end.
    news: Arc<Notify>,
}

impl Training {
    pub(crate) fn new(store: Arc<dyn Store>, files: Files, registry: Registry, settings: TrainingSettings) -> Self {
        Self { store, files, registry, settings: Arc::new(settings), news: Arc::new(Notify::new()) }
    }

    pub fn settings(&self) -> &TrainingSettings {
        &self.settings
    }

    /// Checks a job and puts it into the queue.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`, which names the field; `Overloaded`: the tenant has too many that wait; `Unavailable`: this
    /// server trains nothing.
    pub async fn create(&self, by: &Principal, request: JobRequest) -> Result<JobInfo, Error> {
        by.check(Action::ManageJobs)?;
        if self.settings.workers == 0 {
            return Err(Error::Unavailable(
                "training is off on this server; its operator can set `training.workers` to 1 or more".into(),
            ));
        }
        let kept = Kept::check(request, &self.files, &by.tenant.id, &self.settings).await?;
        self.check_queue(by).await?;
        let spec = serde_json::to_string(&kept).map_err(|error| Error::internal(format!("a job as JSON: {error}")))?;
        let job = Job::new(JobId::random()?, by.tenant.id.clone(), by.key.id.clone(), spec, now_ms());
        self.store.create_job(&job).await?;
        self.news.notify_one();
        JobInfo::of(&job)
    }

    async fn check_queue(&self, by: &Principal) -> Result<(), Error> {
        let query = JobQuery { tenant: Some(by.tenant.id.clone()), after: None, rows_max: JOB_ROWS_MAX };
        let jobs = self.store.jobs(&query).await?;
        let waiting = jobs.iter().filter(|job| job.status == JobStatus::Queued).count();
        let most = self.settings.tenant_queue_max;
        if waiting < most {
            return Ok(());
        }
        let message =
            format!("{waiting} jobs of this tenant wait, and {most} are the limit; wait for one to end, or cancel one");
        Err(Error::Overloaded { message, retry_after_s: 30 })
    }

    /// A page of the tenant's jobs, the newest first, and whether more come after it.
    ///
    /// # Errors
    /// `Forbidden`; `BadInput`: there is no job `after`.
    pub async fn list(&self, by: &Principal, page: JobPage) -> Result<(Vec<JobInfo>, bool), Error> {
        by.check(Action::ReadJobs)?;
        let rows_max = page.jobs_max.clamp(1, JOB_ROWS_MAX - 1);
        let after = page.after.as_deref();
        let no_after = |id: &str| Error::BadInput {
            param: Some("after"),
            message: format!("`after` is {}, and there is no such job", crate::reference::shown(id)),
        };
        let parsed = after.map(|id| id.parse::<JobId>().map_err(|_| no_after(id))).transpose()?;
        let query = JobQuery { tenant: Some(by.tenant.id.clone()), after: parsed, rows_max: rows_max + 1 };
        let jobs = self.store.jobs(&query).await.map_err(|error| match (after, error) {
            (Some(id), orrery_store::Error::NotFound(_)) => no_after(id),
            (_, error) => error.into(),
        })?;
        let more = jobs.len() > rows_max;
        let shown: Result<Vec<_>, _> = jobs.iter().take(rows_max).map(JobInfo::of).collect();
        Ok((shown?, more))
    }

    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn job(&self, by: &Principal, id: &str) -> Result<JobInfo, Error> {
        by.check(Action::ReadJobs)?;
        JobInfo::of(&self.own(by, id).await?)
    }

    /// What a job told after the event `after` (0: all), the oldest first, and the job as it was before that was read: if it had
    /// ended, nothing comes after these but a full page.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn events(
        &self,
        by: &Principal,
        id: &str,
        after: u64,
        events_max: usize,
    ) -> Result<(JobInfo, Vec<JobEventInfo>), Error> {
        by.check(Action::ReadJobs)?;
        let job = self.own(by, id).await?;
        let events = self.store.job_events(&job.id, after, events_max).await?;
        let events: Result<Vec<_>, _> = events.into_iter().map(JobEventInfo::of).collect();
        Ok((JobInfo::of(&job)?, events?))
    }

    /// Asks for a job's end. What it learnt so far is dropped.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `Conflict`: it has ended.
    pub async fn cancel(&self, by: &Principal, id: &str) -> Result<JobInfo, Error> {
        by.check(Action::ManageJobs)?;
        let job = self.own(by, id).await?;
        let cancelled = self.store.cancel_job(&job.id, now_ms()).await?;
        self.news.notify_one();
        JobInfo::of(&cancelled)
    }

    /// A job of the tenant; another's is as unknown as one that does not exist.
    async fn own(&self, by: &Principal, id: &str) -> Result<Job, Error> {
        let unknown = || Error::NotFound(format!("there is no job `{}`", crate::reference::shown(id)));
        let parsed: JobId = id.parse().map_err(|_| unknown())?;
        match self.store.job(&parsed).await {
            Ok(job) if job.tenant == by.tenant.id => Ok(job),
            Ok(_) | Err(orrery_store::Error::NotFound(_)) => Err(unknown()),
            Err(error) => Err(error.into()),
        }
    }
}
