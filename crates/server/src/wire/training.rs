//! Training jobs on the wire: OpenAI's fine-tuning objects, with what a job of ours has besides. Times are seconds since 1970.

use crate::error::ApiError;
use crate::wire::fields::Fields;
use crate::wire::params::Flag;
use crate::wire::query::Query;
use axum::extract::Request;
use orrery_platform::registry::PRODUCTION;
use orrery_platform::training::{JobEventInfo, JobInfo, JobPage, JobRequest};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// Jobs and events of one page.
const LIMIT_MAX: i64 = 500;
const LIMIT_DEFAULT: usize = 20;

/// A job. `task`, `algorithm` and the rest of the specification stand beside OpenAI's fields.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobObject {
    pub id: String,
    /// `fine_tuning.job`, as OpenAI's clients expect.
    pub object: &'static str,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// The algorithm.
    pub model: String,
    /// By what name the new model is called, when there is one.
    pub fine_tuned_model: Option<String>,
    pub organization_id: String,
    pub training_file: String,
    pub validation_file: Option<String>,
    pub result_files: Vec<String>,
    #[schema(value_type = Object)]
    pub hyperparameters: Value,
    pub seed: u64,
    /// Always null: rows are counted, not tokens.
    pub trained_tokens: Option<u64>,
    /// Of a job that failed: `code`, `message`, `param`.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// What the model is, or will be, called.
    pub name: String,
    /// The alias that leads to the new version.
    pub deploy: Option<String>,
    pub version: Option<u64>,
    /// By split.
    #[schema(value_type = Option<Object>)]
    pub metrics: Option<Value>,
    /// How many workers have taken it up.
    pub attempt: u32,
    pub cancel_requested: bool,
    /// Task, target, features, preprocessing, split, metric, privacy.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub spec: Map<String, Value>,
}

