//! One request, parsed: `Call`. Made only here.
//!
//! `gateway` makes a `Draft` of a request's head, reads the body that the draft says it has, and
//! gets a `Call`. What must stay true: with a policy active, the line, the query, the headers and
//! the JSON that leave are written by `render` from what was parsed; bytes of the client's own are
//! only ever sent by a `Verbatim` call, whose listener has no policies.

mod draft;
mod render;
mod strangers;
mod watching;

use super::doc::{self, Doc, Value};
use super::endpoint::{AnswerKind, BodyKind, Class, Method, Minor, Row};
use super::path;
use super::query::Query;
use super::route;
use super::shape::Kind;
use super::table::Endpoint;
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

pub use draft::{BadCall, Draft, Wanted, grpc, grpc_from_json};

#[derive(Debug)]
pub enum Call {
    Verbatim(Verbatim),
    Typed(Typed),
    /// A connection in HTTP/2 with prior knowledge (RFC 9113 §3.3), whose requests nobody looks into.
    Http2,
}

/// A request as it came, for a listener without policies.
#[derive(Debug)]
pub struct Verbatim {
    head: RequestHead,
    row: Option<&'static Row>,
}

/// A request that policies can read and change.
#[derive(Clone, Debug)]
pub struct Typed {
    row: &'static Row,
    http: u8,
    version: Option<Minor>,
    names: Vec<String>,
    /// As the client has written them.
    asked_names: Vec<String>,
    query: Query,
    headers: Vec<(&'static str, Vec<u8>)>,
    /// The client asked to take the connection over; dockerd looks for the header, not its value.
    upgrade: bool,
    closes: bool,
    strangers: Vec<String>,
    /// What policies have noted for when the answer comes.
    notes: Vec<(&'static str, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Json(Doc),
    /// Bytes that follow the head as they come; their framing was checked by the strict rules.
    Stream(Framing),
    /// Of a build, the context that is looked into: it is sent on unpacked, and in chunks where HTTP has them.
    Context(Framing),
}
impl Call {
    pub fn verbatim(head: RequestHead) -> Call {
        let path = path::recognise(head.target());
        let row = route::find(head.method(), &path).map(|found| found.row);
        Call::Verbatim(Verbatim { head, row })
    }

    pub fn row(&self) -> Option<&'static Row> {
        match self {
            Call::Verbatim(call) => call.row,
            Call::Typed(call) => Some(call.row),
            Call::Http2 => None,
        }
    }

    /// The request target as the client wrote it; empty where it was parsed.
    pub fn target(&self) -> &[u8] {
        match self {
            Call::Verbatim(call) => call.head.target(),
            Call::Typed(_) | Call::Http2 => b"",
        }
    }

    /// Whether a body must be read away before the call is sent.
    pub fn drops_body(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.drops_body(),
            Call::Typed(_) | Call::Http2 => false,
        }
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.head.headers.lists("expect", "100-continue"),
            Call::Typed(_) | Call::Http2 => false,
        }
    }

    /// Whether the client wants its connection closed behind this call.
    pub fn closes(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.head.closes(),
            Call::Typed(call) => call.closes,
            Call::Http2 => true,
        }
    }

    /// Whether it only looks on, for as long as it is let: events, logs that follow, statistics.
    pub fn watches(&self) -> bool {
        watching::watches(self)
    }

    /// The minor version of HTTP that the client speaks: 0 or 1.
    pub fn http(&self) -> u8 {
        match self {
            Call::Verbatim(call) => call.head.version,
            Call::Typed(call) => call.http,
            Call::Http2 => 1,
        }
    }

    /// Whether the engine may answer by taking the connection over.
    pub fn may_hijack(&self) -> bool {
        let answer = self.row().map(|row| row.answer);
        matches!(
            answer,
            Some(AnswerKind::HijackTcp | AnswerKind::HijackH2c | AnswerKind::WebSocket)
        )
    }

    pub fn is_head(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.head.method() == "HEAD",
            Call::Typed(call) => call.row.method == Method::Head,
            Call::Http2 => false,
        }
    }

    /// The head, and the body where it is JSON, as the engine gets them.
    pub fn render(&self) -> Vec<u8> {
        match self {
            Call::Verbatim(call) => call.render(),
            Call::Typed(call) => call.render(),
            Call::Http2 => Vec::new(),
        }
    }
}
impl Verbatim {
    /// dockerd throws away what arrives behind the head of an attach before it takes the connection
    /// over, but only what arrived already: a body sent on later would become stdin (dockerode posts
    /// one). It is read away by the gateway, and not announced.
    pub fn drops_body(&self) -> bool {
        let endpoint = self.row.map(|row| row.endpoint);
        matches!(endpoint, Some(Endpoint::ContainerAttach | Endpoint::ContainerAttachWebsocket))
    }
}

