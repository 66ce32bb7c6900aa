//! One file for each endpoint. To add one: its file, its line in [`router`], its test file. The OpenAPI document is
//! made of the same lines.

mod audit;
mod audit_verify;
mod chat_completions;
mod completions;
pub mod detokenize;
mod file;
mod file_content;
mod files;
mod health;
mod index;
mod inference;
mod key;
mod keys;
mod metrics;
mod model;
mod models;
mod not_built;
mod openapi;
mod price;
mod prices;
mod ready;
mod registry_alias;
mod registry_file;
mod registry_model;
mod registry_models;
mod registry_rollback;
mod stored_completion;
mod stored_completions;
mod stored_messages;
mod tenant;
mod tenants;
pub mod tokenize;
mod training_job;
mod training_job_cancel;
mod training_job_checkpoints;
mod training_job_events;
mod training_job_report;
mod training_jobs;
mod usage;

use crate::error::ApiError;
use crate::headers;
use crate::metrics::Observation;
use crate::sse::Events;
use crate::state::App;
use crate::traces::Inference;
use crate::wire::choices::{Choices, Grid};
use crate::wire::usage::Identity;
use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use futures_util::StreamExt;
use orrery_platform::Principal;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// All routes and the fallbacks.
pub fn router(app: App) -> Router {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(index::index))
        .routes(routes!(stored_completions::list, chat_completions::create))
        .routes(routes!(stored_completion::retrieve, stored_completion::delete))
        .routes(routes!(stored_messages::list))
        .routes(routes!(completions::create))
        .routes(routes!(models::list))
        .routes(routes!(model::retrieve))
        .routes(routes!(tokenize::tokenize))
        .routes(routes!(detokenize::detokenize))
        .routes(routes!(files::list, files::create))
        .routes(routes!(file::retrieve, file::delete))
        .routes(routes!(file_content::content))
        .routes(routes!(training_jobs::list, training_jobs::create))
        .routes(routes!(training_job::retrieve))
        .routes(routes!(training_job_cancel::cancel))
        .routes(routes!(training_job_events::list))
        .routes(routes!(training_job_checkpoints::list))
        .routes(routes!(training_job_report::report))
        .routes(routes!(registry_models::list))
        .routes(routes!(registry_model::retrieve, registry_model::archive))
        .routes(routes!(registry_file::content))
        .routes(routes!(registry_alias::set))
        .routes(routes!(registry_rollback::roll_back))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(key::retrieve, key::change, key::revoke))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenant::retrieve, tenant::change, tenant::erase))
        .routes(routes!(prices::list, prices::set))
        .routes(routes!(price::remove))
        .routes(routes!(usage::usage))
        .routes(routes!(audit::list))
        .routes(routes!(audit_verify::verify))
        .routes(routes!(inference::server))
        .routes(routes!(inference::live))
        .routes(routes!(inference::ready))
        .routes(routes!(inference::model))
        .routes(routes!(inference::model_ready))
        .routes(routes!(inference::infer))
        .routes(routes!(inference::infer_version))
        .routes(routes!(health::health))
        .routes(routes!(ready::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::openapi))
        .split_for_parts();
    for schema in document.components.iter_mut().flat_map(|components| components.schemas.values_mut()) {
        crate::wire::params::limit(schema, &app.settings.limits);
    }
    // A second call on the same state would find the same routes; the first document stays.
    let _ = app.openapi.set(document);
    router
        .fallback(not_built::fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), crate::auth::guard))
        .layer(from_fn_with_state(app.clone(), headers::observe))
        .with_state(app)
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method().as_str(), &crate::state::printable(request.uri().path()))
}

/// What the platform refuses on routes of ours: what is not found there is no model.
fn refused(error: orrery_platform::Error) -> ApiError {
    match error {
        orrery_platform::Error::NotFound(message) => ApiError::not_found(message),
        other => other.into(),
    }
}

fn identity(app: &App, prefix: &str, model: &str) -> Identity {
    Identity { id: app.new_id(prefix), created: crate::state::unix_seconds(), model: model.to_owned() }
}

/// A generation was refused: for the metrics and its span.
fn turned_away(app: &App, by: &Principal, span: &mut Option<Inference>, error: &orrery_platform::Error) {
    app.metrics.refused(by, error);
    if let Some(span) = span {
        span.refused(error);
    }
}

/// The events of many prompts as one stream, each with its prompt's index.
fn merge(streams: Vec<futures_util::stream::BoxStream<'static, orrery_platform::Event>>) -> Events {
    let numbered = |(prompt, events): (usize, futures_util::stream::BoxStream<'static, orrery_platform::Event>)| {
        events.map(move |event| (prompt, event)).boxed()
    };
    futures_util::stream::select_all(streams.into_iter().enumerate().map(numbered)).boxed()
}

/// Waits for the whole answer. Dropping the future drops the events, which cancels the request.
async fn gather(mut events: Events, grid: Grid, mut observation: Observation) -> Result<Choices, ApiError> {
    let mut choices = Choices::new(grid);
    while let Some((prompt, event)) = events.next().await {
        observation.event(prompt, &event);
        if choices.push(prompt, event)? {
            return Ok(choices);
        }
    }
    // An end without a terminal event breaks the platform's contract.
    observation.failed();
    Err(ApiError::internal())
}
