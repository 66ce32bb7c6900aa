//! The door: which key may pass to which route. Nothing behind it runs, and no body is read, without a [`Principal`].
//!
//! [`DOORS`] lists every route. One that is not in it is for platform admins alone, and a test fails.

use crate::error::ApiError;
use crate::slots::Slot;
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use orrery_platform::{Action, Principal};
use std::sync::Arc;

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody, without a key.
    Open,
    /// A key whose role allows this.
    Key(Action),
}

/// Method, route and door.
pub const DOORS: &[(&str, &str, Door)] = &[
    ("GET", "/", Door::Open),
    ("GET", "/health", Door::Open),
    ("GET", "/ready", Door::Open),
    ("GET", "/openapi.json", Door::Open),
    ("GET", "/metrics", Door::Key(Action::ReadMetrics)),
    ("GET", "/v1/models", Door::Key(Action::ReadModels)),
    ("GET", "/v1/models/{id}", Door::Key(Action::ReadModels)),
    ("POST", "/v1/chat/completions", Door::Key(Action::Infer)),
    ("GET", "/v1/chat/completions", Door::Key(Action::ReadRetained)),
    ("GET", "/v1/chat/completions/{id}", Door::Key(Action::ReadRetained)),
    ("DELETE", "/v1/chat/completions/{id}", Door::Key(Action::ReadRetained)),
    ("GET", "/v1/chat/completions/{id}/messages", Door::Key(Action::ReadRetained)),
    ("POST", "/v1/completions", Door::Key(Action::Infer)),
    ("POST", "/tokenize", Door::Key(Action::Infer)),
    ("POST", "/detokenize", Door::Key(Action::Infer)),
    ("GET", "/v1/files", Door::Key(Action::ReadFiles)),
    ("POST", "/v1/files", Door::Key(Action::ManageFiles)),
    ("GET", "/v1/files/{id}", Door::Key(Action::ReadFiles)),
    ("DELETE", "/v1/files/{id}", Door::Key(Action::ManageFiles)),
    ("GET", "/v1/files/{id}/content", Door::Key(Action::ReadFiles)),
    ("GET", "/v1/training/jobs", Door::Key(Action::ReadJobs)),
    ("POST", "/v1/training/jobs", Door::Key(Action::ManageJobs)),
    ("GET", "/v1/training/jobs/{id}", Door::Key(Action::ReadJobs)),
    ("POST", "/v1/training/jobs/{id}/cancel", Door::Key(Action::ManageJobs)),
    ("GET", "/v1/training/jobs/{id}/events", Door::Key(Action::ReadJobs)),
    ("GET", "/v1/training/jobs/{id}/checkpoints", Door::Key(Action::ReadJobs)),
    ("GET", "/v1/training/jobs/{id}/report", Door::Key(Action::ReadJobs)),
    ("GET", "/v1/registry/models", Door::Key(Action::ReadModels)),
    ("GET", "/v1/registry/models/{model}", Door::Key(Action::ReadModels)),
    ("DELETE", "/v1/registry/models/{model}", Door::Key(Action::ManageModels)),
    ("GET", "/v1/registry/models/{model}/files/{file}", Door::Key(Action::ManageModels)),
    ("POST", "/v1/registry/models/{model}/aliases/{alias}", Door::Key(Action::ManageModels)),
    ("POST", "/v1/registry/models/{model}/aliases/{alias}/rollback", Door::Key(Action::ManageModels)),
    ("GET", "/v1/keys", Door::Key(Action::ReadKeys)),
    ("POST", "/v1/keys", Door::Key(Action::ManageKeys)),
    ("GET", "/v1/keys/{id}", Door::Key(Action::ReadKeys)),
    ("POST", "/v1/keys/{id}", Door::Key(Action::ManageKeys)),
    ("DELETE", "/v1/keys/{id}", Door::Key(Action::ManageKeys)),
    ("GET", "/v1/tenants", Door::Key(Action::ReadTenant)),
    ("POST", "/v1/tenants", Door::Key(Action::ManageTenants)),
    ("GET", "/v1/tenants/{id}", Door::Key(Action::ReadTenant)),
    ("POST", "/v1/tenants/{id}", Door::Key(Action::ManageTenants)),
    ("DELETE", "/v1/tenants/{id}", Door::Key(Action::ManageTenants)),
    ("GET", "/v1/prices", Door::Key(Action::ReadPrices)),
    ("POST", "/v1/prices", Door::Key(Action::ManagePrices)),
    ("DELETE", "/v1/prices/{model}", Door::Key(Action::ManagePrices)),
    ("GET", "/v1/usage", Door::Key(Action::ReadUsage)),
    ("GET", "/v1/audit", Door::Key(Action::ReadAudit)),
    ("GET", "/v1/audit/verify", Door::Key(Action::ManageTenants)),
    ("GET", "/v2", Door::Key(Action::ReadModels)),
    ("GET", "/v2/health/live", Door::Open),
    ("GET", "/v2/health/ready", Door::Open),
    ("GET", "/v2/models/{model}", Door::Key(Action::ReadModels)),
    ("GET", "/v2/models/{model}/ready", Door::Key(Action::ReadModels)),
    ("POST", "/v2/models/{model}/infer", Door::Key(Action::Infer)),
    ("POST", "/v2/models/{model}/versions/{version}/infer", Door::Key(Action::Infer)),
];

