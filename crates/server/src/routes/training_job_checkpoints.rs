//! `GET /v1/training/jobs/{id}/checkpoints`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::training::{CheckpointList, CheckpointObject};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;
use serde_json::{Value, json};

/// Events that are read at a time, and in all.
const PAGE: usize = 1_000;
const CHECKPOINTS_MAX: usize = 10_000;

/// The points from which a job could go on, the newest first.
#[utoipa::path(
    get,
    path = "/v1/training/jobs/{id}/checkpoints",
    operation_id = "listTrainingJobCheckpoints",
    tag = "Training",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The checkpoints", body = CheckpointList),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<CheckpointList>, ApiError> {
    let (mut data, mut after, mut told) = (Vec::new(), 0, json!({}));
    loop {
        let (_, events) = app.backend.accounts().training().events(&by, &id, after, PAGE).await.map_err(refused)?;
        let Some(last) = events.last() else { break };
        after = last.sequence;
        for event in events {
            match event.kind.as_str() {
                "step" => told = json!({ "step": event.data["step"], "train_loss": event.data["loss"] }),
                "checkpoint" if data.len() < CHECKPOINTS_MAX => data.push(CheckpointObject {
                    id: format!("{id}-{}", event.sequence),
                    object: "fine_tuning.job.checkpoint",
                    created_at: event.at_ms / 1000,
                    fine_tuning_job_id: id.clone(),
                    fine_tuned_model_checkpoint: String::new(),
                    step_number: event.data["step"].as_u64().unwrap_or(0),
                    metrics: Value::clone(&told),
                }),
                _ => {}
            }
        }
    }
    data.reverse();
    let id = |point: Option<&CheckpointObject>| point.map(|point| point.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(CheckpointList { object: "list", data, first_id, last_id, has_more: false }))
}
