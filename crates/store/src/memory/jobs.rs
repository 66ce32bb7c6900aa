//! Jobs in memory.

use super::{Memory, State};
use crate::error::Result;
use crate::id::JobId;
use crate::jobs::{
    JOB_ROWS_MAX, Job, JobEnd, JobEvent, JobQuery, JobStatus, Jobs, Lease, LeaseRequest, check_events, check_job,
    ended, lost_lease, taken_job, unknown_job,
};
use async_trait::async_trait;

/// A job with what its workers hold.
#[derive(Debug)]
pub(super) struct Kept {
    job: Job,
    fence: u64,
    leased_until_ms: i64,
    events: Vec<JobEvent>,
}

impl Kept {
    fn is_lost(&self, now_ms: i64) -> bool {
        self.job.status == JobStatus::Running && self.leased_until_ms < now_ms
    }

    fn finish(&mut self, end: &JobEnd) {
        self.job.status = end.status;
        self.job.error.clone_from(&end.error);
        self.job.result.clone_from(&end.result);
        self.job.finished_at_ms = Some(end.at_ms);
    }

    pub(super) fn tenant(&self) -> &crate::TenantId {
        &self.job.tenant
    }
}

impl State {
    fn kept(&mut self, id: &JobId) -> Result<&mut Kept> {
        self.jobs.get_mut(id).ok_or_else(|| unknown_job(id))
    }

    fn held(&mut self, id: &JobId, fence: u64) -> Result<&mut Kept> {
        let kept = self.kept(id)?;
        if kept.job.status == JobStatus::Running && kept.fence == fence { Ok(kept) } else { Err(lost_lease(id)) }
    }

    /// Running jobs of the tenant of `job` whose lease holds.
    fn busy(&self, job: &Job, now_ms: i64) -> usize {
        let of_tenant = self.jobs.values().filter(|kept| kept.job.tenant == job.tenant);
        of_tenant.filter(|kept| kept.job.status == JobStatus::Running && !kept.is_lost(now_ms)).count()
    }
}

#[async_trait]
impl Jobs for Memory {
    async fn create_job(&self, job: &Job) -> Result<()> {
        check_job(job)?;
        let mut state = self.state()?;
        state.live_tenant(&job.tenant)?;
        if state.jobs.contains_key(&job.id) {
            return Err(taken_job(&job.id));
        }
        let (id, tenant, key) = (job.id.clone(), job.tenant.clone(), job.key.clone());
        let job = Job::new(id, tenant, key, job.spec.clone(), job.created_at_ms);
        let kept = Kept { job: job.clone(), fence: 0, leased_until_ms: 0, events: Vec::new() };
        state.jobs.insert(job.id, kept);
        Ok(())
    }

    async fn job(&self, id: &JobId) -> Result<Job> {
        Ok(self.state()?.kept(id)?.job.clone())
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>> {
        let state = self.state()?;
        let of_tenant = |job: &&Job| query.tenant.as_ref().is_none_or(|tenant| job.tenant == *tenant);
        let mut jobs: Vec<&Job> = state.jobs.values().map(|kept| &kept.job).filter(of_tenant).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.created_at_ms, job.id.clone())));
        let skipped = match &query.after {
            Some(after) => 1 + jobs.iter().position(|job| job.id == *after).ok_or_else(|| unknown_job(after))?,
            None => 0,
        };
        Ok(jobs.into_iter().skip(skipped).take(query.rows_max.min(JOB_ROWS_MAX)).cloned().collect())
    }

    async fn lease_job(&self, request: &LeaseRequest<'_>) -> Result<Option<Lease>> {
        let mut state = self.state()?;
        let now_ms = request.now_ms;
        for kept in state.jobs.values_mut().filter(|kept| kept.is_lost(now_ms)) {
            if kept.job.cancel_requested || kept.job.attempt >= request.attempts_max {
                kept.finish(&JobEnd::of_lost(&kept.job, now_ms));
            }
        }
        let free = |kept: &&Kept| kept.job.status == JobStatus::Queued || kept.is_lost(now_ms);
        let wanted = state.jobs.values().filter(free).map(|kept| (state.busy(&kept.job, now_ms), &kept.job));
        let wanted = wanted.filter(|(busy, _)| *busy < request.tenant_jobs_max as usize);
        let next = wanted.min_by_key(|(busy, job)| (*busy, job.created_at_ms, job.id.clone()));
        let Some(id) = next.map(|(_, job)| job.id.clone()) else { return Ok(None) };
        let kept = state.kept(&id)?;
        kept.job.status = JobStatus::Running;
        kept.job.attempt += 1;
        kept.job.started_at_ms.get_or_insert(now_ms);
        kept.fence += 1;
        kept.leased_until_ms = request.until_ms;
        Ok(Some(Lease { job: kept.job.clone(), fence: kept.fence }))
    }

    async fn renew_lease(&self, id: &JobId, fence: u64, until_ms: i64) -> Result<bool> {
        let mut state = self.state()?;
        let kept = state.held(id, fence)?;
        kept.leased_until_ms = until_ms;
        Ok(kept.job.cancel_requested)
    }

    async fn return_job(&self, id: &JobId, fence: u64) -> Result<()> {
        let mut state = self.state()?;
        let kept = state.held(id, fence)?;
        kept.job.status = JobStatus::Queued;
        kept.job.attempt -= 1;
        Ok(())
    }

    async fn finish_job(&self, id: &JobId, fence: u64, end: &JobEnd) -> Result<()> {
        end.check()?;
        self.state()?.held(id, fence)?.finish(end);
        Ok(())
    }

    async fn cancel_job(&self, id: &JobId, at_ms: i64) -> Result<Job> {
        let mut state = self.state()?;
        let kept = state.kept(id)?;
        match kept.job.status {
            JobStatus::Succeeded | JobStatus::Failed => return Err(ended(&kept.job)),
            JobStatus::Cancelled => return Ok(kept.job.clone()),
            JobStatus::Queued => {
                kept.finish(&JobEnd { status: JobStatus::Cancelled, error: None, result: None, at_ms });
            }
            JobStatus::Running => {}
        }
        kept.job.cancel_requested = true;
        Ok(kept.job.clone())
    }

    async fn append_job_events(&self, id: &JobId, fence: u64, events: &[JobEvent]) -> Result<()> {
        let mut state = self.state()?;
        let kept = state.held(id, fence)?;
        check_events(&kept.job, events)?;
        for event in events {
            kept.job.events += 1;
            kept.events.push(JobEvent { sequence: kept.job.events, ..event.clone() });
        }
        Ok(())
    }

    async fn job_events(&self, id: &JobId, after: u64, rows_max: usize) -> Result<Vec<JobEvent>> {
        let mut state = self.state()?;
        let events = state.kept(id)?.events.iter().filter(|event| event.sequence > after);
        Ok(events.take(rows_max.min(JOB_ROWS_MAX)).cloned().collect())
    }
}
