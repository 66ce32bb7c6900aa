//! One worker at one job, from the lease to the end.

use crate::Error;
use crate::accounts::now_ms;
use crate::registry::{NewVersion, PRODUCTION};
use crate::training::info::json;
use crate::training::process::Process;
use crate::training::protocol::{Order, OrderFile, Word};
use crate::training::request::Kept;
use crate::training::{Training, folder};
use orrery_store::{Alias, Job, JobEnd, JobEvent, JobStatus, Lease, Route};
use orrery_train::Event;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Events are written together, at most so often.
const FLUSH: Duration = Duration::from_millis(250);
/// Events that wait while the database cannot be written; of more, steps are dropped.
const WAITING_MAX: usize = 10_000;

/// One attempt at a job.
pub struct Attempt {
    training: Training,
    job: Job,
    fence: u64,
    folder: PathBuf,
    ends: watch::Receiver<bool>,
    waiting: Vec<JobEvent>,
}

/// How a worker ended.
enum End {
    Done,
    Cancelled,
    Failed {
        code: String,
        message: String,
        param: Option<String>,
    },
    /// Without a last word.
    Lost(String),
    /// The lease is another's; nothing is to be said any more.
    Superseded,
    /// The server ends.
    Returned,
}

/// Until when a worker may go on.
struct Hold {
    /// When the lease that was kept last runs out: another may have the job from then on.
    until: Instant,
    /// It was asked to stop, and has to have stopped by then.
    stopping: Option<(Instant, Why)>,
}

/// Why a worker was asked to stop.
#[derive(Debug, Clone, Copy)]
enum Why {
    Asked,
    ServerEnds,
}

impl Hold {
    /// How it ends, if it must end now.
    fn end(&self) -> Option<End> {
        let now = Instant::now();
        if now >= self.until {
            return Some(End::Superseded);
        }
        match self.stopping {
            Some((by, Why::ServerEnds)) if now > by => Some(End::Returned),
            Some((by, Why::Asked)) if now > by => Some(End::Cancelled),
            _ => None,
        }
    }
}

impl Attempt {
    pub fn new(training: Training, lease: Lease, data_dir: &Path, ends: watch::Receiver<bool>) -> Self {
        let folder = folder::of_job(data_dir, &lease.job.id);
        Self { training, job: lease.job, fence: lease.fence, folder, ends, waiting: Vec::new() }
    }

    /// Runs it to its end.
    pub async fn run(mut self) {
        let job = self.job.id.clone();
        tracing::info!(%job, attempt = self.job.attempt, "a training job begins");
        let end = match self.work().await {
            Ok(end) => end,
            Err(error) => self.of_error(error),
        };
        self.note_end(&end);
        self.flush().await;
        let concluded = match end {
            End::Done => self.publish().await,
            End::Cancelled => self.finish(JobStatus::Cancelled, None, None).await,
            End::Failed { code, message, param } => self.fail(&code, &message, param.as_deref()).await,
            End::Lost(_) if self.job.attempt >= self.training.settings.attempts_max => {
                self.fail("worker_lost", &lost(self.job.attempt), None).await
            }
            // Its lease runs out at once, so that it is taken up again with its attempt counted.
            End::Lost(_) => self.training.store.renew_lease(&job, self.fence, 0).await.map(drop).map_err(Error::from),
            End::Returned => self.training.store.return_job(&job, self.fence).await.map_err(Error::from),
            End::Superseded => Ok(()),
        };
        self.training.news.notify_one();
        match concluded {
            Ok(()) => tracing::info!(%job, "a training job's worker has ended"),
            // The lease runs out, and it is taken up again.
            Err(error) => tracing::warn!(%job, %error, "a training job's end cannot be written down"),
        }
    }

