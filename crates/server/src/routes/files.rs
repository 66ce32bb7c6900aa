//! `GET` and `POST /v1/files`, OpenAI's Files API.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::multipart::{Multipart, Part};
use crate::state::App;
use crate::wire::files::{FileForm, FileList, FileObject, FilesQuery};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use futures_util::stream;
use orrery_platform::files::Upload;
use orrery_platform::{Error, Principal};
use std::sync::{Arc, Mutex, PoisonError};

/// The tenant's files, newest first.
#[utoipa::path(
    get,
    path = "/v1/files",
    operation_id = "listFiles",
    tag = "OpenAI",
    params(
        ("purpose" = Option<String>, Query, description = "For this purpose"),
        ("after" = Option<String>, Query, description = "Those that come after this one"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 10000; 10000 if left out"),
        ("order" = Option<String>, Query, description = "`asc` or `desc`, by `created_at`"),
    ),
    responses(
        (status = 200, description = "The files", body = FileList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<FileList>, ApiError> {
    let page = FilesQuery::read(&request)?;
    let (files, more) = app.backend.accounts().files().list(&by, page).await.map_err(refused)?;
    Ok(Json(FileList::new(files, more)))
}

/// Uploads a file: a form with `file`, `purpose` and optionally `expires_after`. It goes to the disk encrypted, as it comes.
#[utoipa::path(
    post,
    path = "/v1/files",
    operation_id = "createFile",
    tag = "OpenAI",
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The file", body = FileObject),
        (status = 400, description = "The form is malformed, or a field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 413, description = "The file is too large", body = ErrorBody),
        (status = 415, description = "The body is no form", body = ErrorBody),
        (status = 429, description = "The tenant has no room left, or too many uploads run", body = ErrorBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<FileObject>, ApiError> {
    if app.is_draining() {
        return Err(ApiError::unavailable("The server is shutting down."));
    }
    let files = app.backend.accounts().files();
    let form = Multipart::of(request, &app.settings, files.settings().file_max_bytes)?;
    let upload = files.begin(&by).await?;
    // In a task of its own: when the client goes away this future may be dropped, and what is on the disk has to be
    // deleted first.
    let received = tokio::spawn(receive(form, upload)).await;
    received.map_err(|_| ApiError::internal())?.map(Json)
}

async fn receive(mut form: Multipart, mut upload: Upload) -> Result<FileObject, ApiError> {
    let (mut read, mut filename) = (FileForm::default(), None);
    while let Some(Part { name, filename: given }) = form.next_part().await? {
        match (name.as_str(), given) {
            ("file", Some(_)) if filename.is_some() => {
                return Err(ApiError::invalid("file", "`file` stands in the form twice."));
            }
            ("file", Some(given)) => {
                store(&mut form, &mut upload).await?;
                filename = Some(given);
            }
            ("file", None) => {
                return Err(ApiError::invalid("file", "`file` must be a file: a part with a filename."));
            }
            (field, _) => read.field(field, &mut form).await?,
        }
    }
    let filename = filename.ok_or_else(|| ApiError::invalid("file", "Missing required parameter: `file`."))?;
    Ok(upload.publish(read.finish(filename)?).await?.into())
}

/// Passes a part's content on. A fault of the form ends it, and is told as it is.
async fn store(form: &mut Multipart, upload: &mut Upload) -> Result<(), ApiError> {
    let fault = Arc::new(Mutex::new(None));
    let kept = fault.clone();
    let content = stream::unfold(form, move |form| {
        let kept = kept.clone();
        async move {
            let piece = match form.piece().await {
                Ok(piece) => Ok(piece?),
                Err(error) => {
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(Error::BadInput { param: Some("file"), message: "the form ended early".into() })
                }
            };
            Some((piece, form))
        }
    });
    let received = upload.receive(Box::pin(content)).await;
    let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (received, fault) {
        (Ok(_), None) => Ok(()),
        (_, Some(fault)) => Err(fault),
        (Err(error), None) => Err(error.into()),
    }
}
