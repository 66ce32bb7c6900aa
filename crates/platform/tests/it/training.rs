//! Training from a file to a version in the registry, with workers in processes of their own.
//!
//! The worker is this test binary itself; see [`worker_process`].

use bytes::Bytes;
use futures_util::stream;
use orrery_platform::accounts::Keys;
use orrery_platform::files::{FileSettings, NewFile};
use orrery_platform::training::{JobInfo, JobPage, JobRequest, Supervisor, TrainingSettings, worker};
use orrery_platform::{Accounts, Error, Principal};
use serde_json::{Value, json};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Arguments that make this test binary a worker.
const WORKER: [&str; 5] = ["--exact", "training::worker_process", "--ignored", "--nocapture", "--test-threads=1"];
const PATIENCE: Duration = Duration::from_secs(120);

/// Not a test: what the tests below start as their worker.
#[test]
#[ignore = "is a process of other tests"]
fn worker_process() {
    // The harness has written the test's name without an end of line.
    println!();
    worker::run(BufReader::new(std::io::stdin()), std::io::stdout(), |_| Ok(())).expect("a server");
}

/// Not a test: a worker that dies without a word.
#[test]
#[ignore = "is a process of other tests"]
fn lost_process() {
    std::process::abort();
}

fn command(arguments: &[&str]) -> Vec<PathBuf> {
    let program = std::env::current_exe().expect("this binary");
    std::iter::once(program).chain(arguments.iter().map(PathBuf::from)).collect()
}

fn settings() -> TrainingSettings {
    TrainingSettings { command: command(&WORKER), ..TrainingSettings::default() }
}

struct Service {
    accounts: Arc<Accounts>,
    by: Principal,
    supervisor: Option<Supervisor>,
}

impl Service {
    async fn start(folder: &Path, settings: TrainingSettings) -> Self {
        let opened = Accounts::open_with(folder, Keys::Asked, FileSettings::default(), settings).await.expect("opened");
        let accounts = opened.accounts;
        let by = accounts.operator().await.expect("operator");
        let supervisor = Some(Supervisor::start(accounts.training().clone(), folder));
        Self { accounts, by, supervisor }
    }

    async fn upload(&self, name: &str, content: &str) -> String {
        let mut upload = self.accounts.files().begin(&self.by).await.expect("begun");
        let pieces = stream::iter([Ok(Bytes::from(content.to_owned()))]);
        upload.receive(pieces).await.expect("received");
        let purpose = "training".parse().expect("a purpose");
        let new = NewFile { filename: name.to_owned(), purpose, expires_after_ms: None };
        upload.publish(new).await.expect("published").id
    }

    async fn create(&self, file: &str, spec: Value, deploy: Option<&str>) -> Result<JobInfo, Error> {
        let request = JobRequest {
            training_file: file.to_owned(),
            validation_file: None,
            name: None,
            deploy: deploy.map(str::to_owned),
            spec,
        };
        self.accounts.training().create(&self.by, request).await
    }

    async fn job(&self, id: &str) -> JobInfo {
        self.accounts.training().job(&self.by, id).await.expect("a job")
    }

