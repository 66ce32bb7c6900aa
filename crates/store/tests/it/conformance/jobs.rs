//! Jobs: who gets which, leases and their fences, and what a job tells.

use super::{bad_input, conflict, key_id, not_found, on_all, tenant, tenant_id};
use orrery_store::{EVENT_BYTES_MAX, Job, JobEnd, JobEvent, JobId, JobQuery, JobStatus, Lease, LeaseRequest, Store};

fn job_id(text: &str) -> JobId {
    text.parse().expect("id")
}

pub fn job(id: &str, tenant: &str, created_at_ms: i64) -> Job {
    Job::new(job_id(id), tenant_id(tenant), key_id("key_a"), format!("{{\"name\":\"{id}\"}}"), created_at_ms)
}

fn event(kind: &str) -> JobEvent {
    JobEvent { sequence: 77, at_ms: 5, kind: kind.into(), data: format!("{{\"of\":\"{kind}\"}}") }
}

fn end(status: JobStatus) -> JobEnd {
    JobEnd { status, error: None, result: Some("{}".into()), at_ms: 900 }
}

const REQUEST: LeaseRequest<'_> =
    LeaseRequest { holder: "worker", now_ms: 100, until_ms: 200, tenant_jobs_max: 1, attempts_max: 2 };

async fn lease(store: &dyn Store, now_ms: i64) -> Option<Lease> {
    store.lease_job(&LeaseRequest { now_ms, until_ms: now_ms + 100, ..REQUEST }).await.expect("asked")
}

async fn two_tenants(store: &dyn Store) {
    store.create_tenant(&tenant("a", 1)).await.expect("created");
    store.create_tenant(&tenant("b", 2)).await.expect("created");
}

