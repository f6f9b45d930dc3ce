//! `/jobs` of the admin socket: containers that have a socket of their own, and what becomes of them.
//!
//! `route` calls it. What must stay true: all of it is on the Unix socket only; a job that is ended so ends as any other.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::AdminApi;
use super::query::AdminQuery;
use super::report::JobsReport;
use super::route::{AdminResponse, JSON, message, not_allowed, text, unix_only};

pub(super) const PATH: &str = "/jobs";

pub(super) fn answer(head: &Parts, is_unix: bool, state: &Arc<dyn AdminApi>) -> AdminResponse {
    if !is_unix {
        return unix_only(PATH);
    }
    match head.method {
        Method::GET | Method::HEAD => {
            let body = serde_json::to_string(&JobsReport { jobs: state.jobs() });
            text(StatusCode::OK, JSON, body.unwrap_or_default() + "\n")
        }
        Method::DELETE => match named(head.uri.query().unwrap_or_default()) {
            Ok(id) => match state.end_job(&id) {
                Ok(()) => message(StatusCode::OK, &format!("job `{id}` ends")),
                Err(why) => message(StatusCode::UNPROCESSABLE_ENTITY, &why),
            },
            Err(why) => message(StatusCode::BAD_REQUEST, &why),
        },
        _ => not_allowed("GET, HEAD, DELETE"),
    }
}

fn named(query: &str) -> Result<String, String> {
    let mut asked = AdminQuery::read(query)?;
    let id = asked.need("id")?;
    asked.end()?;
    Ok(id)
}
