//! `/listeners` of the admin socket: what is open, and listeners that are opened and closed at run time.
//!
//! `route` calls it. What must stay true: all of it is on the Unix socket only; what has begun goes to its end.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::query::AdminQuery;
use super::report::Listeners;
use super::route::{AdminResponse, JSON, message, not_allowed, text, unix_only};
use super::{AdminApi, MOST_TIME};
use crate::config::RuntimeListener;

pub(super) const PATH: &str = "/listeners";

enum Change {
    Open(RuntimeListener),
    Close(String),
}

pub(super) async fn answer(head: &Parts, is_unix: bool, state: Arc<dyn AdminApi>) -> AdminResponse {
    if !is_unix {
        return unix_only(PATH);
    }
    if head.method == Method::GET || head.method == Method::HEAD {
        let listeners = Listeners { listeners: state.listeners() };
        let body = serde_json::to_string(&listeners).unwrap_or_default();
        return text(StatusCode::OK, JSON, body + "\n");
    }
    let is_post = head.method == Method::POST;
    if !is_post && head.method != Method::DELETE {
        return not_allowed("GET, HEAD, POST, DELETE");
    }
    let change = match read(head.uri.query().unwrap_or_default(), is_post) {
        Ok(change) => change,
        Err(why) => return message(StatusCode::BAD_REQUEST, &why),
    };
    if state.is_draining() {
        return message(StatusCode::SERVICE_UNAVAILABLE, "dockgate is stopping");
    }
    // In a task of its own, for the answer says what has become of it, whoever hangs up.
    let changing = tokio::spawn(async move {
        match change {
            Change::Open(listener) => state.open_listener(listener).await,
            Change::Close(name) => state.close_listener(name).await,
        }
    });
    match tokio::time::timeout(MOST_TIME, changing).await {
        Ok(Ok(Ok(said))) => message(StatusCode::OK, &said),
        Ok(Ok(Err(why))) => message(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Ok(Err(_)) => message(StatusCode::INTERNAL_SERVER_ERROR, "the change broke off"),
        Err(_) => {
            message(StatusCode::GATEWAY_TIMEOUT, "the change takes long; it goes on by itself")
        }
    }
}

fn read(query: &str, is_post: bool) -> Result<Change, String> {
    let mut asked = AdminQuery::read(query)?;
    let name = asked.need("name")?;
    let change = match is_post {
        true => {
            let (like, url) = (asked.need("like")?, asked.need("url")?);
            let mode = asked.take("mode");
            Change::Open(RuntimeListener::new(&name, &like, &url, mode.as_deref())?)
        }
        false => Change::Close(name),
    };
    asked.end()?;
    Ok(change)
}
