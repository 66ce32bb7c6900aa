//! `GET /v1/audit`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{AuditObject, List};
use crate::wire::query::Query;
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;
use orrery_platform::accounts::AuditPage;

const ROWS_MAX: i64 = 1000;

/// The audit log, newest first.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "listAudit",
    tag = "Accounts",
    params(
        ("tenant" = Option<String>, Query, description = "About this tenant"),
        ("before" = Option<u64>, Query, description = "Rows with a smaller number"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 1000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "Rows", body = List<AuditObject>),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<List<AuditObject>>, ApiError> {
    let mut query = Query::of(&request)?;
    let limit = query.integer("limit", 1, ROWS_MAX)?.unwrap_or(100);
    let page = AuditPage {
        tenant: query.text("tenant"),
        before: query.integer("before", 1, i64::MAX)?.map(i64::unsigned_abs),
        rows_max: usize::try_from(limit).unwrap_or(1),
    };
    query.finish()?;
    let rows = app.backend.accounts().audit(&by, page).await.map_err(refused)?;
    let has_more = rows.len() as i64 == limit && rows.last().is_some_and(|row| row.sequence > 1);
    let data = rows.into_iter().map(AuditObject::from).collect();
    Ok(Json(List { has_more, ..List::whole(data) }))
}
