//! `POST /detokenize`, in vLLM's shape.

use super::tokenize::model_or_only;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::fields::{Fields, token_ids};
use crate::wire::generate;
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;
use serde::Serialize;
use utoipa::ToSchema;

/// A token is about so many bytes of text: for one bound on both ways.
const TOKEN_BYTES: usize = 4;

#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body for OpenAPI; the fields are read one by one, to name the one at fault"
)]
pub struct DetokenizeBody {
    /// An id of `GET /v1/models`; may be left out where there is one model.
    model: Option<String>,
    tokens: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DetokenizeAnswer {
    pub prompt: String,
}

/// The text of token ids.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "Tokens",
    request_body = DetokenizeBody,
    responses(
        (status = 200, description = "The text", body = DetokenizeAnswer),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 404, description = "No such model", body = ErrorBody),
        (status = 429, description = "A limit of the key or its tenant is in the way", body = ErrorBody),
    )
)]
pub async fn detokenize(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<DetokenizeAnswer>, ApiError> {
    let (name, tokens) = read(read_object(request, &app.settings).await?)?;
    let tokens_max = app.settings.tokenize_max_bytes / TOKEN_BYTES;
    if tokens.len() > tokens_max {
        let message = format!("`tokens` has {} entries; at most {tokens_max} are allowed.", tokens.len());
        return Err(ApiError::invalid("tokens", message));
    }
    let model = model_or_only(&app, name)?;
    let prompt =
        app.backend.detokenize(&by, model, tokens).await.inspect_err(|error| app.metrics.refused(&by, error))?;
    Ok(Json(DetokenizeAnswer { prompt }))
}

/// The model, if it is named, and the token ids.
pub fn read(mut fields: Fields) -> Result<(Option<String>, Vec<u32>), ApiError> {
    let name = generate::optional_model(&mut fields)?;
    let values = fields.array("tokens")?.ok_or_else(|| fields.missing("tokens"))?;
    Ok((name, token_ids(&values, "tokens")?))
}
