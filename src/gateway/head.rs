//! The engine's answer head on its way to the client.
//!
//! Called by `answer`. What must stay true: every line goes on as it came; only what policies
//! changed, and the framing of a body that they rewrote, is written anew.

use crate::wire::head::{ResponseHead, put_line};

/// The head as the engine wrote it; `close` adds that the connection ends.
pub(super) fn verbatim(head: &ResponseHead, close: bool) -> Vec<u8> {
    write(head, close, |_| true)
}

/// The head of an answer that policies have seen, with the body they left.
pub(super) fn rewritten(
    head: &ResponseHead,
    close: bool,
    api_version: Option<&str>,
    body: Option<&[u8]>,
) -> Vec<u8> {
    let is_framing = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    let is_replaced = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"api-version") || (body.is_some() && is_framing(name))
    };
    let mut out = write(head, close, |name| !is_replaced(name));
    out.truncate(out.len().saturating_sub(2));
    if let Some(version) = api_version {
        put_line(&mut out, "Api-Version", version.as_bytes());
    }
    if let Some(body) = body {
        put_line(&mut out, "Content-Length", body.len().to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn write(head: &ResponseHead, close: bool, keeps: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(head.status_line());
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.headers.iter().filter(|(name, _)| keeps(name)) {
        put_line(&mut out, name, value);
    }
    if close && !head.headers.lists("connection", "close") {
        put_line(&mut out, "Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}