impl JobObject {
    pub fn new(job: JobInfo, tenant: &str) -> Self {
        let Value::Object(mut spec) = job.spec else { return Self::new(JobInfo { spec: json!({}), ..job }, tenant) };
        let mut take = |name: &str| spec.shift_remove(name).unwrap_or(Value::Null);
        let (algorithm, hyperparameters, seed) = (take("algorithm"), take("hyperparameters"), take("seed"));
        take("name");
        let result = job.result.as_ref();
        let of_result = |name: &str| result.and_then(|result| result.get(name));
        Self {
            id: job.id,
            object: "fine_tuning.job",
            created_at: job.created_at_ms / 1000,
            started_at: job.started_at_ms.map(|at_ms| at_ms / 1000),
            finished_at: job.finished_at_ms.map(|at_ms| at_ms / 1000),
            status: job.status.to_owned(),
            model: algorithm.as_str().unwrap_or("auto").to_owned(),
            fine_tuned_model: of_result("model").and_then(Value::as_str).map(str::to_owned),
            organization_id: tenant.to_owned(),
            training_file: job.training_file,
            validation_file: job.validation_file,
            result_files: Vec::new(),
            hyperparameters: if hyperparameters.is_null() { json!({}) } else { hyperparameters },
            seed: seed.as_u64().unwrap_or(0),
            trained_tokens: None,
            version: of_result("version").and_then(Value::as_u64),
            metrics: of_result("metrics").cloned(),
            error: job.error,
            name: job.name,
            deploy: job.deploy,
            attempt: job.attempt,
            cancel_requested: job.cancel_requested,
            spec,
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobList {
    pub object: &'static str,
    pub data: Vec<JobObject>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

/// Something that a job told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobEventObject {
    /// `JOB-NUMBER`; numbers count from 1.
    pub id: String,
    pub object: &'static str,
    pub created_at: i64,
    pub level: &'static str,
    pub message: String,
    /// `message` or `metrics`.
    pub r#type: &'static str,
    /// `kind` (`log`, `step`, `metrics`, `checkpoint`, `trial`, `done`) and what belongs to it.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl JobEventObject {
    pub fn new(job: &str, event: JobEventInfo) -> Self {
        let text = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
        let message = match event.kind.as_str() {
            "log" => text("message"),
            "step" => format!("step {} of {}: loss {}", event.data["step"], event.data["total"], event.data["loss"]),
            "metrics" => format!("metrics of the {} split", text("split")),
            "checkpoint" => format!("checkpoint at step {}", event.data["step"]),
            "trial" => {
                format!("trial {} of {}: {}", event.data["trial"], event.data["total"], text("algorithm"))
            }
            kind => kind.to_owned(),
        };
        let r#type = if matches!(event.kind.as_str(), "step" | "metrics") { "metrics" } else { "message" };
        let mut data = event.data;
        data["kind"] = Value::String(event.kind);
        Self {
            id: format!("{job}-{}", event.sequence),
            object: "fine_tuning.job.event",
            created_at: event.at_ms / 1000,
            level: "info",
            message,
            r#type,
            data,
        }
    }
}

/// Events, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobEventList {
    pub object: &'static str,
    pub data: Vec<JobEventObject>,
    pub has_more: bool,
}

/// A point from which a job can go on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckpointObject {
    pub id: String,
    pub object: &'static str,
    pub created_at: i64,
    pub fine_tuning_job_id: String,
    /// Always empty: a checkpoint cannot be called.
    pub fine_tuned_model_checkpoint: String,
    pub step_number: u64,
    /// What the last step before it told.
    #[schema(value_type = Object)]
    pub metrics: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckpointList {
    pub object: &'static str,
    pub data: Vec<CheckpointObject>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

/// The body of a new job.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for OpenAPI; the specification is read by the crate that trains")]
pub struct JobBody {
    /// `tabular-classification`, `tabular-regression`, `time-series-forecasting`, `text-classification` or
    /// `image-classification`.
    task: String,
    /// Id of a file that was uploaded with the purpose `training`.
    training_file: String,
    validation_file: Option<String>,
    /// The column that is to be told.
    target: Option<String>,
    /// The columns it is told from; all others if left out.
    features: Option<Vec<String>>,
    /// `auto`, or an algorithm's name.
    algorithm: Option<String>,
    #[schema(value_type = Option<Object>)]
    hyperparameters: Option<Value>,
    #[schema(value_type = Option<Object>)]
    preprocessing: Option<Value>,
    #[schema(value_type = Option<Object>)]
    split: Option<Value>,
    metric: Option<String>,
    seed: Option<u64>,
    #[schema(value_type = Option<Object>)]
    privacy: Option<Value>,
    /// The model's name; the file's, if left out.
    suffix: Option<String>,
    /// `true` leads the alias `production` to the new version, a text another alias.
    #[schema(value_type = Option<Object>)]
    deploy: Option<Value>,
}

const DEPLOY: Flag = Flag { name: "deploy", default: false, about: "" };

/// Takes out what is the platform's; the rest is the specification.
pub fn read(mut fields: Fields) -> Result<JobRequest, ApiError> {
    let training_file = fields.required_text("training_file")?;
    let validation_file = fields.text("validation_file")?;
    let name = fields.text("suffix")?;
    let deploy = match fields.get("deploy") {
        Some(Value::String(_)) => fields.text("deploy")?,
        _ => fields.flag(&DEPLOY)?.then(|| PRODUCTION.to_owned()),
    };
    Ok(JobRequest { training_file, validation_file, name, deploy, spec: Value::Object(fields.rest()) })
}

/// `after` and `limit` of a list of jobs.
pub fn page(request: &Request) -> Result<JobPage, ApiError> {
    let mut query = Query::of(request)?;
    let page = JobPage { after: query.text("after"), jobs_max: limit(&mut query)? };
    query.finish()?;
    Ok(page)
}

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPage {
    /// Those with a higher number.
    pub after: u64,
    pub events_max: usize,
    pub stream: bool,
}

/// `after` (an event's id), `limit` and `stream` of a list of events of `job`.
pub fn event_page(request: &Request, job: &str) -> Result<EventPage, ApiError> {
    let mut query = Query::of(request)?;
    let after = match query.text("after") {
        None => 0,
        Some(id) => {
            let number =
                id.strip_prefix(job).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.parse().ok());
            let shown = crate::state::printable(&id);
            number
                .ok_or_else(|| ApiError::invalid("after", format!("`after` is {shown}, and no event of this job.")))?
        }
    };
    let accepts = |value: &axum::http::HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    let asked = match query.text("stream").as_deref() {
        None => request.headers().get(axum::http::header::ACCEPT).is_some_and(accepts),
        Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let shown = crate::state::printable(other);
            return Err(ApiError::invalid("stream", format!("`stream` is {shown}; it must be `true` or `false`.")));
        }
    };
    let page = EventPage { after, events_max: limit(&mut query)?, stream: asked };
    query.finish()?;
    Ok(page)
}

fn limit(query: &mut Query) -> Result<usize, ApiError> {
    let limit = query.integer("limit", 1, LIMIT_MAX)?;
    Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT_DEFAULT))
}
