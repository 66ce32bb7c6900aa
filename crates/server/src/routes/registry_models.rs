//! `GET /v1/registry/models`: the models that the tenant has trained or brought.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::registry::VersionList;
use axum::extract::State;
use axum::{Extension, Json};
use orrery_platform::Principal;

/// All versions of all models, by name, then the newest first.
#[utoipa::path(
    get,
    path = "/v1/registry/models",
    operation_id = "listModelVersions",
    tag = "Registry",
    responses(
        (status = 200, description = "The versions", body = VersionList),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
    )
)]
pub async fn list(State(app): State<App>, Extension(by): Extension<Principal>) -> Result<Json<VersionList>, ApiError> {
    let versions = app.backend.accounts().registry().versions(&by, None).await.map_err(refused)?;
    Ok(Json(VersionList::new(versions)))
}
