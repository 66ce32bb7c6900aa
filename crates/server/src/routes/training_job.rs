//! `GET /v1/training/jobs/{id}`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::training::JobObject;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// One job.
#[utoipa::path(
    get,
    path = "/v1/training/jobs/{id}",
    operation_id = "retrieveTrainingJob",
    tag = "Training",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The job", body = JobObject),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn retrieve(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<JobObject>, ApiError> {
    let job = app.backend.accounts().training().job(&by, &id).await.map_err(refused)?;
    Ok(Json(JobObject::new(job, by.tenant_id())))
}
