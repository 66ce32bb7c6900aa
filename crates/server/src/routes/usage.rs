//! `GET /v1/usage`.

use super::refused;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::wire::accounts::{List, UsageObject};
use crate::wire::query::Query;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use orrery_platform::Principal;
use orrery_platform::accounts::UsageRequest;
use std::fmt::Write as _;

/// The year 9999.
const TIME_MAX: i64 = 253_402_300_799;

/// Sums over requests: by `group_by` (of `tenant`, `key`, `model`, `day`, with commas), as JSON or, with `format=csv`, as CSV.
#[utoipa::path(
    get,
    path = "/v1/usage",
    operation_id = "usage",
    tag = "Accounts",
    params(
        ("group_by" = Option<String>, Query, description = "Of tenant, key, model and day, with commas"),
        ("tenant" = Option<String>, Query, description = "Of this tenant"),
        ("key" = Option<String>, Query, description = "Of this key"),
        ("model" = Option<String>, Query, description = "Of this model"),
        ("since" = Option<i64>, Query, description = "Started at or after, in seconds since 1970"),
        ("until" = Option<i64>, Query, description = "Started before"),
        ("format" = Option<String>, Query, description = "json or csv"),
    ),
    responses(
        (status = 200, description = "The sums", body = List<UsageObject>),
        (status = 400, description = "A field is wrong", body = ErrorBody),
        (status = 401, description = "No key, or one that is not good", body = ErrorBody),
        (status = 403, description = "The key's role does not allow it", body = ErrorBody),
        (status = 404, description = "There is none, for this key", body = ErrorBody),
    )
)]
pub async fn usage(
    State(app): State<App>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::of(&request)?;
    let mut time = |name: &str| Ok::<_, ApiError>(query.integer(name, 0, TIME_MAX)?.map(|seconds| seconds * 1000));
    let (since_ms, until_ms) = (time("since")?, time("until")?);
    let wanted = UsageRequest {
        tenant: query.text("tenant"),
        key: query.text("key"),
        model: query.text("model"),
        since_ms,
        until_ms,
        group_by: query.list("group_by"),
    };
    let format = query.text("format");
    query.finish()?;
    let as_csv = match format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(ApiError::invalid("format", "`format` must be json or csv.")),
    };
    let sums = app.backend.accounts().usage(&by, wanted).await.map_err(refused)?;
    let sums: Vec<UsageObject> = sums.into_iter().map(UsageObject::from).collect();
    if as_csv {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv(&sums)).into_response());
    }
    Ok(Json(List::whole(sums)).into_response())
}

fn csv(sums: &[UsageObject]) -> String {
    let mut text = "tenant,key,model,day,requests,completed,input_tokens,cached_tokens,output_tokens,queue_us,\
                    prefill_us,decode_us,cost_nano\n"
        .to_owned();
    for sum in sums {
        let cell = |text: &Option<String>| quoted(text.as_deref().unwrap_or_default());
        let day = sum.day.map_or_else(String::new, |day| day.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{day},{},{},{},{},{},{},{},{},{}",
            cell(&sum.tenant),
            cell(&sum.key),
            cell(&sum.model),
            sum.requests,
            sum.completed,
            sum.input_tokens,
            sum.cached_tokens,
            sum.output_tokens,
            sum.queue_us,
            sum.prefill_us,
            sum.decode_us,
            sum.cost_nano
        );
    }
    text
}

/// A cell that no spreadsheet takes for a formula, nor for two cells.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula || text.contains(['"', ',', '\n', '\r']) {
        let guard = if formula { "'" } else { "" };
        return format!("\"{guard}{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (text, cell) in [("a", "a"), ("a,b", "\"a,b\""), ("a\"", "\"a\"\"\""), ("=1+1", "\"'=1+1\"")] {
            assert_eq!(quoted(text), cell);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let sum = UsageObject {
            tenant: Some("t".into()),
            key: None,
            model: Some("m".into()),
            day: Some(86_400),
            requests: 1,
            completed: 2,
            input_tokens: 3,
            cached_tokens: 4,
            output_tokens: 5,
            queue_us: 6,
            prefill_us: 7,
            decode_us: 8,
            cost_nano: 9,
        };
        let text = csv(&[sum]);
        let (head, row) = text.split_once('\n').expect("two lines");
        assert_eq!(row, "t,,m,86400,1,2,3,4,5,6,7,8,9\n");
        assert_eq!(head.split(',').count(), 13);
    }
}
