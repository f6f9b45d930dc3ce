//! A well-behaved engine on kept connections: reads whole requests, answers what it is told to.

use super::{Behaviour, Wire};
use crate::support::http::answer;
use crate::support::{Head, text};

/// `{"path": …, "body": …}` with the payload of the request.
pub fn behaviour() -> Behaviour {
    with(|head, body| {
        let said = serde_json::json!({ "path": head.path(), "body": text(body) });
        answer("200 OK", &said.to_string())
    })
}

/// Answers every request with these bytes.
pub fn says(bytes: impl Into<Vec<u8>>) -> Behaviour {
    let bytes = bytes.into();
    with(move |_, _| bytes.clone())
}

pub fn with(reply: impl Fn(&Head, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Behaviour {
    Box::new(move |wire| while one(wire, &reply) {})
}

/// One request and its answer; false when the connection is over.
pub fn one(wire: &mut Wire, reply: &impl Fn(&Head, &[u8]) -> Vec<u8>) -> bool {
    let Some(head) = wire.conn.try_head() else { return false };
    let body = wire.conn.request_body(&head);
    let bytes = reply(&head, &body);
    let connection = head.get("connection");
    let closes = connection == Some("close")
        || (head.first.ends_with("HTTP/1.0") && connection != Some("keep-alive"));
    wire.conn.try_send(bytes).is_ok() && !closes
}
