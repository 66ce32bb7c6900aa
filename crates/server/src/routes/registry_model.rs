//! `GET` and `DELETE /v1/registry/models/{model}`: one version, or taking it out of use.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::registry::VersionObject;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;
use orrery_platform::registry::Selector;

/// The version that a name leads to: `MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`.
#[utoipa::path(
    get,
    path = "/v1/registry/models/{model}",
    operation_id = "retrieveModelVersion",
    tag = "Registry",
    params(("model" = String, Path, description = "`MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`")),
    responses(
        (status = 200, description = "The version", body = VersionObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<Json<VersionObject>, ApiError> {
    let version = app.backend.accounts().registry().version(&by, &model).await.map_err(refused)?;
    Ok(Json(version.into()))
}

/// Takes a version out of use: `MODEL@VERSION`. It can be downloaded still.
#[utoipa::path(
    delete,
    path = "/v1/registry/models/{model}",
    operation_id = "archiveModelVersion",
    tag = "Registry",
    params(("model" = String, Path, description = "`MODEL@VERSION`")),
    responses(
        (status = 200, description = "The version", body = VersionObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
        (status = 409, description = "An alias leads to it", body = ErrorBody),
    )
)]
pub async fn archive(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<Json<VersionObject>, ApiError> {
    let Some((name, Selector::Version(version))) = Selector::read(&model) else {
        let message = "To archive a version, name it by its number, such as `iris@3`.";
        return Err(ApiError::invalid("model", message));
    };
    let version = app.backend.accounts().registry().archive(&by, name, version).await.map_err(refused)?;
    Ok(Json(version.into()))
}
