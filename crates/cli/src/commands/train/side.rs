//! Where a job runs: here, in the data folder, or on a server.

use crate::client::{Client, Refused};
use crate::commands::key;
use crate::config::{Settings, environment};
use anyhow::Context as _;
use orrery_platform::training::{JobRequest, Supervisor};
use orrery_platform::{Accounts, Principal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take for a small answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events of one look.
const EVENTS_MAX: usize = 500;

/// One of the two.
pub enum Side {
    Here { accounts: Arc<Accounts>, by: Principal, supervisor: Supervisor },
    There(Client),
}

/// A job as the terminal shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub id: String,
    pub status: String,
    pub error: Option<Value>,
    pub model: Option<String>,
    pub version: Option<u64>,
    pub metrics: Option<Value>,
}

impl Seen {
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

impl Side {
    /// The server of `url`, or the data folder.
    ///
    /// # Errors
    /// The address is none, or the data folder cannot be opened.
    pub async fn open(url: Option<&str>, key: Option<&str>, settings: &Settings) -> anyhow::Result<Self> {
        if let Some(url) = url {
            let key = key.map(str::to_owned).or_else(|| environment("ORRERY_API_KEY")).filter(|key| !key.is_empty());
            return Ok(Self::There(Client::new(url, key)?));
        }
        anyhow::ensure!(
            settings.training.workers > 0,
            "`training.workers` is 0; set it to 1 to train here, or name a server with --url"
        );
        let (accounts, by) = key::open(settings).await?;
        let supervisor = Supervisor::start(accounts.training().clone(), &settings.platform.data_dir);
        Ok(Self::Here { accounts, by, supervisor })
    }

    /// # Errors
    /// It is refused.
    pub async fn upload(&self, name: &str, content: Vec<u8>) -> anyhow::Result<String> {
        match self {
            Self::There(client) => client.upload(name, "training", content).await,
            Self::Here { accounts, by, .. } => {
                Ok(accounts.files().add(by, name, "training".parse()?, content.into()).await?.id)
            }
        }
    }

    /// # Errors
    /// A field is wrong.
    pub async fn create(&self, request: JobRequest) -> anyhow::Result<Seen> {
        match self {
            Self::Here { accounts, by, .. } => Ok(here(accounts.training().create(by, request).await?)),
            Self::There(client) => {
                let mut body = request.spec;
                body["training_file"] = json!(request.training_file);
                body["validation_file"] = json!(request.validation_file);
                body["suffix"] = json!(request.name);
                body["deploy"] = json!(request.deploy);
                Ok(there(&client.post("/v1/training/jobs", &body).await?))
            }
        }
    }

    /// # Errors
    /// The job or the server is gone.
    pub async fn job(&self, id: &str) -> anyhow::Result<Seen> {
        match self {
            Self::Here { accounts, by, .. } => Ok(here(accounts.training().job(by, id).await?)),
            Self::There(client) => Ok(there(&get(client, &format!("/v1/training/jobs/{id}")).await?)),
        }
    }

    /// What it told after the event with the number `after`: its number, kind and data.
    ///
    /// # Errors
    /// The job or the server is gone.
    pub async fn events(&self, id: &str, after: u64) -> anyhow::Result<Vec<(u64, String, Value)>> {
        match self {
            Self::Here { accounts, by, .. } => {
                let (_, events) = accounts.training().events(by, id, after, EVENTS_MAX).await?;
                Ok(events.into_iter().map(|event| (event.sequence, event.kind, event.data)).collect())
            }
            Self::There(client) => {
                let path = format!("/v1/training/jobs/{id}/events?limit={EVENTS_MAX}&after={id}-{after}");
                let list = get(client, &path).await?;
                let event = |event: &Value| {
                    let number = event["id"].as_str()?.rsplit('-').next()?.parse().ok()?;
                    Some((number, event["data"]["kind"].as_str()?.to_owned(), event["data"].clone()))
                };
                Ok(list["data"].as_array().into_iter().flatten().filter_map(event).collect())
            }
        }
    }

    /// # Errors
    /// The job or the server is gone.
    pub async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        match self {
            Self::Here { accounts, by, .. } => accounts.training().cancel(by, id).await.map(drop).map_err(Into::into),
            Self::There(client) => client.post(&format!("/v1/training/jobs/{id}/cancel"), &json!({})).await.map(drop),
        }
    }

    /// The inputs of a finished model, from its description.
    ///
    /// # Errors
    /// The model or the server is gone.
    pub async fn inputs(&self, model: &str) -> anyhow::Result<Vec<Value>> {
        let description = match self {
            Self::Here { accounts, by, .. } => accounts.registry().version(by, model).await?.description,
            Self::There(client) => get(client, &format!("/v1/registry/models/{model}")).await?["description"].take(),
        };
        Ok(description["inputs"].as_array().cloned().unwrap_or_default())
    }

    /// Ends what was started here.
    pub async fn close(self) {
        if let Self::Here { supervisor, .. } = self {
            supervisor.stop().await;
        }
    }
}

async fn get(client: &Client, path: &str) -> anyhow::Result<Value> {
    let (status, body) = client.get(path, PATIENCE).await?;
    if status != 200 {
        let message = body["error"]["message"].as_str().unwrap_or("no reason was given").to_owned();
        return Err(Refused { status, message }).context("the job cannot be followed");
    }
    Ok(body)
}

fn here(job: orrery_platform::training::JobInfo) -> Seen {
    let of_result = |name: &str| job.result.as_ref().map(|result| result[name].clone());
    Seen {
        status: job.status.to_owned(),
        model: of_result("model").and_then(|model| model.as_str().map(str::to_owned)),
        version: of_result("version").and_then(|version| version.as_u64()),
        metrics: of_result("metrics"),
        id: job.id,
        error: job.error,
    }
}

fn there(job: &Value) -> Seen {
    let text = |name: &str| job[name].as_str().map(str::to_owned);
    let there = |name: &str| Some(job[name].clone()).filter(|value| !value.is_null());
    Seen {
        id: text("id").unwrap_or_default(),
        status: text("status").unwrap_or_default(),
        error: there("error"),
        model: text("fine_tuned_model"),
        version: job["version"].as_u64(),
        metrics: there("metrics"),
    }
}
