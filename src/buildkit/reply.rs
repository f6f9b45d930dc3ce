//! What we say ourselves to a request over HTTP/2, and how it is said.
//!
//! `call` and `refusing` answer with it (gRPC over HTTP/2, `PROTOCOL-HTTP2.md` of grpc: a response of trailers
//! only, or messages and trailers). What must stay true: a message is printable ASCII, escaped; who takes
//! nothing of what is said is not waited for without end.

use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::timeout;

use super::messages::framed;
use super::pump::send_all;

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum H2Reply {
    /// With this code, such as 7 for `PERMISSION_DENIED`.
    Grpc { code: u8, message: String },
    /// `OK`, with these messages of the method's own type.
    Messages(Vec<Bytes>),
    /// In the engine's own shape.
    Json { status: u16, message: String, challenges: Vec<String> },
}

impl H2Reply {
    pub(super) fn grpc(code: u8, message: impl Into<String>) -> H2Reply {
        H2Reply::Grpc { code, message: message.into() }
    }

    /// gRPC's code, where it is one.
    pub(super) fn code(&self) -> Option<u8> {
        match self {
            H2Reply::Grpc { code, .. } => Some(*code),
            H2Reply::Messages(_) => Some(0),
            H2Reply::Json { .. } => None,
        }
    }
}

/// Says it to a request that has heard nothing yet.
pub(super) async fn say(
    respond: &mut SendResponse<Bytes>,
    reply: H2Reply,
    to_head: bool,
    patience: Duration,
) {
    let (head, body, trailers) = render(reply);
    let body = if to_head { Vec::new() } else { body };
    let is_all = body.is_empty() && trailers.is_none();
    let Ok(mut stream) = respond.send_response(head, is_all) else { return };
    if is_all {
        return;
    }
    let saying = async {
        for piece in body {
            send_all(&mut stream, piece).await?;
        }
        match trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => stream.send_data(Bytes::new(), true),
        }
    };
    if !matches!(timeout(patience, saying).await, Ok(Ok(()))) {
        stream.send_reset(Reason::CANCEL);
    }
}

/// Ends with it what was answered in part.
pub(super) fn end(stream: &mut SendStream<Bytes>, reply: &H2Reply) {
    let sent = match reply {
        H2Reply::Grpc { code, message } => stream.send_trailers(status(*code, message)),
        H2Reply::Messages(_) | H2Reply::Json { .. } => Err(Reason::INTERNAL_ERROR.into()),
    };
    if sent.is_err() {
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

fn render(reply: H2Reply) -> (Response<()>, Vec<Bytes>, Option<HeaderMap>) {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    match reply {
        H2Reply::Grpc { code, message } => {
            *headers = status(code, &message);
            headers.insert(header::CONTENT_TYPE, GRPC);
            (response, Vec::new(), None)
        }
        H2Reply::Messages(messages) => {
            headers.insert(header::CONTENT_TYPE, GRPC);
            let messages = messages.iter().map(|message| framed(message)).collect();
            (response, messages, Some(status(0, "")))
        }
        H2Reply::Json { status, message, challenges } => {
            let body = serde_json::json!({ "message": message }).to_string() + "\n";
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CONTENT_LENGTH, body.len().into());
            for challenge in challenges {
                if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
            (response, vec![body.into()], None)
        }
    }
}

fn status(code: u8, message: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let message = utf8_percent_encode(message, MESSAGE).to_string();
    if let Ok(message) = HeaderValue::from_str(&message)
        && !message.is_empty()
    {
        fields.insert("grpc-message", message);
    }
    fields
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// All but printable ASCII, and the sign that says so.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_answer_is_one_of_trailers_only_with_its_message_escaped() {
        let (response, body, trailers) = render(H2Reply::grpc(7, "100 % „no“\n"));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "7");
        let message = &response.headers()["grpc-message"];
        assert_eq!(message, "100 %25 %E2%80%9Eno%E2%80%9C%0A");
        assert!(body.is_empty() && trailers.is_none());
    }

    #[test]
    fn messages_of_ours_end_with_ok() {
        let (response, body, trailers) = render(H2Reply::Messages(vec![Bytes::from_static(b"x")]));
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(body, ["\0\0\0\0\x01x"]);
        let trailers = trailers.unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers.get("grpc-message"), None);
    }
}