#[tokio::test]
async fn jobs_are_listed_from_the_newest_on() {
    on_all(async |store| {
        two_tenants(store).await;
        for job in [job("job_1", "a", 10), job("job_2", "a", 10), job("job_3", "b", 20), job("job_4", "a", 5)] {
            store.create_job(&job).await.expect("created");
        }
        let list = async |tenant: Option<&str>, after: Option<&str>, rows_max| {
            let (tenant, after) = (tenant.map(tenant_id), after.map(job_id));
            let jobs = store.jobs(&JobQuery { tenant, after, rows_max }).await;
            jobs.map(|jobs| jobs.into_iter().map(|job| job.id.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(list(None, None, 9).await.expect("listed"), ["job_3", "job_2", "job_1", "job_4"]);
        assert_eq!(list(Some("a"), None, 2).await.expect("listed"), ["job_2", "job_1"]);
        assert_eq!(list(Some("a"), Some("job_1"), 9).await.expect("listed"), ["job_4"]);
        assert_eq!(list(None, Some("job_2"), 1).await.expect("listed"), ["job_1"]);
        not_found(list(Some("a"), Some("job_3"), 9).await);
        assert_eq!(store.job(&job_id("job_1")).await.expect("read"), job("job_1", "a", 10));
        not_found(store.job(&job_id("job_9")).await);
        conflict(store.create_job(&job("job_1", "b", 1)).await);
        not_found(store.create_job(&job("job_5", "nobody", 1)).await);
        let long = Job { spec: "x".repeat(300_000), ..job("job_6", "a", 1) };
        bad_input(store.create_job(&long).await, "`spec`");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_with_fewer_running_jobs_comes_first() {
    on_all(async |store| {
        two_tenants(store).await;
        for job in [job("job_1", "a", 1), job("job_2", "a", 2), job("job_3", "b", 3)] {
            store.create_job(&job).await.expect("created");
        }
        let first = lease(store, 100).await.expect("a job");
        assert_eq!((first.job.id.as_str(), first.job.attempt, first.fence), ("job_1", 1, 1));
        assert_eq!((first.job.status, first.job.started_at_ms), (JobStatus::Running, Some(100)));
        let second = lease(store, 101).await.expect("a job");
        assert_eq!(second.job.id.as_str(), "job_3", "of the tenant that has none");
        assert_eq!(lease(store, 102).await, None, "a tenant has at most one at a time");
        store.finish_job(&first.job.id, first.fence, &end(JobStatus::Succeeded)).await.expect("ended");
        let third = lease(store, 103).await.expect("a job");
        assert_eq!(third.job.id.as_str(), "job_2");
        let ended = store.job(&job_id("job_1")).await.expect("read");
        assert_eq!((ended.status, ended.finished_at_ms), (JobStatus::Succeeded, Some(900)));
        assert_eq!(ended.result.as_deref(), Some("{}"));
    })
    .await;
}

#[tokio::test]
async fn an_old_fence_changes_nothing() {
    on_all(async |store| {
        two_tenants(store).await;
        store.create_job(&job("job_1", "a", 1)).await.expect("created");
        let slow = lease(store, 100).await.expect("a job");
        let id = &slow.job.id;
        assert!(!store.renew_lease(id, slow.fence, 250).await.expect("renewed"));
        assert_eq!(lease(store, 250).await, None, "the lease holds up to its last moment");
        let next = lease(store, 251).await.expect("a lost job is given out again");
        assert_eq!((next.fence, next.job.attempt, next.job.started_at_ms), (2, 2, Some(100)));
        conflict(store.renew_lease(id, slow.fence, 999).await);
        conflict(store.append_job_events(id, slow.fence, &[event("late")]).await);
        conflict(store.finish_job(id, slow.fence, &end(JobStatus::Failed)).await);
        conflict(store.return_job(id, slow.fence).await);
        store.append_job_events(id, next.fence, &[event("in time")]).await.expect("told");
        store.finish_job(id, next.fence, &end(JobStatus::Succeeded)).await.expect("ended");
        conflict(store.finish_job(id, next.fence, &end(JobStatus::Failed)).await);
        conflict(store.renew_lease(id, next.fence, 999).await);
        assert_eq!(store.job(id).await.expect("read").status, JobStatus::Succeeded);
        assert_eq!(store.job_events(id, 0, 9).await.expect("read").len(), 1);
        not_found(store.renew_lease(&job_id("job_9"), 1, 1).await);
    })
    .await;
}

#[tokio::test]
async fn a_job_is_taken_up_again_only_so_often() {
    on_all(async |store| {
        two_tenants(store).await;
        store.create_job(&job("job_1", "a", 1)).await.expect("created");
        assert!(lease(store, 100).await.is_some());
        assert!(lease(store, 300).await.is_some());
        assert_eq!(lease(store, 500).await, None, "two attempts are allowed");
        let lost = store.job(&job_id("job_1")).await.expect("read");
        assert_eq!((lost.status, lost.finished_at_ms), (JobStatus::Failed, Some(500)));
        assert!(lost.error.expect("an error").contains("worker_lost"));
        store.create_job(&job("job_2", "a", 1)).await.expect("created");
        for now_ms in [600, 601, 602] {
            let lease = lease(store, now_ms).await.expect("a job that was put back had no attempt");
            store.return_job(&lease.job.id, lease.fence).await.expect("put back");
        }
        assert_eq!(store.job(&job_id("job_2")).await.expect("read").status, JobStatus::Queued);
    })
    .await;
}

#[tokio::test]
async fn cancelling_ends_a_queued_job_and_tells_a_running_one() {
    on_all(async |store| {
        two_tenants(store).await;
        for job in [job("job_1", "a", 1), job("job_2", "a", 2), job("job_3", "a", 3)] {
            store.create_job(&job).await.expect("created");
        }
        let queued = store.cancel_job(&job_id("job_3"), 50).await.expect("cancelled");
        assert_eq!((queued.status, queued.finished_at_ms), (JobStatus::Cancelled, Some(50)));
        assert_eq!(store.cancel_job(&job_id("job_3"), 60).await.expect("again"), queued);
        let running = lease(store, 100).await.expect("a job");
        let asked = store.cancel_job(&running.job.id, 110).await.expect("asked");
        assert_eq!((asked.status, asked.cancel_requested), (JobStatus::Running, true));
        assert!(store.renew_lease(&running.job.id, running.fence, 150).await.expect("renewed"));
        let next = lease(store, 200).await.expect("the other job");
        assert_eq!(next.job.id.as_str(), "job_2", "a lost job that was cancelled is not taken up again");
        assert_eq!(store.job(&running.job.id).await.expect("read").status, JobStatus::Cancelled);
        store.finish_job(&next.job.id, next.fence, &end(JobStatus::Succeeded)).await.expect("ended");
        conflict(store.cancel_job(&next.job.id, 1).await);
        not_found(store.cancel_job(&job_id("job_9"), 1).await);
    })
    .await;
}

#[tokio::test]
async fn events_come_back_in_order() {
    on_all(async |store| {
        two_tenants(store).await;
        store.create_job(&job("job_1", "a", 1)).await.expect("created");
        let Lease { job, fence } = lease(store, 100).await.expect("a job");
        store.append_job_events(&job.id, fence, &[event("one"), event("two")]).await.expect("told");
        store.append_job_events(&job.id, fence, &[]).await.expect("nothing to tell");
        store.append_job_events(&job.id, fence, &[event("three")]).await.expect("told");
        let read = async |after, rows_max| {
            let events = store.job_events(&job.id, after, rows_max).await.expect("read");
            events.into_iter().map(|event| (event.sequence, event.kind)).collect::<Vec<_>>()
        };
        let all = [(1, "one".to_owned()), (2, "two".to_owned()), (3, "three".to_owned())];
        assert_eq!(read(0, 9).await, all);
        assert_eq!(read(1, 1).await, all[1..2]);
        assert_eq!(store.job(&job.id).await.expect("read").events, 3);
        let long = JobEvent { data: "x".repeat(EVENT_BYTES_MAX + 1), ..event("long") };
        bad_input(store.append_job_events(&job.id, fence, &[event("four"), long]).await, "`data`");
        assert_eq!(read(0, 9).await, all, "all or none");
        not_found(store.job_events(&job_id("job_9"), 0, 1).await);
    })
    .await;
}

#[tokio::test]
async fn erasing_a_tenant_deletes_its_jobs() {
    on_all(async |store| {
        two_tenants(store).await;
        for job in [job("job_1", "a", 1), job("job_2", "b", 2)] {
            store.create_job(&job).await.expect("created");
        }
        let Lease { job, fence } = lease(store, 100).await.expect("a job");
        store.append_job_events(&job.id, fence, &[event("one")]).await.expect("told");
        store.erase_tenant(&tenant_id("a"), 9).await.expect("erased");
        not_found(store.job(&job_id("job_1")).await);
        not_found(store.append_job_events(&job.id, fence, &[event("two")]).await);
        assert_eq!(store.jobs(&JobQuery { rows_max: 9, ..JobQuery::default() }).await.expect("listed").len(), 1);
        conflict(store.create_job(&super::jobs::job("job_3", "a", 1)).await);
    })
    .await;
}
