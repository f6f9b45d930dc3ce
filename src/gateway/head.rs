//! The engine's answer head on its way to the client.
//!
//! Called by `answer`. What must stay true: every line goes on as it came; only what policies
//! changed, and the framing of a body that they rewrote, is written anew.

use crate::wire::head::{ResponseHead, put_line};

/// What the client is told of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub keeps: bool,
    /// The minor version in the answer's first line.
    pub http: u8,
}

/// The head as the engine wrote it; `close` adds that the connection ends.
pub(super) fn verbatim(head: &ResponseHead, close: bool) -> Vec<u8> {
    // HTTP/1.0 ends without a word, unless the engine has promised otherwise.
    let closes = match head.version {
        1 => close && !head.headers.lists("connection", "close"),
        _ => close && head.headers.lists("connection", "keep-alive"),
    };
    let mut out = write(head, |name| !closes || !is_connection(name));
    if closes {
        put_line(&mut out, "Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of an answer that policies have seen, with the body they left.
pub(super) fn rewritten(
    head: &ResponseHead,
    connection: Connection,
    api_version: Option<&str>,
    body: Option<&[u8]>,
) -> Vec<u8> {
    let is_framing = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    let is_replaced = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"api-version")
            || is_connection(name)
            || (body.is_some() && is_framing(name))
    };
    let mut out = write(head, |name| !is_replaced(name));
    match connection {
        Connection { keeps: false, .. } => put_line(&mut out, "Connection", b"close"),
        Connection { http: 0, .. } => put_line(&mut out, "Connection", b"keep-alive"),
        Connection { .. } => {}
    }
    if let Some(version) = api_version {
        put_line(&mut out, "Api-Version", version.as_bytes());
    }
    if let Some(body) = body {
        put_line(&mut out, "Content-Length", body.len().to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of a stream that policies see while it comes: its length is not known.
pub(super) fn streamed(head: &ResponseHead, connection: Connection, is_chunked: bool) -> Vec<u8> {
    let mut out = write(head, |name| {
        !name.eq_ignore_ascii_case(b"content-length")
            && !name.eq_ignore_ascii_case(b"transfer-encoding")
            && !is_connection(name)
    });
    if is_chunked {
        put_line(&mut out, "Transfer-Encoding", b"chunked");
    }
    if !connection.keeps {
        put_line(&mut out, "Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// What is said of one connection and not of the next (RFC 9110 §7.6.1).
fn is_connection(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive")
}

/// The status line and these lines; the empty one is still to come.
fn write(head: &ResponseHead, keeps: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(head.status_line());
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.headers.iter().filter(|(name, _)| keeps(name)) {
        put_line(&mut out, name, value);
    }
    out
}
