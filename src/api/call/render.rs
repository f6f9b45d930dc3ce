//! A call as the engine gets it.
//!
//! `engine::Engine::send` writes what this gives. What must stay true: of a `Typed` call, nothing is
//! written but what was parsed; of a `Verbatim` one, everything but hop-by-hop headers.

use std::collections::HashSet;

use super::super::endpoint::{AnswerKind, BodyKind, Method};
use super::super::{doc, path, route};
use super::{Body, Typed, Verbatim};
use crate::wire::framing::Framing;
use crate::wire::head::put_line;
use crate::wire::trail;

impl Verbatim {
    /// Hop-by-hop headers (RFC 9110 §7.6.1) are ours to set; everything else is the client's.
    pub(super) fn render(&self) -> Vec<u8> {
        let headers = &self.head.headers;
        let mut out = Vec::with_capacity(512);
        put_request_line(&mut out, self.head.method(), self.head.target(), self.head.version);
        let drops_body = self.drops_body();
        let nominated: HashSet<Vec<u8>> =
            headers.tokens("connection").map(<[u8]>::to_ascii_lowercase).collect();
        for (name, value) in headers.iter() {
            let is_hop = is_any_of(
                name,
                &["connection", "keep-alive", "proxy-connection", "te", trail::HEADER],
            );
            let is_framing = is_any_of(name, &["content-length", "transfer-encoding"]);
            let is_kept = is_framing || is_any_of(name, &["host", "upgrade"]);
            let is_nominated = !is_kept && nominated.contains(&name.to_ascii_lowercase());
            if is_hop
                || is_nominated
                || (is_framing && drops_body)
                || (drops_body && is_any_of(name, &["expect"]))
            {
                continue;
            }
            put_line(&mut out, name, value);
        }
        if drops_body {
            put_line(&mut out, "Content-Length", b"0");
        }
        if headers.has("upgrade") {
            put_line(&mut out, "Connection", b"Upgrade");
        } else if headers.lists("connection", "close") {
            put_line(&mut out, "Connection", b"close");
        } else if self.head.version == 0 && headers.lists("connection", "keep-alive") {
            put_line(&mut out, "Connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

impl Typed {
    /// Path and query as the engine gets them.
    pub fn target(&self) -> String {
        let mut target = self.prefix();
        path::encode(&route::fill(self.row, &self.names), &mut target);
        self.query.render(&mut target);
        target
    }

    /// The path as the engine reads it: decoded, with the version.
    pub fn path(&self) -> String {
        self.prefix() + &route::fill(self.row, &self.names)
    }

    fn prefix(&self) -> String {
        let mut prefix = String::with_capacity(128);
        if let Some(minor) = self.version {
            prefix.push_str("/v1.");
            prefix.push_str(itoa::Buffer::new().format(minor));
        }
        prefix
    }

    /// The head, and the body where it is JSON, as the engine gets them.
    pub fn render(&self) -> Vec<u8> {
        let target = self.target();
        let mut out = Vec::with_capacity(512);
        put_request_line(&mut out, self.row.method.as_str(), target.as_bytes(), self.http);
        put_line(&mut out, "Host", b"docker");
        for (name, value) in &self.headers {
            put_line(&mut out, name, value);
        }
        if let (true, Some(protocol)) = (self.upgrade, self.protocol()) {
            put_line(&mut out, "Connection", b"Upgrade");
            put_line(&mut out, "Upgrade", protocol);
        } else if self.http == 0 && !self.closes {
            // Go's server keeps the connection of such a client if it is asked to.
            put_line(&mut out, "Connection", b"keep-alive");
        }
        self.put_body(&mut out);
        out
    }

    /// The message of a gRPC method as the engine gets it.
    pub fn message(&self) -> Option<Vec<u8>> {
        let BodyKind::Message(shape) = self.row.body else { return None };
        let root = self.doc().map(|doc| &doc.root);
        Some(root.map(|root| doc::proto::render(root, shape)).unwrap_or_default())
    }

    fn protocol(&self) -> Option<&'static [u8]> {
        match self.row.answer {
            AnswerKind::HijackTcp => Some(b"tcp"),
            AnswerKind::HijackH2c => Some(b"h2c"),
            AnswerKind::WebSocket => Some(b"websocket"),
            AnswerKind::None
            | AnswerKind::Json
            | AnswerKind::JsonStream
            | AnswerKind::RawStream
            | AnswerKind::Tar
            | AnswerKind::Grpc
            | AnswerKind::Text => None,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        let mut json = None;
        match &self.body {
            Body::Context(_) if self.sends_chunks() => {
                put_line(out, "Transfer-Encoding", b"chunked");
            }
            Body::Stream(Framing::Chunked(_)) => {
                put_line(out, "Transfer-Encoding", b"chunked");
            }
            Body::Stream(Framing::Length { left }) | Body::Context(Framing::Length { left }) => {
                put_line(out, "Content-Length", itoa::Buffer::new().format(*left).as_bytes());
            }
            Body::Json(doc) => json = Some(doc.render()),
            Body::None | Body::Stream(_) | Body::Context(_)
                if matches!(self.row.method, Method::Post | Method::Put) =>
            {
                put_line(out, "Content-Length", b"0");
            }
            Body::None | Body::Stream(_) | Body::Context(_) => {}
        }
        if let (Body::Stream(_) | Body::Context(_), BodyKind::Tar) = (&self.body, self.row.body) {
            put_line(out, "Content-Type", b"application/x-tar");
        }
        if let Some(json) = &json {
            put_line(out, "Content-Type", b"application/json");
            put_line(out, "Content-Length", itoa::Buffer::new().format(json.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(json.as_deref().unwrap_or_default());
    }
}

fn put_request_line(out: &mut Vec<u8>, method: &str, target: &[u8], http: u8) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(if http == 0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
}

fn is_any_of(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}
