//! `GET /metrics`.

use crate::error::ApiError;
use crate::metrics::CONTENT_TYPE;
use crate::state::App;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Prometheus metrics, as OpenMetrics text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"))
)]
pub async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = app.metrics.encode().map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