    /// Waits until the job is as wanted.
    async fn wait(&self, id: &str, wanted: impl Fn(&JobInfo) -> bool) -> JobInfo {
        let begun = Instant::now();
        loop {
            let job = self.job(id).await;
            if wanted(&job) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "{job:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn events(&self, id: &str, kind: &str) -> Vec<Value> {
        let (_, events) = self.accounts.training().events(&self.by, id, 0, 1_000).await.expect("events");
        events.into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
    }

    async fn stop(mut self) {
        self.supervisor.take().expect("once").stop().await;
    }
}

const ROWS: &str = "a,b,y\n1,2,1\n2,3,2\n3,4,3\n4,5,4\n";

fn regression() -> Value {
    json!({ "task": "tabular-regression", "target": "y", "algorithm": "linear-regression" })
}

/// Long enough that it is always met while it runs.
fn endless() -> Value {
    json!({
        "task": "tabular-regression", "target": "y", "algorithm": "mlp",
        "hyperparameters": { "epochs": 100_000, "early_stopping": 0, "batch_size": 1 },
    })
}

#[tokio::test]
async fn four_rows_become_a_deployed_model() {
    let folder = tempfile::tempdir().expect("folder");
    let service = Service::start(folder.path(), settings()).await;
    let file = service.upload("line.csv", ROWS).await;
    let job = service.create(&file, regression(), Some("production")).await.expect("taken");
    assert_eq!((job.status, job.name.as_str()), ("queued", "line"));
    let job = service.wait(&job.id, |job| job.is_final).await;
    assert_eq!(job.status, "succeeded", "{job:?}");
    let result = job.result.expect("a result");
    assert_eq!((&result["model"], &result["version"]), (&json!("line"), &json!(1)));
    assert!(result["metrics"]["train"]["rmse"].as_f64().expect("a metric") < 1e-6, "{result}");

    let registry = service.accounts.registry();
    let version = registry.version(&service.by, "line").await.expect("there");
    assert_eq!((version.version, version.aliases), (1, vec!["production".to_owned()]));
    assert_eq!(version.description["task"], "tabular-regression");
    let (part, content) = registry.open_part(&service.by, "line@1", "model.onnx").await.expect("there");
    let bytes = content.read(1 << 20).await.expect("read");
    assert_eq!(part.sha256, super::sha256(&bytes));
    assert_eq!(version.description["files"]["model.onnx"], json!(part.sha256));
    assert!(!folder.path().join("jobs").join(&job.id).exists(), "nothing is left of a job that has ended");
    service.stop().await;
}

#[tokio::test]
async fn the_data_are_nowhere_in_the_clear() {
    let folder = tempfile::tempdir().expect("folder");
    let service = Service::start(folder.path(), settings()).await;
    let rows = format!("{ROWS}5,6,5\n").replace("a,b", "a,canary-7f3a");
    let file = service.upload("line.csv", &rows).await;
    let job = service.create(&file, regression(), None).await.expect("taken");
    assert_eq!(service.wait(&job.id, |job| job.is_final).await.status, "succeeded");
    service.stop().await;
    // The name of a column is a part of the model's description, which the registry shows; the numbers are not.
    let needle = b"3,4,3\n4,5,4";
    let mut searched = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("listed").flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    // A journal's file may be closed and gone meanwhile.
                    let Ok(content) = std::fs::read(entry.path()) else { continue };
                    searched += 1;
                    assert!(!content.windows(needle.len()).any(|window| window == needle), "{:?}", entry.path());
                }
            }
        }
    }
    assert!(searched > 3, "{searched}");
}

#[tokio::test]
async fn mistakes_are_named_before_and_after_the_queue() {
    let folder = tempfile::tempdir().expect("folder");
    let service = Service::start(folder.path(), settings()).await;
    let file = service.upload("line.csv", ROWS).await;
    let refused = async |file: &str, spec| service.create(file, spec, None).await.expect_err("refused");
    let error = refused("file-x", regression()).await;
    assert!(matches!(&error, Error::BadInput { param: Some("training_file"), .. }), "{error:?}");
    let error = refused(&file, json!({ "task": "tabular-regression", "hyperparameters": { "trials": 0 } })).await;
    assert!(matches!(&error, Error::BadField { field, .. } if field == "hyperparameters.trials"), "{error:?}");
    let error = refused(&file, json!({ "target": "y" })).await;
    assert!(matches!(&error, Error::BadField { field, .. } if field == "task"), "{error:?}");

    let spec = json!({ "task": "tabular-regression", "target": "z", "algorithm": "linear-regression" });
    let job = service.create(&file, spec, None).await.expect("the data are not read yet");
    let job = service.wait(&job.id, |job| job.is_final).await;
    let error = job.error.expect("an error");
    assert_eq!(job.status, "failed");
    assert!(error["message"].as_str().expect("a text").contains("z"), "{error}");

    let ragged = service.upload("bad.csv", "a,y\n1,2\n3\n").await;
    let job = service.create(&ragged, regression(), None).await.expect("taken");
    let error = service.wait(&job.id, |job| job.is_final).await.error.expect("an error");
    assert_eq!((&error["code"], &error["param"]), (&json!("invalid_data"), &json!("training_file")));
    assert!(error["message"].as_str().expect("a text").contains("row 2"), "{error}");
    service.stop().await;
}

