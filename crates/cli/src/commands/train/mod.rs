//! `orrery train`: from a file to a model that answers, with everything on the way shown.

mod show;
mod side;

use crate::args::Train;
use crate::config::Settings;
use crate::failure::Usage;
use crate::signals::Signals;
use anyhow::Context as _;
use orrery_platform::registry::PRODUCTION;
use orrery_platform::training::JobRequest;
use serde_json::{Map, Value, json};
use show::Show;
use side::{Seen, Side};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Uploads, trains, follows, and prints what came of it. An interrupt cancels the job.
///
/// # Errors
/// The file cannot be read, a field is refused, or the job failed.
pub async fn run(train: &Train, settings: &Settings) -> anyhow::Result<()> {
    let spec = spec(train)?;
    let content = read(&train.data, settings)?;
    let validation = train.validation.as_deref().map(|path| read(path, settings)).transpose()?;
    let mut signals = Signals::listen()?;
    let server = &train.target_server;
    let side = Side::open(server.url.as_deref(), server.api_key.as_deref(), settings).await?;
    let mut request = JobRequest {
        training_file: side.upload(&name(&train.data), content).await?,
        validation_file: None,
        name: train.name.clone(),
        deploy: (!train.no_deploy).then(|| PRODUCTION.to_owned()),
        spec,
    };
    if let (Some(path), Some(content)) = (&train.validation, validation) {
        request.validation_file = Some(side.upload(&name(path), content).await?);
    }
    let job = side.create(request).await?;
    let followed = tokio::select! {
        job = follow(&side, &job.id) => job,
        () = signals.next() => {
            let _ = side.cancel(&job.id).await;
            Err(anyhow::anyhow!("cancelled: job {}", job.id))
        }
    };
    let printed = match followed {
        Ok(job) => conclude(train, settings, &side, &job).await,
        Err(error) => Err(error),
    };
    side.close().await;
    printed
}

async fn follow(side: &Side, id: &str) -> anyhow::Result<Seen> {
    let show = Show::new(id);
    let mut after = 0;
    loop {
        // Before the events are read: if it has ended by now, they are the last ones.
        let job = side.job(id).await?;
        let events = side.events(id, after).await?;
        let quiet = events.is_empty();
        for (number, kind, data) in events {
            after = number;
            show.event(&kind, &data);
        }
        if job.is_final() && quiet {
            show.end();
            return Ok(job);
        }
        if quiet {
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn conclude(train: &Train, settings: &Settings, side: &Side, job: &Seen) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if train.json {
        let shown = json!({
            "job": job.id, "status": job.status, "model": job.model, "version": job.version, "metrics": job.metrics,
            "error": job.error,
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
    }
    let Some(model) = &job.model else {
        let why = job.error.as_ref().and_then(|error| error["message"].as_str()).unwrap_or("no reason was given");
        anyhow::bail!("job {} {}: {why}", job.id, job.status);
    };
    if train.json {
        return Ok(());
    }
    for line in show::metrics(job.metrics.as_ref().unwrap_or(&Value::Null)) {
        writeln!(out, "{line}")?;
    }
    let inputs = side.inputs(model).await?;
    let url = train.target_server.url.clone().unwrap_or_else(|| format!("http://{}", settings.listen));
    writeln!(out, "\n{model} is ready (version {}). Call it:", job.version.unwrap_or(0))?;
    writeln!(out, "{}", show::curl(&url, model, &inputs))?;
    Ok(())
}

fn read(path: &Path, settings: &Settings) -> anyhow::Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    let (bytes, most) = (std::fs::metadata(path).with_context(what)?.len(), settings.training.file_max_bytes);
    anyhow::ensure!(
        bytes <= most,
        "{} has {bytes} bytes, and at most {most} can be trained on (`training.file_max`)",
        path.display()
    );
    std::fs::read(path).with_context(what)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "data.csv".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn spec(train: &Train) -> anyhow::Result<Value> {
    let mut spec = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            spec.insert(name.to_owned(), value);
        }
    };
    put("task", json!(train.task));
    put("target", json!(train.target));
    if !train.features.is_empty() {
        put("features", json!(train.features));
    }
    put("algorithm", json!(train.algorithm));
    put("metric", json!(train.metric));
    put("seed", json!(train.seed));
    if !train.set.is_empty() {
        put("hyperparameters", Value::Object(pairs(&train.set)?));
    }
    Ok(Value::Object(spec))
}

/// `NAME=VALUE`, where a value that is JSON is taken as such.
fn pairs(set: &[String]) -> anyhow::Result<Map<String, Value>> {
    let pair = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Usage(format!("--set `{text}`: write NAME=VALUE, such as --set epochs=50")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok((name.to_owned(), value))
    };
    set.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyperparameters_are_json_or_text() {
        let set = ["epochs=5", "solver=exact", "hidden=[8,4]", "note=a=b"].map(str::to_owned);
        let expected = json!({ "epochs": 5, "solver": "exact", "hidden": [8, 4], "note": "a=b" });
        assert_eq!(Value::Object(pairs(&set).expect("pairs")), expected);
        assert!(pairs(&["epochs".to_owned()]).expect_err("no value").to_string().contains("NAME=VALUE"));
    }
}
