//! `POST /v1/registry/models/{model}/aliases/{alias}/rollback`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::registry::AliasObject;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// Leads an alias back to where it led before.
#[utoipa::path(
    post,
    path = "/v1/registry/models/{model}/aliases/{alias}/rollback",
    operation_id = "rollBackModelAlias",
    tag = "Registry",
    params(("model" = String, Path, description = "A model"), ("alias" = String, Path, description = "An alias")),
    responses(
        (status = 200, description = "The alias", body = AliasObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
        (status = 409, description = "It has never led elsewhere", body = ErrorBody),
    )
)]
pub async fn roll_back(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path((model, alias)): Path<(String, String)>,
) -> Result<Json<AliasObject>, ApiError> {
    let set = app.backend.accounts().registry().roll_back(&by, &model, &alias).await.map_err(refused)?;
    Ok(Json(set.into()))
}