/// Wraps every route and the fallbacks: an unknown URL asks for a key too, and tells nothing without one.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let door = route.as_deref().map(|route| door(request.method(), route));
    if door == Some(Door::Open) {
        return next.run(request).await;
    }
    if app.backend.accounts().is_open() && !is_local(request.headers()) {
        return ApiError::foreign().into_response();
    }
    let principal = match authenticate(&app, request.headers()).await {
        Ok(principal) => principal,
        Err(refused) => {
            if refused.status == StatusCode::UNAUTHORIZED {
                app.metrics.unauthenticated();
            }
            return refused.into_response();
        }
    };
    if let Some(traced) = crate::traces::of(&request) {
        traced.passed(principal.tenant_id());
    }
    if let Some(Door::Key(action)) = door
        && let Err(refused) = principal.check(action)
    {
        app.metrics.refused(&principal, &refused);
        return ApiError::from(refused).into_response();
    }
    if let Some(slot) = request.extensions().get::<Arc<Slot>>()
        && !slot.keyed()
    {
        // The connection's place has just been given away; its task ends here.
        std::future::pending::<()>().await;
    }
    request.extensions_mut().insert(principal.clone());
    let mut response = next.run(request).await;
    if route.is_some_and(|route| route.starts_with("/v1/")) {
        crate::headers::own_limits(&app.backend.accounts().rate_limits(&principal), response.headers_mut());
    }
    response
}

async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let key = bearer(headers)?;
    Ok(app.backend.accounts().authenticate(key).await?)
}

fn door(method: &Method, route: &str) -> Door {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let found = DOORS.iter().find(|(of, path, _)| *of == method.as_str() && *path == route);
    if let Some((_, _, door)) = found {
        return *door;
    }
    // A method that a known route does not have is answered with 405, to whoever has a key.
    match DOORS.iter().any(|(_, path, _)| *path == route) {
        true => Door::Key(Action::ReadModels),
        false => Door::Key(Action::ManageTenants),
    }
}

/// Whether a request to a server without keys was meant for this machine: a web page elsewhere can make a browser send
/// requests here, under a name of its own that leads to this address (DNS rebinding), or from its own origin.
fn is_local(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let host_is_local = |host: &str| {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        name.eq_ignore_ascii_case("localhost") || name == "[::1]" || is_loopback(name)
    };
    let origin_is_local = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| host_is_local(host));
    text(header::HOST).is_none_or(host_is_local) && text(header::ORIGIN).is_none_or(origin_is_local)
}

fn is_loopback(name: &str) -> bool {
    name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The key of `Authorization: Bearer KEY`; `None` where there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || ApiError::unauthenticated("The header `authorization` must be `Bearer KEY`, once.");
    if values.next().is_some() {
        return Err(wrong());
    }
    let (scheme, key) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(wrong());
    }
    Ok(Some(key.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_line_is_closed() {
        assert_eq!(door(&Method::GET, "/v1/new"), Door::Key(Action::ManageTenants));
        assert_eq!(door(&Method::HEAD, "/health"), Door::Open);
        assert_eq!(door(&Method::DELETE, "/health"), Door::Key(Action::ReadModels));
    }

    #[test]
    fn only_what_was_meant_for_this_machine_is_local() {
        let local = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            }
            is_local(&headers)
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:8080"] {
            assert!(local(host, None) && local(host, Some("http://localhost:3000")), "{host}");
            assert!(!local(host, Some("https://evil.example")) && !local(host, Some("null")), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1"]
        {
            assert!(!local(host, None), "{host}");
        }
    }

    #[test]
    fn bearer_keys() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a header"));
            }
            bearer(&headers).map(|key| key.map(str::to_owned)).map_err(|error| error.status.as_u16())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer abc"]), Ok(Some("abc".into())));
        assert_eq!(read(&["bearer  abc "]), Ok(Some("abc".into())));
        for bad in [&["Basic abc"][..], &["Bearer"], &["abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(bad), Err(401), "{bad:?}");
        }
    }
}
