//! `GET /v1/training/jobs/{id}/report`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use orrery_platform::Principal;

/// A page on what the job did and how good its model is: one file, without anything from elsewhere. Jobs do not write one yet, so
/// the answer is 404.
#[utoipa::path(
    get,
    path = "/v1/training/jobs/{id}/report",
    operation_id = "trainingJobReport",
    tag = "Training",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
        (status = 409, description = "The job has no model (yet)", body = ErrorBody),
    )
)]
pub async fn report(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let accounts = app.backend.accounts();
    let job = accounts.training().job(&by, &id).await.map_err(refused)?;
    let named = job.result.as_ref().and_then(|result| Some((result["name"].as_str()?, result["version"].as_u64()?)));
    let Some((name, version)) = named else {
        let message = format!("The job is {}; there is a report when it has succeeded.", job.status);
        return Err(orrery_platform::Error::Conflict(message).into());
    };
    let part = accounts.registry().open_part(&by, &format!("{name}@{version}"), "report.html").await;
    let (file, content) = match part {
        // Jobs do not write one yet.
        Err(orrery_platform::Error::NotFound(_)) => {
            let message = "This model has no report: jobs do not write one yet. Its metrics stand in the job.";
            return Err(ApiError::not_found(message));
        }
        part => part.map_err(refused)?,
    };
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Names of columns and classes are a client's texts: whatever they say, nothing runs and nothing is fetched.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}
