//! `GET`, `POST` and `DELETE /v1/keys/{id}`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{KeyObject, key_change};
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// One key, without its text.
#[utoipa::path(
    get,
    path = "/v1/keys/{id}",
    operation_id = "retrieveKey",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The key", body = KeyObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<KeyObject>, ApiError> {
    let key = app.backend.accounts().key(&by, &id).await.map_err(refused)?;
    Ok(Json(KeyObject::new(key, None)))
}

/// Changes `name`, `role`, `limits` or `expires_at`; what is left out stays.
#[utoipa::path(
    post,
    path = "/v1/keys/{id}",
    operation_id = "changeKey",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The key", body = KeyObject),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn change(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<KeyObject>, ApiError> {
    let change = key_change(read_object(request, &app.settings).await?)?;
    let key = app.backend.accounts().change_key(&by, &id, change).await.map_err(refused)?;
    Ok(Json(KeyObject::new(key, None)))
}

/// Revokes a key for good.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    operation_id = "revokeKey",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The key", body = KeyObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn revoke(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<KeyObject>, ApiError> {
    let key = app.backend.accounts().revoke_key(&by, &id).await.map_err(refused)?;
    Ok(Json(KeyObject::new(key, None)))
}
