//! `POST /detokenize`, in vLLM's shape.

use super::tokenize::{model_or_only, off_worker};
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::fields::{Fields, token_ids};
use crate::wire::generate;
use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

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
    )
)]
pub async fn detokenize(State(app): State<App>, request: Request) -> Result<Json<DetokenizeAnswer>, ApiError> {
    let (name, tokens) = read(read_object(request, &app.settings).await?)?;
    let model = model_or_only(&app, name)?;
    let backend = app.backend.clone();
    let prompt = off_worker(move || backend.detokenize(&model, &tokens)).await?;
    Ok(Json(DetokenizeAnswer { prompt }))
}

/// The model, if it is named, and the token ids.
pub fn read(mut fields: Fields) -> Result<(Option<String>, Vec<u32>), ApiError> {
    let name = generate::optional_model(&mut fields)?;
    let values = fields.array("tokens")?.ok_or_else(|| fields.missing("tokens"))?;
    Ok((name, token_ids(&values, "tokens")?))
}
