//! `GET /ready`: should new requests come here? The first thing to change on a shutdown.

use super::health::{Health, unwell};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

/// 200 while new requests are welcome.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "Operations",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Loading or draining", body = Health),
    )
)]
pub async fn ready(State(app): State<App>) -> Response {
    if app.is_draining() {
        return unwell("draining");
    }
    if app.backend.is_ready() { Json(Health { status: "ok" }).into_response() } else { unwell("loading") }
}
