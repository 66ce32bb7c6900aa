//! `GET /v1/files/{id}/content`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use orrery_platform::Principal;

/// The content of a file, decrypted as it is sent. A damaged one breaks off before its end.
#[utoipa::path(
    get,
    path = "/v1/files/{id}/content",
    operation_id = "downloadFile",
    tag = "OpenAI",
    params(("id" = String, Path, description = "An id")),
    responses(
        (status = 200, description = "The content", body = String, content_type = "application/octet-stream"),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn content(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (file, reader) = app.backend.accounts().files().open_file(&by, &id).await.map_err(refused)?;
    let mut response = Response::new(Body::from_stream(reader));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes));
    // What a browser must not take for a page of ours.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
