//! `POST /v1/registry/models/{model}/aliases/{alias}`: where an alias leads.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::registry::{AliasBody, AliasObject, route};
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// Leads an alias to a version, and a part of its requests to another. A model's bare name leads where `production` does.
#[utoipa::path(
    post,
    path = "/v1/registry/models/{model}/aliases/{alias}",
    operation_id = "setModelAlias",
    tag = "Registry",
    params(("model" = String, Path, description = "A model"), ("alias" = String, Path, description = "An alias")),
    request_body = AliasBody,
    responses(
        (status = 200, description = "The alias", body = AliasObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 409, description = "The version is archived", body = ErrorBody),
    )
)]
pub async fn set(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path((model, alias)): Path<(String, String)>,
    request: Request,
) -> Result<Json<AliasObject>, ApiError> {
    let change = route(read_object(request, &app.settings).await?)?;
    let set = app.backend.accounts().registry().route(&by, &model, &alias, change).await.map_err(refused)?;
    Ok(Json(set.into()))
}
