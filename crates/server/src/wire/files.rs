//! Files on the wire, in OpenAI's shapes. Times are seconds since 1970.

use crate::error::ApiError;
use crate::multipart::Multipart;
use crate::wire::query::Query;
use axum::extract::Request;
use orrery_platform::files::{FileInfo, FilePage, NewFile};
use serde::Serialize;
use utoipa::ToSchema;

/// Files of one page.
const LIMIT_MAX: i64 = 10_000;
/// Bytes of a field that is no file.
const FIELD_MAX: usize = 1024;
/// Seconds of `expires_after`: an hour to thirty days, as in OpenAI's API.
const EXPIRES_MIN: i64 = 3_600;
const EXPIRES_MAX: i64 = 2_592_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileObject {
    pub id: String,
    pub object: &'static str,
    pub bytes: u64,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub filename: String,
    pub purpose: String,
    /// Always `processed`: a file is there when it is whole.
    pub status: &'static str,
    pub status_details: Option<String>,
    /// Of the content, in hexadecimal.
    pub sha256: String,
}

impl From<FileInfo> for FileObject {
    fn from(file: FileInfo) -> Self {
        Self {
            id: file.id,
            object: "file",
            bytes: file.bytes,
            created_at: file.created_at_ms / 1000,
            expires_at: file.expires_at_ms.map(|at_ms| at_ms / 1000),
            filename: file.filename,
            purpose: file.purpose,
            status: "processed",
            status_details: None,
            sha256: file.sha256,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FileList {
    pub object: &'static str,
    pub data: Vec<FileObject>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

impl FileList {
    pub fn new(files: Vec<FileInfo>, has_more: bool) -> Self {
        let data: Vec<FileObject> = files.into_iter().map(FileObject::from).collect();
        let id = |file: Option<&FileObject>| file.map(|file| file.id.clone());
        Self { object: "list", first_id: id(data.first()), last_id: id(data.last()), data, has_more }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Deleted {
    pub id: String,
    pub object: &'static str,
    pub deleted: bool,
}

/// The query of a list.
pub struct FilesQuery;

impl FilesQuery {
    pub fn read(request: &Request) -> Result<FilePage, ApiError> {
        let mut query = Query::of(request)?;
        let page = FilePage {
            purpose: query.text("purpose"),
            after: query.text("after"),
            oldest_first: oldest_first(&mut query)?.unwrap_or(false),
            files_max: query.integer("limit", 1, LIMIT_MAX)?.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)),
        };
        query.finish()?;
        Ok(page)
    }
}

/// `order`: `asc` or `desc`.
pub fn oldest_first(query: &mut Query) -> Result<Option<bool>, ApiError> {
    match query.text("order").as_deref() {
        None => Ok(None),
        Some("asc") => Ok(Some(true)),
        Some("desc") => Ok(Some(false)),
        Some(other) => {
            let shown = crate::state::printable(other);
            Err(ApiError::invalid("order", format!("`order` is {shown}; it must be `asc` or `desc`.")))
        }
    }
}

/// The fields of an upload's form, beside the file itself.
#[derive(Debug, Default, ToSchema)]
#[schema(as = CreateFileRequest)]
pub struct FileForm {
    /// The file. Its filename is kept.
    #[schema(value_type = String, format = Binary, required = true)]
    #[expect(dead_code, reason = "describes the form for OpenAPI; a file is passed on as it comes")]
    file: (),
    /// `assistants`, `batch`, `evals`, `fine-tune`, `training`, `user_data` or `vision`.
    #[schema(value_type = String, required = true)]
    purpose: Option<String>,
    /// What the seconds count from: `created_at`.
    #[schema(rename = "expires_after[anchor]")]
    anchor: Option<String>,
    /// 3600 to 2592000.
    #[schema(rename = "expires_after[seconds]", value_type = Option<u64>)]
    seconds: Option<String>,
}

impl FileForm {
    /// Reads one part; one that is not known is passed over.
    pub async fn field(&mut self, name: &str, form: &mut Multipart) -> Result<(), ApiError> {
        let place = match name {
            "purpose" => &mut self.purpose,
            "expires_after[anchor]" => &mut self.anchor,
            "expires_after[seconds]" => &mut self.seconds,
            _ => return Ok(()),
        };
        match place.replace(form.text(name, FIELD_MAX).await?) {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid(name, format!("`{name}` stands in the form twice."))),
        }
    }

    pub fn finish(self, filename: String) -> Result<NewFile, ApiError> {
        let Some(purpose) = self.purpose else {
            return Err(ApiError::invalid("purpose", "Missing required parameter: `purpose`."));
        };
        let expires_after_ms = expires_after(self.anchor, self.seconds)?;
        Ok(NewFile { filename, purpose: purpose.parse()?, expires_after_ms })
    }
}

fn expires_after(anchor: Option<String>, seconds: Option<String>) -> Result<Option<i64>, ApiError> {
    let wrong = |message: String| Err(ApiError::invalid("expires_after", message));
    match (anchor.as_deref(), seconds.as_deref()) {
        (None, None) => Ok(None),
        (Some("created_at"), Some(text)) => match text.parse::<i64>() {
            Ok(seconds) if (EXPIRES_MIN..=EXPIRES_MAX).contains(&seconds) => Ok(Some(seconds * 1000)),
            _ => wrong(format!("`expires_after[seconds]` must be an integer between {EXPIRES_MIN} and {EXPIRES_MAX}.")),
        },
        _ => wrong("`expires_after` needs `anchor`, which is `created_at`, and `seconds`.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_has_both_its_parts_and_its_bounds() {
        let read = |anchor: Option<&str>, seconds: Option<&str>| {
            expires_after(anchor.map(str::to_owned), seconds.map(str::to_owned)).map_err(|error| error.body.param)
        };
        let wrong = Err(Some("expires_after".to_owned()));
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some("created_at"), Some("3600")), Ok(Some(3_600_000)));
        for (anchor, seconds) in [
            (Some("created_at"), None),
            (None, Some("3600")),
            (Some("now"), Some("3600")),
            (Some("created_at"), Some("3599")),
            (Some("created_at"), Some("2592001")),
            (Some("created_at"), Some("x")),
        ] {
            assert_eq!(read(anchor, seconds), wrong, "{anchor:?} {seconds:?}");
        }
    }
}
