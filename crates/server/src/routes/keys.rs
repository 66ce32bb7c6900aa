//! `GET` and `POST /v1/keys`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{KeyObject, List, new_key};
use crate::wire::query::Query;
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// The keys of a tenant, revoked ones too, without their texts. A platform admin that names no tenant sees all.
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "listKeys",
    tag = "Accounts",
    params(("tenant" = Option<String>, Query, description = "Of this tenant")),
    responses(
        (status = 200, description = "The keys", body = List<KeyObject>),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<List<KeyObject>>, ApiError> {
    let mut query = Query::of(&request)?;
    let tenant = query.text("tenant");
    query.finish()?;
    let keys = app.backend.accounts().keys(&by, tenant.as_deref()).await.map_err(refused)?;
    Ok(Json(List::whole(keys.into_iter().map(|key| KeyObject::new(key, None)).collect())))
}

/// Makes a key: `{"name", "role", "limits", "expires_at", "tenant"}`, all optional; the role is `inference` unless it is named.
/// The answer is the only one that has the key itself.
#[utoipa::path(
    post,
    path = "/v1/keys",
    operation_id = "createKey",
    tag = "Accounts",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The key", body = KeyObject),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<KeyObject>, ApiError> {
    let new = new_key(read_object(request, &app.settings).await?)?;
    let (key, text) = app.backend.accounts().create_key(&by, new).await.map_err(refused)?;
    Ok(Json(KeyObject::new(key, Some(text))))
}
