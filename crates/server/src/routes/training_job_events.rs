//! `GET /v1/training/jobs/{id}/events`: what a job tells, as a list or as it comes.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::training::{EventPage, JobEventList, JobEventObject, JobObject, event_page};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use orrery_platform::Principal;
use orrery_platform::training::JobInfo;
use std::time::Duration;

/// How often a stream looks for new events.
const LOOK: Duration = Duration::from_millis(250);
/// Looks without an event after which a comment is sent, so that nobody takes the connection for dead.
const LOOKS_PER_PING: u32 = 40;

/// Events of a job, the oldest first. With `stream=true`, or `Accept: text/event-stream`, they are sent as they come, until the job
/// has ended; the last event, `job`, is the job as it is then.
#[utoipa::path(
    get,
    path = "/v1/training/jobs/{id}/events",
    operation_id = "listTrainingJobEvents",
    tag = "Training",
    params(
        ("id" = String, Path, description = "An id"),
        ("after" = Option<String>, Query, description = "Those that come after this event"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 500; 20 if left out"),
        ("stream" = Option<bool>, Query, description = "As server-sent events"),
    ),
    responses(
        (status = 200, description = "The events", body = JobEventList),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let page = event_page(&request, &id)?;
    let training = app.backend.accounts().training();
    if page.stream {
        training.job(&by, &id).await.map_err(refused)?;
        return Ok(streamed(app, by, id, page));
    }
    let (_, mut events) = training.events(&by, &id, page.after, page.events_max + 1).await.map_err(refused)?;
    let has_more = events.len() > page.events_max;
    events.truncate(page.events_max);
    let data = events.into_iter().map(|event| JobEventObject::new(&id, event)).collect();
    Ok(Json(JobEventList { object: "list", data, has_more }).into_response())
}

/// Where a stream is.
struct Follow {
    app: App,
    by: Principal,
    id: String,
    after: u64,
    quiet: u32,
    over: bool,
}

fn streamed(app: App, by: Principal, id: String, page: EventPage) -> Response {
    let follow = Follow { app, by, id, after: page.after, quiet: 0, over: false };
    let frames = stream::unfold(follow, |mut follow| async move {
        if follow.over {
            return None;
        }
        let frames = follow.next().await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(frames)), follow))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl Follow {
    /// The next frames; waits until there are some.
    async fn next(&mut self) -> String {
        loop {
            let training = self.app.backend.accounts().training();
            let (job, events) = match training.events(&self.by, &self.id, self.after, 500).await {
                Ok(read) => read,
                Err(error) => {
                    self.over = true;
                    return frame("error", &refused(error).to_body());
                }
            };
            if let Some(last) = events.last() {
                self.after = last.sequence;
                self.quiet = 0;
                return events.into_iter().map(|event| self.event(event)).collect();
            }
            if job.is_final || self.app.is_draining() {
                self.over = true;
                return self.last(job);
            }
            self.quiet += 1;
            tokio::time::sleep(LOOK).await;
            if self.quiet.is_multiple_of(LOOKS_PER_PING) {
                return ": ping\n\n".to_owned();
            }
        }
    }

    fn event(&self, event: orrery_platform::training::JobEventInfo) -> String {
        frame("event", &JobEventObject::new(&self.id, event))
    }

    fn last(&self, job: JobInfo) -> String {
        frame("job", &JobObject::new(job, self.by.tenant_id()))
    }
}

fn frame(name: &str, data: &impl serde::Serialize) -> String {
    // None of these types can fail to be written.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}
