//! `GET /v1/registry/models/{model}/files/{file}`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use orrery_platform::Principal;

/// A file of a version, decrypted as it is sent: `model.onnx`, `orrery.json` or another.
#[utoipa::path(
    get,
    path = "/v1/registry/models/{model}/files/{file}",
    operation_id = "downloadModelFile",
    tag = "Registry",
    params(
        ("model" = String, Path, description = "`MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`"),
        ("file" = String, Path, description = "Its name"),
    ),
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
    Path((model, file)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let part = app.backend.accounts().registry().open_part(&by, &model, &file).await;
    let (file, reader) = part.map_err(refused)?;
    let mut response = Response::new(Body::from_stream(reader));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
