//! Jobs in SQL.

use super::sqlite::failed;
use super::tenants::require_live;
use super::{Database, Tx, begin, count, get, number, parse};
use crate::error::Result;
use crate::id::{JobId, TenantId};
use crate::jobs::{
    JOB_ROWS_MAX, Job, JobEnd, JobEvent, JobQuery, JobStatus, Jobs, Lease, LeaseRequest, check_events, check_job,
    ended, lost_lease, taken_job, unknown_job,
};
use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

const INSERT: &str = "INSERT INTO jobs (id, tenant, key_id, spec, status, created_at_ms, attempt, cancel_requested, \
                      events, fence) VALUES ($1, $2, $3, $4, 'queued', $5, 0, 0, 0, 0) ON CONFLICT DO NOTHING";
const BY_ID: &str = "SELECT id, tenant, key_id, spec, status, created_at_ms, started_at_ms, finished_at_ms, attempt, \
                     cancel_requested, error, result, events, fence FROM jobs WHERE id = $1";
/// Those before ($2, $3) in time and id.
const LIST: &str = "SELECT id, tenant, key_id, spec, status, created_at_ms, started_at_ms, finished_at_ms, attempt, \
                    cancel_requested, error, result, events, fence FROM jobs WHERE (tenant = $1 OR $1 IS NULL) \
                    AND ($2 IS NULL OR created_at_ms < $2 OR (created_at_ms = $2 AND id < $3)) \
                    ORDER BY created_at_ms DESC, id DESC LIMIT $4";
const LOST: &str = "SELECT id FROM jobs WHERE status = 'running' AND leased_until_ms < $1 \
                    AND (cancel_requested = 1 OR attempt >= $2)";
/// Of each tenant with fewer than $2 running jobs, by how many it has; then the oldest.
const NEXT: &str = "SELECT id FROM jobs AS job WHERE (status = 'queued' OR (status = 'running' AND leased_until_ms < $1)) \
                    AND (SELECT COUNT(*) FROM jobs AS other WHERE other.tenant = job.tenant AND other.status = 'running' \
                    AND other.leased_until_ms >= $1) < $2 ORDER BY (SELECT COUNT(*) FROM jobs AS other WHERE \
                    other.tenant = job.tenant AND other.status = 'running' AND other.leased_until_ms >= $1), \
                    created_at_ms, id LIMIT 1";
const LEASE: &str = "UPDATE jobs SET status = 'running', attempt = attempt + 1, fence = fence + 1, holder = $2, \
                     leased_until_ms = $3, started_at_ms = COALESCE(started_at_ms, $4) WHERE id = $1";
const RENEW: &str = "UPDATE jobs SET leased_until_ms = $2 WHERE id = $1";
const RETURN: &str = "UPDATE jobs SET status = 'queued', attempt = attempt - 1, holder = NULL, leased_until_ms = NULL \
                      WHERE id = $1";
const FINISH: &str = "UPDATE jobs SET status = $2, error = $3, result = $4, finished_at_ms = $5, holder = NULL, \
                      leased_until_ms = NULL WHERE id = $1";
const CANCEL: &str = "UPDATE jobs SET cancel_requested = 1 WHERE id = $1";
const EVENT: &str = "INSERT INTO job_events (job, sequence, at_ms, kind, data) VALUES ($1, $2, $3, $4, $5)";
const COUNT_EVENTS: &str = "UPDATE jobs SET events = events + $2 WHERE id = $1";
const EVENTS: &str = "SELECT sequence, at_ms, kind, data FROM job_events WHERE job = $1 AND sequence > $2 \
                      ORDER BY sequence LIMIT $3";

#[async_trait]
impl Jobs for Database {
    async fn create_job(&self, job: &Job) -> Result<()> {
        const DOING: &str = "adding a job";
        check_job(job)?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        require_live(&mut tx, &job.tenant).await?;
        let insert = sqlx::query(INSERT)
            .bind(job.id.as_str())
            .bind(job.tenant.as_str())
            .bind(job.key.as_str())
            .bind(&job.spec)
            .bind(job.created_at_ms);
        let done = insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        if done.rows_affected() == 0 {
            return Err(taken_job(&job.id));
        }
        tx.commit().await.map_err(failed(DOING))
    }

