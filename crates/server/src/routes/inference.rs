//! `/v2`: the Open Inference Protocol over REST, with its binary extension. Models are those of the tenant's registry.

use crate::body::read_tensors;
use crate::error::ApiError;
use crate::state::App;
use crate::wire::tensors;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use orrery_platform::Principal;
use orrery_platform::predict::{Described, ModelPort};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// How many bytes of a body are JSON, where tensors follow it.
pub const JSON_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The protocol's error body.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferenceError {
    pub error: String,
}

/// A refusal in the protocol's form.
pub struct Refused(ApiError);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<orrery_platform::Error> for Refused {
    fn from(error: orrery_platform::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = self.0.body.message.clone();
        let (parts, _) = self.0.into_response().into_parts();
        let mut response = (parts.status, Json(InferenceError { error })).into_response();
        for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
            if let Some(value) = parts.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

/// What the server is and which extensions it has.
#[utoipa::path(get, path = "/v2", operation_id = "serverMetadata", tag = "Open Inference Protocol",
    responses((status = 200, description = "The server")))]
pub async fn server() -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({"name": "orrery", "version": version, "extensions": ["binary_tensor_data"]}))
}

/// 200 while the process answers.
#[utoipa::path(get, path = "/v2/health/live", operation_id = "serverLive", tag = "Open Inference Protocol",
    responses((status = 200, description = "It lives")))]
pub async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// 200 while new requests are welcome.
#[utoipa::path(get, path = "/v2/health/ready", operation_id = "serverReady", tag = "Open Inference Protocol",
    responses((status = 200, description = "Ready"), (status = 503, description = "Loading or draining")))]
pub async fn ready(State(app): State<App>) -> Response {
    let is_ready = !app.is_draining() && app.backend.is_ready();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": is_ready}))).into_response()
}

/// What a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}", operation_id = "modelMetadata", tag = "Open Inference Protocol",
    params(("model" = String, Path, description = "`MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`")),
    responses((status = 200, description = "Its inputs and outputs"),
        (status = 404, description = "No such model", body = InferenceError),
        (status = 503, description = "No library to run it with", body = InferenceError)))]
pub async fn model(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(metadata(&app.backend.accounts().describe(&by, &model).await?)))
}

/// 200 when the model can be called; it is loaded for that.
#[utoipa::path(get, path = "/v2/models/{model}/ready", operation_id = "modelReady", tag = "Open Inference Protocol",
    params(("model" = String, Path, description = "`MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`")),
    responses((status = 200, description = "Ready"),
        (status = 404, description = "No such model", body = InferenceError),
        (status = 503, description = "No library to run it with", body = InferenceError)))]
pub async fn model_ready(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<Json<Value>, Refused> {
    let described = app.backend.accounts().describe(&by, &model).await?;
    Ok(Json(json!({"name": described.model, "ready": true})))
}

/// Computes tensors.
#[utoipa::path(post, path = "/v2/models/{model}/infer", operation_id = "modelInfer", tag = "Open Inference Protocol",
    params(("model" = String, Path, description = "`MODEL`, `MODEL@ALIAS` or `MODEL@VERSION`")),
    responses((status = 200, description = "The outputs, as JSON or with bytes after it"),
        (status = 400, description = "A tensor is wrong", body = InferenceError),
        (status = 404, description = "No such model", body = InferenceError),
        (status = 429, description = "A limit is in the way", body = InferenceError),
        (status = 503, description = "No library to run it with", body = InferenceError)))]
pub async fn infer(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path(model): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    compute(&app, &by, model, request).await
}

/// The same with a version of the model.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", operation_id = "modelVersionInfer",
    tag = "Open Inference Protocol",
    params(("model" = String, Path, description = "A model"), ("version" = String, Path, description = "Its number")),
    responses((status = 200, description = "The outputs, as JSON or with bytes after it"),
        (status = 400, description = "A tensor is wrong", body = InferenceError),
        (status = 404, description = "No such model", body = InferenceError),
        (status = 429, description = "A limit is in the way", body = InferenceError),
        (status = 503, description = "No library to run it with", body = InferenceError)))]
pub async fn infer_version(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    compute(&app, &by, format!("{model}@{version}"), request).await
}

async fn compute(app: &App, by: &Principal, model: String, request: Request) -> Result<Response, Refused> {
    let (body, json_bytes) = read_tensors(request, &JSON_BYTES, &app.settings).await?;
    let mut infer = tensors::read(model, &body, json_bytes)?;
    let taken = std::mem::take(&mut infer.request);
    let answer = app.backend.infer(by, taken).await.inspect_err(|error| app.metrics.refused(by, error))?;
    let (mut body, bytes) = tensors::write(&infer, answer)?;
    let json_bytes = body.len();
    let Some(bytes) = bytes else {
        return Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response());
    };
    body.extend_from_slice(&bytes);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (JSON_BYTES, HeaderValue::from(json_bytes)),
    ];
    Ok((headers, body).into_response())
}

fn metadata(described: &Described) -> Value {
    let port = |port: &ModelPort| json!({"name": port.name, "datatype": port.datatype, "shape": port.shape});
    json!({
        "name": described.model,
        "versions": [described.version.to_string()],
        "platform": "onnxruntime_onnx",
        "inputs": described.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": described.outputs.iter().map(port).collect::<Vec<_>>(),
    })
}