#[tokio::test]
async fn a_running_job_is_cancelled() {
    let folder = tempfile::tempdir().expect("folder");
    let quick = TrainingSettings { lease: Duration::from_millis(500), ..settings() };
    let service = Service::start(folder.path(), quick).await;
    let file = service.upload("line.csv", &long_rows()).await;
    let job = service.create(&file, endless(), None).await.expect("taken");
    let waiting = service.create(&file, regression(), None).await.expect("taken");
    service.wait(&job.id, |job| job.events > 3).await;
    let asked = service.accounts.training().cancel(&service.by, &job.id).await.expect("asked");
    assert!(asked.cancel_requested);
    let job = service.wait(&job.id, |job| job.is_final).await;
    assert_eq!((job.status, job.result), ("cancelled", None));
    let error = service.accounts.training().cancel(&service.by, &job.id).await.expect("again");
    assert_eq!(error.status, "cancelled");
    assert_eq!(service.wait(&waiting.id, |job| job.is_final).await.status, "succeeded", "the next has its turn");
    assert!(service.accounts.registry().versions(&service.by, None).await.expect("listed").len() == 1);
    service.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_lost_is_tried_again_and_given_up() {
    let folder = tempfile::tempdir().expect("folder");
    let lost = ["--exact", "training::lost_process", "--ignored", "--nocapture", "--test-threads=1"];
    let service = Service::start(
        folder.path(),
        TrainingSettings { command: command(&lost), attempts_max: 2, ..TrainingSettings::default() },
    )
    .await;
    let file = service.upload("line.csv", ROWS).await;
    let job = service.create(&file, regression(), None).await.expect("taken");
    let job = service.wait(&job.id, |job| job.is_final).await;
    assert_eq!((job.status, job.attempt), ("failed", 2));
    assert_eq!(job.error.expect("an error")["code"], "worker_lost");
    let logs = service.events(&job.id, "log").await;
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(logs[0]["message"].as_str().expect("a text").contains("signal 6"), "{logs:?}");
    service.stop().await;
}

/// A server that ends puts its job back; the next goes on from the checkpoint, and the model is that of an unbroken run.
#[tokio::test]
async fn a_job_outlives_its_server() {
    let spec = json!({
        "task": "tabular-regression", "target": "y", "algorithm": "mlp",
        "hyperparameters": { "epochs": 300, "early_stopping": 0, "batch_size": 4 },
    });
    let mut digests = Vec::new();
    for breaks in [0, 2] {
        let folder = tempfile::tempdir().expect("folder");
        let mut service = Service::start(folder.path(), settings()).await;
        let file = service.upload("line.csv", &long_rows()).await;
        let job = service.create(&file, spec.clone(), None).await.expect("taken");
        for _ in 0..breaks {
            let seen = service.job(&job.id).await.events;
            let now = service.wait(&job.id, |job| job.events > seen + 2 || job.is_final).await;
            assert!(!now.is_final, "it was over before it could be broken off");
            service.stop().await;
            service = Service::start(folder.path(), settings()).await;
        }
        let job = service.wait(&job.id, |job| job.is_final).await;
        assert_eq!((job.status, job.attempt), ("succeeded", 1), "{job:?}");
        let version = service.accounts.registry().version(&service.by, "line").await.expect("there");
        digests.push(version.description["files"]["model.onnx"].clone());
        service.stop().await;
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn jobs_are_listed_and_bounded() {
    let folder = tempfile::tempdir().expect("folder");
    let few = TrainingSettings { tenant_queue_max: 2, command: command(&WORKER), ..TrainingSettings::default() };
    let mut service = Service::start(folder.path(), few).await;
    // Nothing runs: they all wait.
    service.supervisor.take().expect("there").stop().await;
    let file = service.upload("line.csv", ROWS).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(service.create(&file, regression(), None).await.expect("taken").id);
    }
    let error = service.create(&file, regression(), None).await.expect_err("too many");
    assert!(matches!(&error, Error::Overloaded { .. }), "{error:?}");
    let training = service.accounts.training();
    let (jobs, more) = training.list(&service.by, JobPage { after: None, jobs_max: 1 }).await.expect("listed");
    assert_eq!((jobs.len(), more), (1, true));
    let page = JobPage { after: Some(jobs[0].id.clone()), jobs_max: 1 };
    let (rest, more) = training.list(&service.by, page).await.expect("listed");
    assert_eq!((rest.len(), more), (1, false));
    let mut listed = vec![jobs[0].id.clone(), rest[0].id.clone()];
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    assert!(matches!(training.job(&service.by, "job_x").await, Err(Error::NotFound(_))));
    let page = JobPage { after: Some("job_x".into()), jobs_max: 1 };
    assert!(matches!(training.list(&service.by, page).await, Err(Error::BadInput { param: Some("after"), .. })));
}

fn long_rows() -> String {
    let rows = (0..200).map(|i| format!("{},{},{}\n", i % 7, i % 11, (i % 7) * 3 - (i % 11)));
    std::iter::once("a,b,y\n".to_owned()).chain(rows).collect()
}
