//! `GET` and `POST /v1/tenants`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{List, TenantObject, tenant_change};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// The tenants that the key may see.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    operation_id = "listTenants",
    tag = "Accounts",
    responses(
        (status = 200, description = "The tenants", body = List<TenantObject>),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
) -> Result<Json<List<TenantObject>>, ApiError> {
    let tenants = app.backend.accounts().tenants(&by).await.map_err(refused)?;
    Ok(Json(List::whole(tenants.into_iter().map(TenantObject::from).collect())))
}

/// Makes a tenant: `name`, and optionally `weight`, `kv_floor_percent`, `limits`, `redaction`, `retention_days`.
#[utoipa::path(
    post,
    path = "/v1/tenants",
    operation_id = "createTenant",
    tag = "Accounts",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The tenant", body = TenantObject),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<TenantObject>, ApiError> {
    let change = tenant_change(read_object(request, &app.settings).await?)?;
    let tenant = app.backend.accounts().create_tenant(&by, change).await.map_err(refused)?;
    Ok(Json(tenant.into()))
}
