//! `GET /openapi.json`: the document of all routes.

use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder};

/// The document before its routes.
pub fn document() -> OpenApi {
    let mut info = Info::new("Orrery", env!("CARGO_PKG_VERSION"));
    info.description = Some("Models as a service, over the API that OpenAI's clients speak.".to_owned());
    OpenApiBuilder::new().info(info).build()
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "Operations",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value))
)]
pub async fn openapi(State(app): State<App>) -> Response {
    match app.openapi.get() {
        Some(document) => Json(document).into_response(),
        None => crate::error::ApiError::internal().into_response(),
    }
}
