//! `GET /health`: is the process well? Orchestrators restart it when it is not.

use crate::error::ApiError;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use orrery_platform::ModelState;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `loading` or `failed`.
    pub status: &'static str,
}

/// 200 from the time that all models are loaded, while the server drains too.
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operations",
    responses(
        (status = 200, description = "Well", body = Health),
        (status = 503, description = "Still loading, or a model failed to load", body = Health),
    )
)]
pub async fn health(State(app): State<App>) -> Response {
    let models = app.backend.models();
    let any = |state: fn(&ModelState) -> bool| models.iter().any(|model| state(&model.state));
    let failed = any(|state| matches!(state, ModelState::Failed(_)));
    let loading = any(|state| matches!(state, ModelState::Loading { .. }));
    match (failed, loading) {
        (true, _) => unwell("failed"),
        (false, true) => unwell("loading"),
        (false, false) => Json(Health { status: "ok" }).into_response(),
    }
}

pub fn unwell(status: &'static str) -> Response {
    let retry_after_ms = ApiError::unavailable(status).retry_after_ms.unwrap_or(0);
    let retry_after = [(header::RETRY_AFTER, retry_after_ms.div_ceil(1_000).to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after, Json(Health { status })).into_response()
}
