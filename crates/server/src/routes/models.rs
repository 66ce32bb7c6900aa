//! `GET /v1/models`.

use super::model::ModelObject;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelList {
    pub object: &'static str,
    pub data: Vec<ModelObject>,
}

/// Lists the models that this server runs, those that are still loading included.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "listModels",
    tag = "OpenAI",
    responses((status = 200, description = "The models", body = ModelList))
)]
pub async fn list(State(app): State<App>) -> Json<ModelList> {
    let data = app.backend.models().into_iter().map(ModelObject::from).collect();
    Json(ModelList { object: "list", data })
}
