//! `GET` and `POST /v1/training/jobs`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::training::{JobBody, JobList, JobObject, page, read};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// The tenant's training jobs, newest first.
#[utoipa::path(
    get,
    path = "/v1/training/jobs",
    operation_id = "listTrainingJobs",
    tag = "Training",
    params(
        ("after" = Option<String>, Query, description = "Those that come after this one"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 500; 20 if left out"),
    ),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<JobList>, ApiError> {
    let page = page(&request)?;
    let (jobs, has_more) = app.backend.accounts().training().list(&by, page).await.map_err(refused)?;
    let data: Vec<JobObject> = jobs.into_iter().map(|job| JobObject::new(job, by.tenant_id())).collect();
    let id = |job: Option<&JobObject>| job.map(|job| job.id.clone());
    Ok(Json(JobList { object: "list", first_id: id(data.first()), last_id: id(data.last()), data, has_more }))
}

/// Begins a training job. What can be known before the data are read is checked at once.
#[utoipa::path(
    post,
    path = "/v1/training/jobs",
    operation_id = "createTrainingJob",
    tag = "Training",
    request_body = JobBody,
    responses(
        (status = 200, description = "The job", body = JobObject),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 429, description = "Too many of the tenant's jobs wait", body = ErrorBody),
        (status = 503, description = "This server trains nothing", body = ErrorBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<JobObject>, ApiError> {
    if app.is_draining() {
        return Err(ApiError::unavailable("The server is shutting down."));
    }
    let request = read(read_object(request, &app.settings).await?)?;
    let job = app.backend.accounts().training().create(&by, request).await.map_err(refused)?;
    Ok(Json(JobObject::new(job, by.tenant_id())))
}
