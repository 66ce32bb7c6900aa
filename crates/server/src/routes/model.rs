//! `GET /v1/models/{id}`.

use crate::error::{ApiError, ErrorBody};
use crate::state::{App, printable};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use orrery_platform::ModelInfo;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelObject {
    pub id: String,
    pub object: &'static str,
    /// Unix seconds.
    pub created: u64,
    pub owned_by: &'static str,
    /// Longest sequence in tokens, prompt and answer together (vLLM's name); null while the model loads.
    pub max_model_len: Option<usize>,
}

impl From<ModelInfo> for ModelObject {
    fn from(model: ModelInfo) -> Self {
        Self { id: model.id, object: "model", created: model.created, owned_by: "orrery", max_model_len: model.context }
    }
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "retrieveModel",
    tag = "OpenAI",
    params(("id" = String, Path, description = "The model's id; `/` in it is written `%2F`")),
    responses(
        (status = 200, description = "The model", body = ModelObject),
        (status = 400, description = "The id is not UTF-8", body = ErrorBody),
        (status = 404, description = "No such model", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelObject>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::body("The model's id in the URL is not UTF-8 text."))?;
    let found = app.backend.models().into_iter().find(|model| model.id == id);
    found.map(|model| Json(model.into())).ok_or_else(|| ApiError::model_not_found(&printable(&id)))
}
