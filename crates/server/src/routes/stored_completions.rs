//! `GET /v1/chat/completions`: what is retained of the tenant's requests, as OpenAI's stored chat completions.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::retained::{RetainedQuery, StoredCompletion, StoredList};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// Requests and answers of a tenant that keeps them (`retention_days`), oldest first, text completions included.
#[utoipa::path(
    get,
    path = "/v1/chat/completions",
    operation_id = "listChatCompletions",
    tag = "OpenAI",
    params(
        ("model" = Option<String>, Query, description = "Of this model"),
        ("after" = Option<String>, Query, description = "Those that come after this one"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 100; 20 if left out"),
        ("order" = Option<String>, Query, description = "`asc` or `desc`, by `created`"),
    ),
    responses(
        (status = 200, description = "The answers", body = StoredList<StoredCompletion>),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<StoredList<StoredCompletion>>, ApiError> {
    let page = RetainedQuery::read(&request)?;
    let (records, more) = app.backend.accounts().retained(&by, page).await.map_err(refused)?;
    Ok(Json(StoredList::completions(records, more)))
}
