//! `GET` and `DELETE /v1/chat/completions/{id}`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::files::Deleted;
use crate::wire::retained::StoredCompletion;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// One retained answer.
#[utoipa::path(
    get,
    path = "/v1/chat/completions/{id}",
    operation_id = "retrieveChatCompletion",
    tag = "OpenAI",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The answer", body = StoredCompletion),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<StoredCompletion>, ApiError> {
    let info = app.backend.accounts().retained_one(&by, &id).await.map_err(refused)?;
    Ok(Json(info.into()))
}

/// Deletes a retained answer, and its request, before their time.
#[utoipa::path(
    delete,
    path = "/v1/chat/completions/{id}",
    operation_id = "deleteChatCompletion",
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
    app.backend.accounts().delete_retained(&by, &id).await.map_err(refused)?;
    Ok(Json(Deleted { id, object: "chat.completion.deleted", deleted: true }))
}
