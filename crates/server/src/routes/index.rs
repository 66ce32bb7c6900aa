//! `GET /`: where to go from here.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Index {
    pub name: &'static str,
    pub version: &'static str,
    pub openapi: &'static str,
    pub models: &'static str,
}

/// Names the server and its documentation.
#[utoipa::path(get, path = "/", tag = "Operations", responses((status = 200, description = "The server", body = Index)))]
pub async fn index() -> Json<Index> {
    Json(Index { name: "orrery", version: env!("CARGO_PKG_VERSION"), openapi: "/openapi.json", models: "/v1/models" })
}
