//! Whatever no route answers: 404, with a word of its own for the known parts of the API that are not built yet.

use crate::error::ApiError;
use crate::state::printable;
use axum::extract::Request;

/// OpenAI's routes that this server does not have yet.
const KNOWN: &[&str] = &[
    "assistants",
    "audio",
    "batches",
    "containers",
    "conversations",
    "embeddings",
    "evals",
    "fine_tuning",
    "images",
    "moderations",
    "realtime",
    "rerank",
    "responses",
    "score",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
];

pub async fn fallback(request: Request) -> ApiError {
    let path = printable(request.uri().path());
    match path.strip_prefix("/v1/") {
        Some(rest) if KNOWN.iter().any(|known| is_under(rest, known)) => ApiError::not_built(&path),
        _ => ApiError::unknown_url(request.method().as_str(), &path),
    }
}

fn is_under(path: &str, known: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
