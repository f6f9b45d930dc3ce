//! Every way in which a call ends without the engine's answer, and what the client is told.
//!
//! One type and one mapping: the engine's own shape (`{"message": …}`), a status, and whose doing it
//! was. What must stay true: no message repeats a header, a body or a query value of the client.

use super::body::Slow;
use super::budget::Full;
use super::http2::{self, Speaks};
use super::request::{Upload, Wants};
use super::{AfterCall, ClientConnection, ListenerState, witness};
use crate::api::call::BadCall;
use crate::api::doc::BadDoc;
use crate::api::path::BadTarget;
use crate::auth::AuthError;
use crate::engine::EngineError;
use crate::policy::{Reason, Reply};
use crate::telemetry::access::{Record, Verdict};
use crate::wire::chunked::BadChunk;
use crate::wire::framing::{BadFraming, Framing};
use crate::wire::head::{HeadError, put_line};
use crate::wire::pump::{Inbox, discard};
use crate::wire::trail::BadTrail;

/// What Go's server reads of a body that its handler left, before it gives the connection up.
const MOST_DISCARDED: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The client closed before its request was complete: nobody is there to be told.
    #[error("the client left")]
    Left,
    #[error("HTTP/2 is not spoken here while a policy is active")]
    Http2,
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the request line and headers are too large")]
    HeadTooLarge,
    #[error("the request line and headers took too long")]
    HeadTooSlow,
    #[error(transparent)]
    Framing(#[from] BadFraming),
    #[error(transparent)]
    Chunk(#[from] BadChunk),
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body ended early")]
    BodyCut,
    #[error(transparent)]
    BodyTooSlow(#[from] Slow),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Trail(#[from] BadTrail),
    #[error(transparent)]
    Call(#[from] BadCall),
    /// A page in somebody's browser can send requests to a port (with an `Origin`, RFC 6454 §7), and
    /// no Docker client sends one.
    #[error(
        "requests of browsers are refused on TCP: there is an `Origin` header, or a `Host` that is not this listener's"
    )]
    Browser,
    #[error(transparent)]
    AuthError(#[from] AuthError),
    /// The client is told the first reason.
    #[error("{}", message(.0))]
    Denied(Vec<Reason>),
    /// A policy has answered in the engine's place.
    #[error("a policy has answered")]
    Answered(Reply),
    #[error(transparent)]
    Away(#[from] EngineError),
    #[error("the engine's answer could not be understood: {0}")]
    Answer(&'static str),
}

fn message(reasons: &[Reason]) -> String {
    reasons.first().map(Reason::message).unwrap_or_default()
}

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        match self {
            Refusal::Call(BadCall::NoSuchEndpoint { .. }) => 404,
            Refusal::Call(BadCall::Target(BadTarget::Moved(_))) => 301,
            Refusal::Call(BadCall::Doc(BadDoc::TooManyValues(_))) => 413,
            Refusal::Left
            | Refusal::Head(HeadError::Malformed(_))
            | Refusal::Framing(BadFraming::Length | BadFraming::Both)
            | Refusal::Chunk(_)
            | Refusal::BodyCut
            | Refusal::Trail(BadTrail::Malformed)
            | Refusal::Call(_) => 400,
            Refusal::AuthError(AuthError::Unavailable { .. }) => 503,
            Refusal::AuthError(_) => 401,
            Refusal::Framing(BadFraming::Coding) => 501,
            Refusal::HeadTooSlow | Refusal::BodyTooSlow(_) => 408,
            Refusal::BodyTooLarge(_) => 413,
            Refusal::Head(HeadError::TooManyLines) | Refusal::HeadTooLarge => 431,
            Refusal::Browser => 403,
            Refusal::Denied(reasons) => reasons.first().map_or(403, |reason| reason.status),
            Refusal::Answer(_) | Refusal::Away(EngineError::Refused { .. }) => 502,
            Refusal::Full(full) => full.status(),
            Refusal::Away(EngineError::Silent { .. } | EngineError::Busy { .. }) => 504,
            Refusal::Away(EngineError::Loop { .. })
            | Refusal::Trail(BadTrail::Loop | BadTrail::TooLong) => 508,
            Refusal::Answered(reply) => reply.status,
            Refusal::Http2 => 505,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Refusal::Answered(_) => Verdict::Allow,
            Refusal::Denied(_) => Verdict::Deny,
            Refusal::Away(_) | Refusal::Answer(_) => Verdict::Fail,
            _ => Verdict::Reject,
        }
    }

    /// The rule that refuses, if one does.
    pub(super) fn rule(&self) -> Option<String> {
        match self {
            Refusal::Denied(reasons) => reasons.first().map(|reason| reason.rule.to_string()),
            _ => None,
        }
    }

    /// What the client prints. Refusals by rule and the engine's own words come as they are.
    pub(super) fn message(&self) -> String {
        match self {
            Refusal::Denied(reasons) => message(reasons),
            Refusal::Answered(Reply { json: Some(json), .. }) => {
                let said = json.get("message").and_then(serde_json::Value::as_str);
                said.map_or_else(|| format!("dockgate: {self}"), str::to_owned)
            }
            Refusal::Call(error @ (BadCall::StartWithBody | BadCall::NoSuchEndpoint { .. })) => {
                error.to_string()
            }
            Refusal::HeadTooLarge => format!("dockgate: {self}. hint: raise `limits.header_bytes`"),
            Refusal::BodyTooLarge(_) => format!("dockgate: {self}. hint: raise `limits.json_body`"),
            Refusal::Call(BadCall::Doc(BadDoc::TooManyValues(_))) => {
                format!("dockgate: {self}. hint: raise `limits.json_elements`")
            }
            Refusal::HeadTooSlow => {
                format!("dockgate: {self}. hint: `limits.header_time` says how long they may take")
            }
            Refusal::BodyTooSlow(Slow::Time(_)) => {
                format!("dockgate: {self}. hint: send it faster, or raise `limits.body_time`")
            }
            Refusal::BodyTooSlow(Slow::Rate(_)) => {
                format!("dockgate: {self}. hint: send it faster, or lower `limits.body_rate`")
            }
            Refusal::Full(full) => format!(
                "dockgate: {self}. hint: try again when some are done, or raise `{}`",
                full.key()
            ),
            Refusal::Trail(BadTrail::Loop) => {
                let hint = "`engine.url` must be the address of dockerd itself";
                format!("dockgate: {self}. hint: {hint}")
            }
            Refusal::Away(away) => format!("dockgate: {self}. hint: {}", away.hint()),
            Refusal::Browser => {
                format!("dockgate: {self}. hint: add the name to the listener's `hosts`")
            }
            Refusal::AuthError(AuthError::Unknown) => {
                format!("dockgate: {self}. hint: this listener asks who you are")
            }
            _ => format!("dockgate: {self}"),
        }
    }

    /// JSON: the message in the engine's shape, or what a policy has answered.
    fn body(&self) -> String {
        match self {
            Refusal::Answered(Reply { json: Some(json), .. }) => format!("{json}\n"),
            // The engine's has none either.
            Refusal::Answered(Reply { json: None, .. })
            | Refusal::Call(BadCall::Target(BadTarget::Moved(_))) => String::new(),
            _ => said(&self.message()),
        }
    }

    /// Lines of its head beside those that each has.
    fn lines(&self, state: &ListenerState) -> Vec<(&'static str, String)> {
        match self {
            Refusal::Call(BadCall::Target(BadTarget::Moved(to))) => vec![("Location", to.clone())],
            // A policy's is one too.
            _ if self.status() == 401 => {
                let challenges = state.authentication.challenges().iter();
                challenges.map(|one| ("WWW-Authenticate", one.clone())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the connection's next bytes can still be told apart.
    fn keeps_connection(&self) -> bool {
        matches!(
            self,
            Refusal::Denied(_) | Refusal::Answered(_) | Refusal::Away(_) | Refusal::Call(_)
        )
    }

    /// How to say it to a client that would take anything but HTTP/2 for an engine without BuildKit.
    fn in_http2(&self, upload: &Upload, record: &Record) -> Option<Speaks> {
        if !matches!(self, Refusal::Denied(_)) || !upload.asks_h2c || !upload.framing.is_done() {
            return None;
        }
        match record.operation {
            "Grpc" => {
                let (who, message) = (record.identity.clone(), self.message());
                Some(Speaks::Refused { who, message, rule: self.rule() })
            }
            "Session" => Some(Speaks::Waits),
            _ => None,
        }
    }

    /// What an operator has to know of it.
    fn log(&self, state: &ListenerState, client: &ClientConnection, record: &Record, status: u16) {
        match self {
            Refusal::AuthError(AuthError::Unavailable { name, why }) => {
                tracing::warn!(listener = %state.listener, auth = name, "cannot decide: {why}");
            }
            Refusal::AuthError(_) => {
                tracing::info!(listener = %state.listener, client = %client.name, "{self}");
            }
            _ if status >= 500 && record.verdict != Verdict::Allow => {
                tracing::warn!(listener = %state.listener, operation = record.operation, "{self}");
            }
            _ => {}
        }
    }

    /// Tells the client, and says what becomes of its connection.
    pub(super) async fn answer(
        self,
        state: &ListenerState,
        client: &mut ClientConnection,
        mut upload: Upload,
        record: &mut Record,
    ) -> AfterCall {
        if let Refusal::Left = &self {
            // nginx's number for it; a status that the client already saw stays.
            record.status = if record.status == 0 { 499 } else { record.status };
            return AfterCall::Close;
        }
        record.verdict = self.verdict();
        // Not the rule of a policy that audited before.
        record.rule = self.rule();
        if let Some(witness) = &state.witness {
            witness::refused(&**witness, &self, record);
        }
        if let Refusal::Http2 = &self {
            return AfterCall::Http2(Speaks::Preface);
        }
        if let Some(speaks) = self.in_http2(&upload, record) {
            return http2::give_in(client, record, AfterCall::Http2(speaks)).await;
        }
        let status = match &self {
            // It could say who it is in HTTP/1.1.
            Refusal::AuthError(_) if upload.is_http2 => Refusal::Http2.status(),
            _ => self.status(),
        };
        record.status = status;
        self.log(state, client, record, status);
        if upload.is_http2 {
            let why = match self {
                Refusal::AuthError(_) => Refusal::Http2,
                other => other,
            };
            return end_http2(client, &why.message()).await;
        }
        let wants = upload.wants;
        let may_keep = self.keeps_connection() && !wants.close && !state.drain.is_cancelled();
        let keep = may_keep && read_away(client, &mut upload).await;
        if !keep {
            // Nothing of it is read any more, and a client that does not read either holds none of our memory.
            client.buffer.clear();
        }
        let wants = Wants { close: !keep, ..wants };
        let answer =
            render(status, &self.body(), &self.lines(state), record.method == "HEAD", wants);
        record.bytes_sent += answer.len() as u64;
        let written = client.stream.split().1.write_all(&answer).await;
        if keep && written.is_ok() && !state.drain.is_cancelled() {
            return AfterCall::Again;
        }
        AfterCall::Linger
    }
}

/// A connection in HTTP/2 that goes nowhere: its client is told in the one frame that it shows.
async fn end_http2(client: &mut ClientConnection, why: &str) -> AfterCall {
    client.buffer.clear();
    let _ = client.stream.split().1.write_all(&http2::goaway(why)).await;
    AfterCall::Linger
}

/// Reads the rest of a small body away; false when that is not possible without waiting for more
/// than Go would.
async fn read_away(client: &mut ClientConnection, upload: &mut Upload) -> bool {
    let small = match &upload.framing {
        Framing::None => return true,
        Framing::Length { left } => *left <= MOST_DISCARDED as u64,
        Framing::Chunked(_) | Framing::UntilClose { .. } => upload.framing.is_done(),
    };
    if !small || upload.waits {
        return false;
    }
    let (reader, _) = client.stream.split();
    let mut inbox = Inbox { reader, buffer: &mut client.buffer };
    let read = discard(&mut inbox, &mut upload.framing, MOST_DISCARDED);
    let patience = std::time::Duration::from_secs(2);
    matches!(tokio::time::timeout(patience, read).await, Ok(Ok(true)))
}

/// A message in the engine's own shape.
fn said(message: &str) -> String {
    serde_json::json!({ "message": message }).to_string() + "\n"
}

fn render(
    status: u16,
    body: &str,
    lines: &[(&'static str, String)],
    to_head: bool,
    wants: Wants,
) -> Vec<u8> {
    // As Go's server does: its own version for all but those that know only the old one.
    let (http, reason) = (wants.http.min(1), reason_phrase(status));
    let mut out = format!("HTTP/1.{http} {status} {reason}\r\n").into_bytes();
    // These have neither a body nor a length of one (RFC 9110 §8.6).
    let body = if matches!(status, 204 | 304) { "" } else { body };
    if !body.is_empty() {
        put_line(&mut out, "Content-Type", b"application/json");
    }
    if !matches!(status, 204 | 304) {
        put_line(&mut out, "Content-Length", body.len().to_string().as_bytes());
    }
    for (name, value) in lines {
        put_line(&mut out, name, value.as_bytes());
    }
    match wants {
        Wants { close: true, .. } => put_line(&mut out, "Connection", b"close"),
        Wants { http: 0, .. } => put_line(&mut out, "Connection", b"keep-alive"),
        Wants { .. } => {}
    }
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Error",
    }
}

/// The answer to a connection too many, written before anything was read.
pub(super) fn too_many_connections(listener: &str) -> Vec<u8> {
    let message = format!("dockgate: too many connections on listener `{listener}`");
    render(503, &said(&message), &[], false, Wants::default())
}

/// The answer in plain HTTP on a port for TLS, with the words of Go's server.
pub(super) fn plain_http() -> Vec<u8> {
    let message = "dockgate: client sent an HTTP request to an HTTPS server. hint: set \
                   `DOCKER_TLS_VERIFY=1`";
    render(400, &said(message), &[], false, Wants::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_policy_has_answered_is_what_a_client_without_json_is_told() {
        let answered = |json| Refusal::Answered(Reply { status: 404, json }).message();
        let json = serde_json::json!({ "message": "No such image: x" });
        assert_eq!(answered(Some(json)), "No such image: x");
        assert_eq!(answered(None), "dockgate: a policy has answered");
    }
}
