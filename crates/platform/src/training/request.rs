//! A job as it is asked for, and as it is kept.

use super::TrainingSettings;
use crate::Error;
use crate::files::{FileInfo, Files};
use orrery_store::{MODEL_NAME_BYTES_MAX, TenantId, check_model_name};
use orrery_train::Spec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    /// Id of an uploaded file.
    pub training_file: String,
    pub validation_file: Option<String>,
    /// The model's name; `None`: made of the file's name.
    pub name: Option<String>,
    /// The alias that is to lead to the new version; `None`: none is set.
    pub deploy: Option<String>,
    /// All the rest, for the crate `train` to read: task, target, algorithm and others.
    pub spec: Value,
}

/// What the store keeps of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub training_file: String,
    pub training_name: String,
    pub validation_file: Option<String>,
    pub validation_name: Option<String>,
    pub name: String,
    pub deploy: Option<String>,
    /// Complete: with every default filled in.
    pub spec: Value,
}

impl Kept {
    /// Checks all that can be known before the data are read.
    pub async fn check(
        request: JobRequest,
        files: &Files,
        tenant: &TenantId,
        settings: &TrainingSettings,
    ) -> Result<Self, Error> {
        let spec = Spec::from_value(request.spec).map_err(of_spec)?;
        let training = file("training_file", &request.training_file, files, tenant, settings).await?;
        let validation = match &request.validation_file {
            Some(id) => Some(file("validation_file", id, files, tenant, settings).await?),
            None => None,
        };
        let name = match request.name {
            Some(name) => check_model_name("suffix", &name).map(|()| name).map_err(of_field("suffix"))?,
            None => name_of(&training.filename),
        };
        if let Some(alias) = &request.deploy {
            check_model_name("deploy", alias).map_err(of_field("deploy"))?;
        }
        Ok(Self {
            training_file: training.id,
            training_name: training.filename,
            validation_file: validation.as_ref().map(|file| file.id.clone()),
            validation_name: validation.map(|file| file.filename),
            name,
            deploy: request.deploy,
            spec: spec.to_value(),
        })
    }
}

async fn file(
    field: &'static str,
    id: &str,
    files: &Files,
    tenant: &TenantId,
    settings: &TrainingSettings,
) -> Result<FileInfo, Error> {
    let wrong = |message: String| Error::BadInput { param: Some(field), message };
    let (file, _) = files.open_of_tenant(tenant, id).await.map_err(|error| match error {
        Error::NotFound(message) => wrong(format!("`{field}`: {message}; upload it to /v1/files first")),
        error => error,
    })?;
    let most = settings.file_max_bytes;
    if file.bytes > most {
        return Err(wrong(format!("`{field}` has {} bytes, and at most {most} can be trained on", file.bytes)));
    }
    Ok(file)
}

/// The stem of a file's name, as far as it can be a model's: `My Data (2).csv` is `my-data-2`.
fn name_of(filename: &str) -> String {
    let stem = filename.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let mut name = String::new();
    for char in stem.chars().map(|char| char.to_ascii_lowercase()) {
        let plain = char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
        match plain {
            true => name.push(char),
            false if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            false => {}
        }
    }
    name.truncate(MODEL_NAME_BYTES_MAX);
    let trimmed = name.trim_matches(['-', '_']);
    if trimmed.is_empty() { "model".to_owned() } else { trimmed.to_owned() }
}

/// A fault of the specification, with its field.
pub(super) fn of_spec(error: orrery_train::Error) -> Error {
    match error {
        orrery_train::Error::BadSpec { field, message } => Error::BadField { field, message },
        error => Error::bad_input(error.to_string()),
    }
}

fn of_field(field: &'static str) -> impl Fn(orrery_store::Error) -> Error {
    move |error| Error::BadInput { param: Some(field), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_files() {
        for (file, name) in [
            ("iris.csv", "iris"),
            ("My Data (2).csv", "my-data-2"),
            (".csv", "csv"),
            ("Größe.jsonl", "gr-e"),
            ("___", "model"),
            ("", "model"),
            (&"x".repeat(200), &"x".repeat(64)),
        ] {
            assert_eq!(name_of(file), name);
            check_model_name("name", &name_of(file)).expect("a name");
        }
    }
}
