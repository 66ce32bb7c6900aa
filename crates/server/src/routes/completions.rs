//! `POST /v1/completions`.

use super::{identity, merge, turned_away};
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::metrics::Observation;
use crate::sse::EventBody;
use crate::state::App;
use crate::traces::{self, Operation};
use crate::wire::completion::{Completion, CompletionBody, CompletionChunk, CompletionStream, Shown};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use orrery_platform::Principal;
use std::time::Instant;

/// Continues one or many prompts, whole or as a stream of `CompletionChunk`s.
#[utoipa::path(
    post,
    path = "/v1/completions",
    operation_id = "createCompletion",
    tag = "OpenAI",
    request_body = CompletionBody,
    responses(
        (status = 200, description = "The answer; with `stream`, events with a chunk each", content(
            (Completion = "application/json"),
            (CompletionChunk = "text/event-stream"),
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
    let body = CompletionBody::read(read_object(request, &app.settings).await?, &app.settings.limits)?;
    let mut identity = identity(&app, "cmpl-", &body.model);
    let (grid, delivery, echo) = (body.grid(), body.delivery, body.echo);
    let logprobs = body.generate.logprobs.is_some();
    let operation = Operation::TextCompletion;
    let mut span = traced.map(|traced| traced.inference(operation, &body.generate, delivery.stream));
    let mut texts = Vec::new();
    let mut streams = Vec::new();
    for request in body.into_requests() {
        // The first refusal drops, and so cancels, those that came before it.
        let running = app.backend.complete(&by, request).await;
        let running = running.inspect_err(|error| turned_away(&app, &by, &mut span, error))?;
        // Of several prompts each is kept under an id of its own, and the answer has that of the last.
        identity.id = running.id.unwrap_or(identity.id);
        texts.push(running.prompt_text);
        streams.push(running.events);
    }
    let shown = Shown { echo: echo.then_some(texts), logprobs };
    if let Some(span) = &mut span {
        span.accepted(&identity.model, &identity.id);
    }
    let observation = Observation::new(&app, &by, &identity.model, arrived, grid).traced(span);
    let events = merge(streams);
    if delivery.stream {
        let encoder = CompletionStream::new(identity, grid, shown, delivery.include_usage);
        return Ok(EventBody::new(events, encoder, grid.prompts, observation, app.settings.ping_ms).into_response());
    }
    let choices = super::gather(events, grid, observation).await?;
    Ok(Json(Completion::new(identity, choices, grid, &shown)).into_response())
}