    async fn work(&mut self) -> Result<End, Error> {
        let kept: Kept = json("specification", &self.job.spec)?;
        folder::make(&self.folder)?;
        let settings = &self.training.settings;
        let mut files = Vec::new();
        let mut contents = Vec::new();
        for id in [Some(&kept.training_file), kept.validation_file.as_ref()].into_iter().flatten() {
            let (file, content) = self.training.files.open_of_tenant(&self.job.tenant, id).await?;
            files.push(OrderFile { name: file.filename, bytes: file.bytes, sha256: file.sha256 });
            contents.push(content);
        }
        let order = Order {
            job: self.job.id.to_string(),
            name: kept.name,
            spec: kept.spec,
            folder: self.folder.clone(),
            time_max_s: settings.time_max.as_secs(),
            memory_max_bytes: settings.memory_max_bytes,
            disk_max_bytes: settings.disk_max_bytes,
            files,
        };
        let process = Process::start(&settings.command, &order, contents)?;
        Ok(self.attend(process).await)
    }

    /// Listens to a worker, and keeps its lease, until it ends.
    async fn attend(&mut self, mut process: Process) -> End {
        let mut beat = tokio::time::interval(self.training.settings.lease / 5);
        let mut flush = tokio::time::interval(FLUSH);
        let mut ends = self.ends.clone();
        let mut hold = Hold { until: Instant::now() + self.training.settings.lease, stopping: None };
        let mut last = None;
        loop {
            tokio::select! {
                word = process.words.recv() => match word {
                    Some(Word::Event { event }) => self.hear(event),
                    Some(word) => last = Some(word),
                    None => break,
                },
                _ = flush.tick() => self.flush().await,
                _ = beat.tick() => self.beat(&mut hold, &mut process).await,
                () = ended(&mut ends), if hold.stopping.is_none() => {
                    hold.stopping = Some((Instant::now() + self.training.settings.grace, Why::ServerEnds));
                    process.stop().await;
                }
            }
            if let Some(end) = hold.end() {
                process.kill().await;
                return end;
            }
        }
        let fed = process.feeding_error().await;
        let status = process.wait().await;
        match (last, fed, hold.stopping) {
            (Some(Word::Done), ..) => End::Done,
            (_, Some(error), _) => self.of_error(error),
            (Some(Word::Failed { code, message, param }), ..) => End::Failed { code, message, param },
            (_, _, Some((_, Why::ServerEnds))) => End::Returned,
            (Some(Word::Cancelled), ..) | (_, _, Some((_, Why::Asked))) => End::Cancelled,
            (_, _, None) => End::Lost(status.unwrap_or_else(|| "it ended without a word".to_owned())),
        }
    }

    /// Keeps the lease, and hears whether the job is to end.
    async fn beat(&self, hold: &mut Hold, process: &mut Process) {
        let settings = &self.training.settings;
        let lease_ms = i64::try_from(settings.lease.as_millis()).unwrap_or(i64::MAX);
        let kept = self.training.store.renew_lease(&self.job.id, self.fence, now_ms().saturating_add(lease_ms)).await;
        match kept {
            Ok(cancel) => {
                hold.until = Instant::now() + settings.lease;
                if cancel && hold.stopping.is_none() {
                    hold.stopping = Some((Instant::now() + settings.grace, Why::Asked));
                    process.stop().await;
                }
            }
            // It is another's: from now on this one is over.
            Err(orrery_store::Error::Conflict(_) | orrery_store::Error::NotFound(_)) => hold.until = Instant::now(),
            Err(error) => tracing::warn!(%error, "a job's lease cannot be kept now"),
        }
    }

