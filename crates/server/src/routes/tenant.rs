//! `GET`, `POST` and `DELETE /v1/tenants/{id}`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{TenantObject, tenant_change};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use orrery_platform::Principal;

/// One tenant.
#[utoipa::path(
    get,
    path = "/v1/tenants/{id}",
    operation_id = "retrieveTenant",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The tenant", body = TenantObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<TenantObject>, ApiError> {
    let tenant = app.backend.accounts().tenant(&by, &id).await.map_err(refused)?;
    Ok(Json(tenant.into()))
}

/// Changes a tenant; what is left out stays.
#[utoipa::path(
    post,
    path = "/v1/tenants/{id}",
    operation_id = "changeTenant",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The tenant", body = TenantObject),
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
) -> Result<Json<TenantObject>, ApiError> {
    let change = tenant_change(read_object(request, &app.settings).await?)?;
    let tenant = app.backend.accounts().change_tenant(&by, &id, change).await.map_err(refused)?;
    Ok(Json(tenant.into()))
}

/// Erases what is known of a tenant; the ledger keeps ids and numbers.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{id}",
    operation_id = "eraseTenant",
    tag = "Accounts",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 204, description = "It is erased"),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn erase(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.backend.accounts().erase_tenant(&by, &id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
