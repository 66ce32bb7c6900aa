//! `GET /v1/audit/verify`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orrery_platform::Principal;
use orrery_platform::accounts::AuditVerdict;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditCheck {
    pub intact: bool,
    /// How many rows there are, where all of them are as they were written.
    pub rows: Option<u64>,
    /// The hash of the last one: kept elsewhere, it shows later whether the log was made anew.
    pub hash: Option<String>,
    /// The first row that is not as it was written, and what is wrong with it.
    pub broken_at: Option<u64>,
    pub fault: Option<String>,
}

/// Walks the whole audit log and tells whether it is as it was written.
#[utoipa::path(
    get,
    path = "/v1/audit/verify",
    operation_id = "verifyAudit",
    tag = "Accounts",
    responses(
        (status = 200, description = "The verdict", body = AuditCheck),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn verify(State(app): State<App>, Extension(by): Extension<Principal>) -> Result<Json<AuditCheck>, ApiError> {
    let verdict = app.backend.accounts().verify_audit(&by).await.map_err(refused)?;
    Ok(Json(match verdict {
        AuditVerdict::Intact { rows, hash } => {
            AuditCheck { intact: true, rows: Some(rows), hash: Some(hash), broken_at: None, fault: None }
        }
        AuditVerdict::Broken { sequence, fault } => {
            AuditCheck { intact: false, rows: None, hash: None, broken_at: Some(sequence), fault: Some(fault) }
        }
    }))
}
