//! `POST /v1/chat/completions`.

use super::{identity, merge, turned_away};
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::metrics::Observation;
use crate::sse::EventBody;
use crate::state::App;
use crate::traces::{self, Operation};
use crate::wire::chat::{ChatBody, ChatChunk, ChatCompletion, ChatStream};
use crate::wire::choices::Grid;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use orrery_platform::Principal;
use std::time::Instant;

/// Answers a chat, whole or as a stream of `ChatChunk`s.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "createChatCompletion",
    tag = "OpenAI",
    request_body = ChatBody,
    responses(
        (status = 200, description = "The answer; with `stream`, events with a chunk each", content(
            (ChatCompletion = "application/json"),
            (ChatChunk = "text/event-stream"),
        )),
        (status = 400, description = "A field is wrong or not built", body = ErrorBody),
        (status = 404, description = "No such model", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 429, description = "The queue is full; see `retry-after`", body = ErrorBody),
        (status = 503, description = "Loading or draining; see `retry-after`", body = ErrorBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let (arrived, traced) = (Instant::now(), traces::of(&request));
    let ChatBody { request, delivery, store, max_tokens_name } =
        ChatBody::read(read_object(request, &app.settings).await?, &app.settings.limits)?;
    if store && !by.retains() {
        let message = "`store` needs a tenant that keeps requests and answers; its `retention_days` is 0.";
        return Err(ApiError::unsupported("store", message));
    }
    let mut identity = identity(&app, "chatcmpl-", &request.model);
    let grid = Grid { prompts: 1, n: request.generate.n };
    let with_logprobs = request.generate.logprobs.is_some();
    let mut span = traced.map(|traced| traced.inference(Operation::Chat, &request.generate, delivery.stream));
    let running = app.backend.chat(&by, request).await;
    let running = running.map_err(|error| {
        turned_away(&app, &by, &mut span, &error);
        ApiError::from(error).calling("max_tokens", max_tokens_name)
    })?;
    identity.id = running.id.clone().unwrap_or(identity.id);
    if let Some(span) = &mut span {
        span.accepted(&identity.model, &identity.id);
    }
    let observation = Observation::new(&app, &by, &identity.model, arrived, grid).traced(span);
    let events = merge(vec![running.events]);
    if delivery.stream {
        let encoder = ChatStream::new(identity, grid.n, delivery.include_usage);
        return Ok(EventBody::new(events, encoder, grid.prompts, observation, app.settings.ping_ms).into_response());
    }
    let choices = super::gather(events, grid, observation).await?;
    Ok(Json(ChatCompletion::new(identity, choices, with_logprobs)).into_response())
}
