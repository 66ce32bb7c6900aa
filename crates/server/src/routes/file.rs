//! `GET` and `DELETE /v1/files/{id}`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::files::{Deleted, FileObject};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// One file, without its content.
#[utoipa::path(
    get,
    path = "/v1/files/{id}",
    operation_id = "retrieveFile",
    tag = "OpenAI",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The file", body = FileObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<FileObject>, ApiError> {
    let file = app.backend.accounts().files().file(&by, &id).await.map_err(refused)?;
    Ok(Json(file.into()))
}

/// Deletes a file for good.
#[utoipa::path(
    delete,
    path = "/v1/files/{id}",
    operation_id = "deleteFile",
    tag = "OpenAI",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "It is deleted", body = Deleted),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn delete(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    app.backend.accounts().files().delete(&by, &id).await.map_err(refused)?;
    Ok(Json(Deleted { id, object: "file", deleted: true }))
}