    async fn job(&self, id: &JobId) -> Result<Job> {
        let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(&self.readers).await;
        read(&row.map_err(failed("reading a job"))?.ok_or_else(|| unknown_job(id))?)
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>> {
        let after = match &query.after {
            Some(id) => {
                let job = self.job(id).await?;
                let seen = query.tenant.as_ref().is_none_or(|tenant| *tenant == job.tenant);
                Some(seen.then_some(job).ok_or_else(|| unknown_job(id))?)
            }
            None => None,
        };
        let list = sqlx::query(LIST)
            .bind(query.tenant.as_ref().map(TenantId::as_str))
            .bind(after.as_ref().map(|job| job.created_at_ms))
            .bind(after.as_ref().map(|job| job.id.as_str()))
            .bind(number(query.rows_max.min(JOB_ROWS_MAX) as u64));
        let rows = list.fetch_all(&self.readers).await.map_err(failed("reading the jobs"))?;
        rows.iter().map(read).collect()
    }

    async fn lease_job(&self, request: &LeaseRequest<'_>) -> Result<Option<Lease>> {
        const DOING: &str = "taking a job";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        end_lost(&mut tx, request).await?;
        let next = sqlx::query(NEXT).bind(request.now_ms).bind(i64::from(request.tenant_jobs_max));
        let next = next.fetch_optional(&mut *tx).await.map_err(failed(DOING))?;
        let lease = match next {
            Some(row) => {
                let id: JobId = parse(&row, "id")?;
                let lease = sqlx::query(LEASE)
                    .bind(id.as_str())
                    .bind(request.holder)
                    .bind(request.until_ms)
                    .bind(request.now_ms);
                lease.execute(&mut *tx).await.map_err(failed(DOING))?;
                let (job, fence) = current(&mut tx, &id).await?;
                Some(Lease { job, fence })
            }
            None => None,
        };
        tx.commit().await.map_err(failed(DOING))?;
        Ok(lease)
    }

    async fn renew_lease(&self, id: &JobId, fence: u64, until_ms: i64) -> Result<bool> {
        const DOING: &str = "keeping a job";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let job = held(&mut tx, id, fence).await?;
        let renew = sqlx::query(RENEW).bind(id.as_str()).bind(until_ms);
        renew.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))?;
        Ok(job.cancel_requested)
    }

    async fn return_job(&self, id: &JobId, fence: u64) -> Result<()> {
        const DOING: &str = "putting a job back";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        held(&mut tx, id, fence).await?;
        sqlx::query(RETURN).bind(id.as_str()).execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn finish_job(&self, id: &JobId, fence: u64, end: &JobEnd) -> Result<()> {
        const DOING: &str = "ending a job";
        end.check()?;
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        held(&mut tx, id, fence).await?;
        finish(&mut tx, id, end).await?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn cancel_job(&self, id: &JobId, at_ms: i64) -> Result<Job> {
        const DOING: &str = "cancelling a job";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let (job, _) = current(&mut tx, id).await?;
        match job.status {
            JobStatus::Succeeded | JobStatus::Failed => return Err(ended(&job)),
            JobStatus::Cancelled => return Ok(job),
            JobStatus::Queued => {
                let end = JobEnd { status: JobStatus::Cancelled, error: None, result: None, at_ms };
                finish(&mut tx, id, &end).await?;
            }
            JobStatus::Running => {}
        }
        sqlx::query(CANCEL).bind(id.as_str()).execute(&mut *tx).await.map_err(failed(DOING))?;
        let (job, _) = current(&mut tx, id).await?;
        tx.commit().await.map_err(failed(DOING))?;
        Ok(job)
    }

    async fn append_job_events(&self, id: &JobId, fence: u64, events: &[JobEvent]) -> Result<()> {
        const DOING: &str = "noting what a job tells";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, DOING).await?;
        let job = held(&mut tx, id, fence).await?;
        check_events(&job, events)?;
        for (event, sequence) in events.iter().zip(job.events + 1..) {
            let insert = sqlx::query(EVENT)
                .bind(id.as_str())
                .bind(number(sequence))
                .bind(event.at_ms)
                .bind(&event.kind)
                .bind(&event.data);
            insert.execute(&mut *tx).await.map_err(failed(DOING))?;
        }
        let counted = sqlx::query(COUNT_EVENTS).bind(id.as_str()).bind(number(events.len() as u64));
        counted.execute(&mut *tx).await.map_err(failed(DOING))?;
        tx.commit().await.map_err(failed(DOING))
    }

    async fn job_events(&self, id: &JobId, after: u64, rows_max: usize) -> Result<Vec<JobEvent>> {
        self.job(id).await?;
        let list =
            sqlx::query(EVENTS).bind(id.as_str()).bind(number(after)).bind(number(rows_max.min(JOB_ROWS_MAX) as u64));
        let rows = list.fetch_all(&self.readers).await.map_err(failed("reading what a job told"))?;
        let event = |row: &SqliteRow| {
            Ok(JobEvent {
                sequence: count(row, "sequence")?,
                at_ms: get(row, "at_ms")?,
                kind: get(row, "kind")?,
                data: get(row, "data")?,
            })
        };
        rows.iter().map(event).collect()
    }
}

