//! `GET` and `POST /v1/prices`.

use super::refused;
use crate::body::read_object;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{List, PriceObject, price};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use orrery_platform::Principal;

/// What models cost; one without a price is free.
#[utoipa::path(
    get,
    path = "/v1/prices",
    operation_id = "listPrices",
    tag = "Accounts",
    responses(
        (status = 200, description = "The prices", body = List<PriceObject>),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn list(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
) -> Result<Json<List<PriceObject>>, ApiError> {
    let prices = app.backend.accounts().prices(&by).await.map_err(refused)?;
    Ok(Json(List::whole(prices.into_iter().map(PriceObject::from).collect())))
}

/// Sets what a token of a model costs: `model`, `input_nano`, `cached_nano`, `output_nano`. Requests that run keep theirs.
#[utoipa::path(
    post,
    path = "/v1/prices",
    operation_id = "setPrice",
    tag = "Accounts",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The price", body = PriceObject),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
    )
)]
pub async fn set(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Json<PriceObject>, ApiError> {
    let price = price(read_object(request, &app.settings).await?)?;
    app.backend.accounts().set_price(&by, price.clone()).await.map_err(refused)?;
    Ok(Json(price.into()))
}
