//! `DELETE /v1/prices/{model}`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use orrery_platform::Principal;

/// Removes a price; the model is free from now on.
#[utoipa::path(
    delete,
    path = "/v1/prices/{model}",
    operation_id = "removePrice",
    tag = "Accounts",
    params(("model" = String, Path, description = "The model")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn remove(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.backend.accounts().remove_price(&by, &model).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