/// Deletes the jobs of a tenant that is erased, with all that they told.
pub(super) async fn erase(tx: &mut Tx<'_>, tenant: &TenantId) -> Result<()> {
    const STATEMENTS: [&str; 2] = [
        "DELETE FROM job_events WHERE job IN (SELECT id FROM jobs WHERE tenant = $1)",
        "DELETE FROM jobs WHERE tenant = $1",
    ];
    for statement in STATEMENTS {
        let delete = sqlx::query(statement).bind(tenant.as_str());
        delete.execute(&mut **tx).await.map_err(failed("deleting jobs"))?;
    }
    Ok(())
}

/// Ends the jobs that nobody will take up again.
async fn end_lost(tx: &mut Tx<'_>, request: &LeaseRequest<'_>) -> Result<()> {
    let rows = sqlx::query(LOST).bind(request.now_ms).bind(i64::from(request.attempts_max));
    for row in rows.fetch_all(&mut **tx).await.map_err(failed("looking for lost jobs"))? {
        let id = parse(&row, "id")?;
        let (job, _) = current(tx, &id).await?;
        finish(tx, &id, &JobEnd::of_lost(&job, request.now_ms)).await?;
    }
    Ok(())
}

async fn finish(tx: &mut Tx<'_>, id: &JobId, end: &JobEnd) -> Result<()> {
    let finish = sqlx::query(FINISH)
        .bind(id.as_str())
        .bind(end.status.as_str())
        .bind(&end.error)
        .bind(&end.result)
        .bind(end.at_ms);
    finish.execute(&mut **tx).await.map_err(failed("ending a job"))?;
    Ok(())
}

/// The job and its last fence, as the transaction sees them.
async fn current(tx: &mut Tx<'_>, id: &JobId) -> Result<(Job, u64)> {
    let row = sqlx::query(BY_ID).bind(id.as_str()).fetch_optional(&mut **tx).await;
    let row = row.map_err(failed("reading a job"))?.ok_or_else(|| unknown_job(id))?;
    Ok((read(&row)?, count(&row, "fence")?))
}

/// The job, if the fence is that of the lease on it.
async fn held(tx: &mut Tx<'_>, id: &JobId, fence: u64) -> Result<Job> {
    let (job, current) = current(tx, id).await?;
    if job.status == JobStatus::Running && current == fence { Ok(job) } else { Err(lost_lease(id)) }
}

fn read(row: &SqliteRow) -> Result<Job> {
    Ok(Job {
        id: parse(row, "id")?,
        tenant: parse(row, "tenant")?,
        key: parse(row, "key_id")?,
        spec: get(row, "spec")?,
        status: parse(row, "status")?,
        created_at_ms: get(row, "created_at_ms")?,
        started_at_ms: get(row, "started_at_ms")?,
        finished_at_ms: get(row, "finished_at_ms")?,
        attempt: count(row, "attempt")?,
        cancel_requested: get::<i64>(row, "cancel_requested")? != 0,
        error: get(row, "error")?,
        result: get(row, "result")?,
        events: count(row, "events")?,
    })
}