impl Typed {
    /// Whether its body is a build's context that is looked into, and unpacked, on its way.
    pub fn has_open_context(&self) -> bool {
        matches!(self.body, Body::Context(_))
    }

    /// Whether a context that is looked into goes on in chunks: nobody knows how long it is unpacked. HTTP/1.0 has none.
    pub fn sends_chunks(&self) -> bool {
        self.http > 0 && matches!(&self.body, Body::Context(framing) if !framing.is_done())
    }

    /// The body is a build's context, and is to be looked into.
    pub(crate) fn open_context(&mut self) {
        if let Body::Stream(framing) = &self.body {
            self.body = Body::Context(framing.clone());
        }
    }

    pub fn row(&self) -> &'static Row {
        self.row
    }

    pub fn endpoint(&self) -> Endpoint {
        self.row.endpoint
    }

    pub fn class(&self) -> Class {
        self.row.class
    }

    /// The API version that the client asked for, and then the one that the engine is asked by.
    pub fn version(&self) -> Option<Minor> {
        self.version
    }

    pub fn pin_version(&mut self, minor: Minor) {
        self.version = Some(minor);
    }

    /// Asks by this version at least. What the client's own version does not have is left out, for an engine
    /// that is asked by that version does not read it either.
    pub fn raise_version(&mut self, least: Minor) {
        let Some(asked) = self.version.filter(|asked| *asked < least) else { return };
        self.version = Some(least);
        let row = self.row;
        self.query.retain(|name, _| {
            !row.query.iter().any(|param| param.name == name && param.since > asked)
        });
        if let (Some(kind), Body::Json(doc)) = (self.kind(), &mut self.body) {
            doc::drop_newer(&mut doc.root, &kind, asked);
        }
    }

    /// What the path names, in order, decoded.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What stands in the path now, and what the client has written there.
    pub fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        let both = self.names.iter().zip(&self.asked_names);
        both.map(|(name, asked)| (name.as_str(), asked.as_str()))
            .filter(|(name, asked)| name != asked)
    }

    /// Puts another name in the place of one that the path holds.
    pub fn set_name(&mut self, index: usize, name: String) {
        if let Some(old) = self.names.get_mut(index) {
            *old = name;
        }
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    /// What a policy has noted beside the call.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(other, _)| *other == name).map(|(_, text)| text.as_str())
    }

    /// All that was noted by one name.
    pub fn notes<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n str> {
        self.notes.iter().filter(move |(other, _)| *other == name).map(|(_, text)| text.as_str())
    }

    pub fn add_note(&mut self, name: &'static str, text: String) {
        self.notes.push((name, text));
    }

    pub fn query_mut(&mut self) -> &mut Query {
        &mut self.query
    }

    /// Headers that the engine reads, in the order in which they came.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_slice()))
    }

    pub fn doc(&self) -> Option<&Doc> {
        match &self.body {
            Body::Json(doc) => Some(doc),
            Body::None | Body::Stream(_) | Body::Context(_) => None,
        }
    }

    /// The JSON body that this route has, as its kind; none where it has another body or none.
    pub fn kind(&self) -> Option<Kind> {
        match self.row.body {
            BodyKind::Json(object) => Some(Kind::Object(object)),
            BodyKind::JsonList(kind) => Some(*kind),
            BodyKind::Message(shape) => Some(Kind::Object(shape)),
            BodyKind::None | BodyKind::Tar | BodyKind::Raw => None,
        }
    }

    /// The JSON body, made where the route has one and the client sent none.
    pub fn body_mut(&mut self) -> Option<&mut Value> {
        if self.kind().is_some() && matches!(self.body, Body::None) {
            self.body = Body::Json(Doc { root: Value::Null, unknown: Vec::new() });
        }
        match &mut self.body {
            Body::Json(doc) => Some(&mut doc.root),
            Body::None | Body::Stream(_) | Body::Context(_) => None,
        }
    }

    /// Sets or removes a header that the engine reads on this route; others are never sent.
    pub fn set_header(&mut self, name: &'static str, value: Option<Vec<u8>>) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        let known = self.row.headers.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        if let Some((known, value)) = known.zip(value) {
            self.headers.push((known.name, value));
        }
    }
}
