//! The paths of the admin socket.
//!
//! Called for each request. What must stay true: every answer is made here and is never of a cache;
//! a body is read only to be thrown away; a reload that has begun goes to its end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::{AdminApi, MOST_TIME, caches, guard, jobs, listeners};
use crate::telemetry::metrics::{OPENMETRICS, PLAIN, plain};

/// No request here has a body; a small one does no harm.
const MOST_BODY: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);
/// A probe waits no longer for an engine that says nothing.
const READY_TIME: Duration = Duration::from_secs(5);
const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

pub(super) type AdminResponse = Response<Full<Bytes>>;

pub(super) async fn answer(
    request: Request<Incoming>,
    is_unix: bool,
    state: Arc<dyn AdminApi>,
) -> AdminResponse {
    let (head, body) = request.into_parts();
    if let Some(why) = guard::refuses(&head, is_unix) {
        return message(StatusCode::FORBIDDEN, why);
    }
    if let Err(status) = throw_away(body).await {
        return message(status, "a request has no body here");
    }
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    match head.uri.path() {
        "/healthz" if reads => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if reads => ready(&*state).await,
        "/metrics" if reads => metrics(&head, &*state),
        listeners::PATH => listeners::answer(&head, is_unix, state).await,
        jobs::PATH => jobs::answer(&head, is_unix, state).await,
        "/reload" if !is_unix => unix_only("/reload"),
        "/reload" if head.method == Method::POST => reload(state).await,
        "/healthz" | "/readyz" | "/metrics" => not_allowed("GET, HEAD"),
        "/reload" => not_allowed("POST"),
        _ => caches::answer(&head, is_unix, &*state).await.unwrap_or_else(|| {
            let there_are = "there are /healthz, /readyz, /metrics, /reload, /listeners, /jobs and \
                             /cache/{stats,ls,verify,purge}";
            message(StatusCode::NOT_FOUND, there_are)
        }),
    }
}

async fn throw_away(body: Incoming) -> Result<(), StatusCode> {
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, MOST_BODY).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

async fn ready(state: &dyn AdminApi) -> AdminResponse {
    let checks = match tokio::time::timeout(READY_TIME, state.ready()).await {
        Ok(checks) => checks,
        Err(_) => vec![("checks".to_owned(), Err(format!("no result in {READY_TIME:?}")))],
    };
    let mut is_ready = true;
    let mut lines = String::new();
    if state.is_draining() {
        is_ready = false;
        lines.push_str("gateway: draining\n");
    }
    for (name, result) in checks {
        is_ready &= result.is_ok();
        let said = result.err().unwrap_or_else(|| "ok".to_owned());
        let _ = writeln!(lines, "{}: {}", one_line(&name), one_line(&said));
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, TEXT, lines)
}

/// Prometheus asks for OpenMetrics by name; a person with curl, and older readers, do not.
fn metrics(head: &Parts, state: &dyn AdminApi) -> AdminResponse {
    let mut accepted =
        head.headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.contains("application/openmetrics-text")) {
        true => text(StatusCode::OK, OPENMETRICS, state.metrics()),
        false => text(StatusCode::OK, PLAIN, plain(&state.metrics())),
    }
}

async fn reload(state: Arc<dyn AdminApi>) -> AdminResponse {
    if state.is_draining() {
        return message(StatusCode::SERVICE_UNAVAILABLE, "dockgate is stopping");
    }
    // In a task of its own, for it must not stop half-way when the client hangs up.
    let reloading = tokio::spawn(async move { state.reload().await });
    match tokio::time::timeout(MOST_TIME, reloading).await {
        Ok(Ok(Ok(done))) => message(StatusCode::OK, &done),
        Ok(Ok(Err(complaints))) => message(StatusCode::UNPROCESSABLE_ENTITY, &complaints),
        Err(_) => {
            message(StatusCode::GATEWAY_TIMEOUT, "the reload takes long; it goes on by itself")
        }
        Ok(Err(_)) => message(StatusCode::INTERNAL_SERVER_ERROR, "the reload broke off"),
    }
}

pub(super) fn unix_only(path: &str) -> AdminResponse {
    let why =
        format!("`{path}` is on the unix socket only. hint: set `admin.listen = [\"unix://…\"]`");
    message(StatusCode::FORBIDDEN, &why)
}

pub(super) fn not_allowed(allowed: &'static str) -> AdminResponse {
    let mut answer = message(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method");
    let _ = answer.headers_mut().insert("allow", hyper::http::HeaderValue::from_static(allowed));
    answer
}

/// The shape of the engine's own messages.
pub(super) fn message(status: StatusCode, message: &str) -> AdminResponse {
    let body = serde_json::json!({ "message": message }).to_string() + "\n";
    text(status, JSON, body)
}

pub(super) fn text(status: StatusCode, kind: &'static str, body: String) -> AdminResponse {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        ("content-type", kind),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(name, hyper::http::HeaderValue::from_static(value));
    }
    answer
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