    /// Publishes what the worker made, deploys it if that was asked for, and ends the job. All of it can be done again.
    async fn publish(&self) -> Result<(), Error> {
        let path = self.folder.clone();
        let parts = tokio::task::spawn_blocking(move || folder::read_artefact(&path)).await;
        let parts = parts.map_err(|_| Error::internal("reading a job's model panicked"))??;
        let description = parts.iter().find(|part| part.name == "orrery.json").map(|part| part.content.clone());
        let description: Value = serde_json::from_slice(&description.unwrap_or_default())
            .map_err(|error| Error::internal(format!("a worker's orrery.json: {error}")))?;
        let kept: Kept = json("specification", &self.job.spec)?;
        let new = NewVersion {
            tenant: self.job.tenant.clone(),
            key: self.job.key.clone(),
            name: kept.name.clone(),
            task: description["task"].as_str().unwrap_or_default().to_owned(),
            description: description.clone(),
            parts,
            job: Some(self.job.id.clone()),
        };
        let version = self.training.registry.publish(new).await?;
        let alias = kept.deploy.as_deref();
        if let Some(alias) = alias {
            let set = Alias {
                tenant: self.job.tenant.clone(),
                name: kept.name.clone(),
                alias: alias.to_owned(),
                sequence: 0,
                route: Route::to(version.version),
                at_ms: now_ms(),
                key: self.job.key.clone(),
            };
            self.training.store.set_alias(&set).await?;
        }
        let model = match alias {
            Some(PRODUCTION) => kept.name.clone(),
            Some(alias) => format!("{}@{alias}", kept.name),
            None => format!("{}@{}", kept.name, version.version),
        };
        let result = json!({
            "model": model, "name": kept.name, "version": version.version, "digest": version.digest,
            "metrics": description["metrics"],
        });
        self.finish(JobStatus::Succeeded, None, Some(result)).await
    }

    async fn fail(&self, code: &str, message: &str, param: Option<&str>) -> Result<(), Error> {
        let error = json!({ "code": code, "message": message, "param": param });
        self.finish(JobStatus::Failed, Some(error), None).await
    }

    async fn finish(&self, status: JobStatus, error: Option<Value>, result: Option<Value>) -> Result<(), Error> {
        let text = |value: Value| value.to_string();
        let end = JobEnd { status, error: error.map(text), result: result.map(text), at_ms: now_ms() };
        self.training.store.finish_job(&self.job.id, self.fence, &end).await?;
        folder::remove(&self.folder);
        Ok(())
    }

    /// What went wrong here, and not in the worker. What may go away is tried again.
    fn of_error(&self, error: Error) -> End {
        match error {
            Error::NotFound(message) | Error::BadInput { message, .. } => {
                End::Failed { code: "file_missing".into(), message, param: Some("training_file".into()) }
            }
            error => {
                tracing::warn!(job = %self.job.id, %error, "a training job's worker cannot be run");
                End::Lost("the server could not run it; its log says why".into())
            }
        }
    }

    fn note_end(&mut self, end: &End) {
        let attempt = self.job.attempt;
        let message = match end {
            End::Lost(why) => format!("attempt {attempt}: the worker was lost: {why}"),
            End::Failed { message, .. } => format!("failed: {message}"),
            End::Returned => "the server is shutting down; the job goes on when it is back".to_owned(),
            End::Cancelled => "cancelled".to_owned(),
            End::Done | End::Superseded => return,
        };
        self.hear(Event::Log { message });
    }

    fn hear(&mut self, event: Event) {
        let Ok(Value::Object(mut data)) = serde_json::to_value(&event) else { return };
        // Paths of the server are nobody's business.
        data.remove("artefact");
        let kind = data.shift_remove("event").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        if self.waiting.len() >= WAITING_MAX && kind == "step" {
            return;
        }
        self.waiting.push(JobEvent { sequence: 0, at_ms: now_ms(), kind, data: Value::Object(data).to_string() });
    }

    async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match self.training.store.append_job_events(&self.job.id, self.fence, &self.waiting).await {
            // What cannot be kept ever is dropped; a busy database is tried again.
            Ok(()) | Err(orrery_store::Error::BadInput(_) | orrery_store::Error::Conflict(_)) => self.waiting.clear(),
            Err(error) => tracing::warn!(%error, "what a job tells cannot be written down now"),
        }
    }
}

/// Waits for the server's end.
async fn ended(ends: &mut watch::Receiver<bool>) {
    // A sender that is gone is a server that is, too.
    let _ = ends.wait_for(|ends| *ends).await;
}

fn lost(attempts: u32) -> String {
    format!(
        "the job's worker ended without a word {attempts} times; it may need more memory or time than it is allowed"
    )
}
