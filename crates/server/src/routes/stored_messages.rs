//! `GET /v1/chat/completions/{id}/messages`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::retained::{MessagesQuery, StoredList, StoredMessage};
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// The messages of a retained request, first to last.
#[utoipa::path(
    get,
    path = "/v1/chat/completions/{id}/messages",
    operation_id = "listChatCompletionMessages",
    tag = "OpenAI",
    params(
        ("id" = String, Path, description = "An id"),
        ("after" = Option<String>, Query, description = "Those that come after this one"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 100; 20 if left out"),
        ("order" = Option<String>, Query, description = "`asc` or `desc`"),
    ),
    responses(
        (status = 200, description = "The messages", body = StoredList<StoredMessage>),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<StoredList<StoredMessage>>, ApiError> {
    let query = MessagesQuery::read(&request)?;
    let info = app.backend.accounts().retained_one(&by, &id).await.map_err(refused)?;
    Ok(Json(StoredList::messages(info.record, query)?))
}
