//! `POST /tokenize`, in vLLM's shape.

use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::fields::Fields;
use crate::wire::params::{self, RequestSchema};
use crate::wire::{chat_messages, generate, not_built};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::{ChatMessage, Principal};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// What to tokenise.
#[derive(Debug, PartialEq)]
enum Source {
    Prompt { text: String, add_special: bool },
    Messages(Vec<ChatMessage>),
}

impl Source {
    /// Refuses a text of more bytes.
    fn check(&self, bytes_max: usize) -> Result<(), ApiError> {
        let (param, bytes) = match self {
            Self::Prompt { text, .. } => ("prompt", text.len()),
            Self::Messages(messages) => ("messages", messages.iter().map(|message| message.content.len()).sum()),
        };
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(ApiError::invalid(param, format!("`{param}` has {bytes} bytes of text; at most {bytes_max} are allowed.")))
    }
}

pub struct TokenizeBody {
    model: Option<String>,
    source: Source,
}

impl TokenizeBody {
    pub fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = generate::optional_model(&mut fields)?;
        not_built::refuse(&fields)?;
        let prompt = fields.text("prompt")?;
        let add_special = fields.flag(&params::ADD_SPECIAL)?;
        let source = match (prompt, fields.get("messages").is_some()) {
            (Some(_), true) => return Err(ApiError::invalid("messages", "Send `prompt` or `messages`, not both.")),
            (Some(text), false) => Source::Prompt { text, add_special },
            (None, true) => Source::Messages(chat_messages::read(&mut fields)?),
            (None, false) => return Err(fields.missing("prompt")),
        };
        Ok(Self { model, source })
    }
}

impl PartialSchema for TokenizeBody {
    fn schema() -> RefOr<Schema> {
        RequestSchema::new("A text, or a chat that is rendered by the model's template.")
            .text("model", "An id of `GET /v1/models`; may be left out where there is one model.")
            .text("prompt", "The text.")
            .property("messages", chat_messages::schema())
            .flag(&params::ADD_SPECIAL)
            .build()
    }
}

impl ToSchema for TokenizeBody {
    fn name() -> Cow<'static, str> {
        "TokenizeRequest".into()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenizeAnswer {
    pub count: usize,
    /// Null where the model was named by an alias.
    pub max_model_len: Option<usize>,
    pub tokens: Vec<u32>,
}

/// Token ids of a text or of a chat.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "Tokens",
    request_body = TokenizeBody,
    responses(
        (status = 200, description = "The tokens", body = TokenizeAnswer),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 404, description = "No such model", body = ErrorBody),
        (status = 429, description = "A limit of the key or its tenant is in the way", body = ErrorBody),
    )
)]
pub async fn tokenize(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<TokenizeAnswer>, ApiError> {
    let body = TokenizeBody::read(read_object(request, &app.settings).await?)?;
    let id = model_or_only(&app, body.model)?;
    body.source.check(app.settings.tokenize_max_bytes)?;
    let context = app.backend.models().into_iter().find(|model| model.id == id).and_then(|model| model.context);
    let tokens = match body.source {
        Source::Prompt { text, add_special } => app.backend.tokenize(&by, id, text, add_special),
        Source::Messages(messages) => app.backend.tokenize_chat(&by, id, messages),
    };
    let tokens = tokens.await.inspect_err(|error| app.metrics.refused(&by, error))?;
    Ok(Json(TokenizeAnswer { count: tokens.len(), max_model_len: context, tokens }))
}

/// The named model, or the only one.
pub fn model_or_only(app: &App, name: Option<String>) -> Result<String, ApiError> {
    let only = || match app.backend.models().as_slice() {
        [only] => Ok(only.id.clone()),
        _ => Err(ApiError::invalid("model", "Missing required parameter: `model`; this server has several.")),
    };
    name.map_or_else(only, Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: Value) -> Result<Source, Option<String>> {
        let Value::Object(map) = body else { panic!("an object") };
        TokenizeBody::read(Fields::new(map)).map(|body| body.source).map_err(|error| error.body.param)
    }

    #[test]
    fn a_prompt_or_messages() {
        let prompt = |add_special| Ok(Source::Prompt { text: "a".into(), add_special });
        assert_eq!(read(json!({"prompt": "a"})), prompt(true));
        assert_eq!(read(json!({"prompt": "a", "add_special_tokens": false})), prompt(false));
        let message = ChatMessage { role: "user".into(), content: "a".into() };
        let messages = json!([{"role": "user", "content": "a"}]);
        assert_eq!(read(json!({"messages": messages})), Ok(Source::Messages(vec![message])));
        assert_eq!(read(json!({"messages": messages, "prompt": "a"})), Err(Some("messages".into())));
        assert_eq!(read(json!({})), Err(Some("prompt".into())));
        assert_eq!(read(json!({"prompt": 5})), Err(Some("prompt".into())));
    }
}
