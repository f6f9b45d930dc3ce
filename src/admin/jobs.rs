//! `/jobs` of the admin socket: containers and processes that have a socket of their own, and what becomes of them.
//!
//! `route` calls it. What must stay true: all of it is on the Unix socket only; a job that is ended so ends as any other;
//! who asks for a job is whom the kernel names.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::query::AdminQuery;
use super::report::JobsReport;
use super::route::{AdminResponse, JSON, message, not_allowed, text, unix_only};
use super::{AdminApi, Asker, MOST_TIME};

pub(super) const PATH: &str = "/jobs";
const MOST_NAME: usize = 64;

/// A job for a process of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenJob {
    /// For people.
    pub name: String,
    /// The `[policy.NAME]` that says what holds; the only one.
    pub policy: Option<String>,
    /// It ends with this one.
    pub pid: i32,
    /// The user who asks.
    pub asker: u32,
}

pub(super) async fn answer(head: &Parts, is_unix: bool, state: Arc<dyn AdminApi>) -> AdminResponse {
    if !is_unix {
        return unix_only(PATH);
    }
    let query = head.uri.query().unwrap_or_default();
    match head.method {
        Method::GET | Method::HEAD => {
            let body = serde_json::to_string(&JobsReport { jobs: state.jobs() });
            text(StatusCode::OK, JSON, body.unwrap_or_default() + "\n")
        }
        Method::POST => match wanted(query, head) {
            Ok(job) => open(job, state).await,
            Err(why) => message(StatusCode::BAD_REQUEST, &why),
        },
        Method::DELETE => match named(query) {
            Ok(id) => match state.end_job(&id) {
                Ok(()) => message(StatusCode::OK, &format!("job `{id}` ends")),
                Err(why) => message(StatusCode::UNPROCESSABLE_ENTITY, &why),
            },
            Err(why) => message(StatusCode::BAD_REQUEST, &why),
        },
        _ => not_allowed("GET, HEAD, POST, DELETE"),
    }
}

async fn open(job: OpenJob, state: Arc<dyn AdminApi>) -> AdminResponse {
    if state.is_draining() {
        return message(StatusCode::SERVICE_UNAVAILABLE, "dockgate is stopping");
    }
    // In a task of its own, for the answer says what has become of it, whoever hangs up.
    let opening = tokio::spawn(async move { state.open_job(job).await });
    match tokio::time::timeout(MOST_TIME, opening).await {
        Ok(Ok(Ok(job))) => {
            let body = serde_json::to_string(&job).unwrap_or_default();
            text(StatusCode::OK, JSON, body + "\n")
        }
        Ok(Ok(Err(why))) => message(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Ok(Err(_)) => message(StatusCode::INTERNAL_SERVER_ERROR, "the job broke off"),
        Err(_) => message(StatusCode::GATEWAY_TIMEOUT, "the job takes long to open"),
    }
}

fn wanted(query: &str, head: &Parts) -> Result<OpenJob, String> {
    let mut asked = AdminQuery::read(query)?;
    let (name, pid) = (asked.need("name")?, asked.need("pid")?);
    let policy = asked.take("policy");
    asked.end()?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MOST_NAME || !name.bytes().all(is_part) {
        let of = "letters, digits, `.`, `_` and `-`";
        return Err(format!("`name` is up to {MOST_NAME} {of}"));
    }
    let pid = pid.parse().ok().filter(|pid| *pid > 0).ok_or("`pid` is no number of a process")?;
    let asker = head.extensions.get::<Option<Asker>>().copied().flatten();
    let asker = asker.ok_or("the kernel does not say who asks")?.uid;
    Ok(OpenJob { name, policy, pid, asker })
}

fn named(query: &str) -> Result<String, String> {
    let mut asked = AdminQuery::read(query)?;
    let id = asked.need("id")?;
    asked.end()?;
    Ok(id)
}
