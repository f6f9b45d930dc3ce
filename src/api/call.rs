//! One request, parsed: `Call`. Made only here.
//!
//! `gateway` makes a `Draft` of a request's head, reads the body that the draft says it has, and
//! gets a `Call`. What must stay true: with a policy active, the line, the query, the headers and
//! the JSON that leave are written by `render` from what was parsed; bytes of the client's own are
//! only ever sent by a `Verbatim` call, whose listener has no policies.

use super::doc::{self, BadDoc, Doc};
use super::endpoint::{AnswerKind, BodyKind, Class, Header, Method, Minor, Row, h};
use super::path::{self, BadTarget};
use super::query::{BadQuery, Query};
use super::route;
use super::shape::Kind;
use super::table::{Endpoint, TABLE};
use crate::wire::framing::Framing;
use crate::wire::head::{RequestHead, put_line};

#[derive(Debug)]
pub enum Call {
    Verbatim(Verbatim),
    Typed(Typed),
}

/// A request as it came, for a listener without policies.
#[derive(Debug)]
pub struct Verbatim {
    head: RequestHead,
    row: Option<&'static Row>,
}

/// A request that policies can read and change.
#[derive(Debug)]
pub struct Typed {
    row: &'static Row,
    http: u8,
    version: Option<Minor>,
    names: Vec<String>,
    query: Query,
    headers: Vec<(&'static str, Vec<u8>)>,
    /// The client asked to take the connection over; dockerd looks for the header, not its value.
    upgrade: bool,
    closes: bool,
    strangers: Vec<String>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    None,
    Json(Doc),
    /// Bytes that follow the head as they come; their framing was checked by the strict rules.
    Stream(Framing),
}

/// A request whose body has not been read yet.
#[derive(Debug)]
pub struct Draft(Typed);

/// What is to be done with the body of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Read it whole and give it to `with_json`.
    Json,
    /// Let it follow the head: `with_stream`.
    Stream,
    /// dockerd reads none here. Read it away (it must not become stdin), then `with_json` with it.
    Nothing,
}

#[derive(Debug, thiserror::Error)]
pub enum BadCall {
    #[error(transparent)]
    Target(#[from] BadTarget),
    #[error(transparent)]
    Query(#[from] BadQuery),
    #[error(transparent)]
    Doc(#[from] BadDoc),
    #[error("page not found (no `{method} {path}` in the Engine API that dockgate knows)")]
    NoSuchEndpoint { method: String, path: String },
    #[error("header `{0}` is given twice")]
    HeaderTwice(String),
    #[error("unknown header `{0}`")]
    UnknownHeader(String),
    #[error("unsupported `Content-Type` {0:?}: must be `application/json`")]
    ContentType(String),
    #[error("form-encoded bodies are refused: dockerd would read them before the query")]
    Form,
    #[error(
        "starting container with non-empty request body was deprecated since API v1.22 and \
         removed in v1.24"
    )]
    StartWithBody,
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
        }
    }

    /// The request target as the client wrote it; empty where it was parsed.
    pub fn target(&self) -> &[u8] {
        match self {
            Call::Verbatim(call) => call.head.target(),
            Call::Typed(_) => b"",
        }
    }

    /// Whether a body must be read away before the call is sent.
    pub fn drops_body(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.drops_body(),
            Call::Typed(_) => false,
        }
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        match self {
            Call::Verbatim(call) => call.head.headers.lists("expect", "100-continue"),
            Call::Typed(_) => false,
        }
    }

    /// Whether the client wants its connection closed behind this call.
    pub fn closes(&self) -> bool {
        match self {
            Call::Verbatim(call) => closes(&call.head),
            Call::Typed(call) => call.closes,
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
        }
    }

    /// The head, and the body where it is JSON, as the engine gets them.
    pub fn render(&self) -> Vec<u8> {
        match self {
            Call::Verbatim(call) => call.render(),
            Call::Typed(call) => call.render(),
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

    /// Hop-by-hop headers (RFC 9110 §7.6.1) are ours to set; everything else is the client's.
    fn render(&self) -> Vec<u8> {
        let headers = &self.head.headers;
        let mut out = Vec::with_capacity(512);
        put_request_line(&mut out, self.head.method(), self.head.target(), self.head.version);
        let drops_body = self.drops_body();
        for (name, value) in headers.iter() {
            let is_hop = is_any_of(name, &["connection", "keep-alive", "proxy-connection", "te"]);
            let is_framing = is_any_of(name, &["content-length", "transfer-encoding"]);
            let is_kept = is_framing || is_any_of(name, &["host", "upgrade"]);
            let is_nominated =
                !is_kept && headers.tokens("connection").any(|t| t.eq_ignore_ascii_case(name));
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

impl Draft {
    /// Parses a request's head by the strict rules.
    pub fn parse(head: &RequestHead) -> Result<Draft, BadCall> {
        let target = path::parse(head.target())?;
        let mut query = Query::parse(target.query)?;
        let found =
            route::find(head.method(), &target.path).ok_or_else(|| BadCall::NoSuchEndpoint {
                method: head.method().to_owned(),
                path: target.path.clone().into_owned(),
            })?;
        let row = found.row;
        query.refuse_repeats(row.query)?;
        let strangers = keep_known(&mut query, row);
        refuse_second(head, "content-type")?;
        refuse_second(head, "host")?;
        refuse_second(head, "upgrade")?;
        if media_type(head).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(BadCall::Form);
        }
        let typed = Typed {
            row,
            http: head.version,
            version: target.version,
            names: found.names,
            query,
            headers: keep_headers(head, row)?,
            upgrade: head.headers.has("upgrade"),
            closes: closes(head),
            strangers,
            body: Body::None,
        };
        Ok(Draft(typed))
    }

    pub fn wanted(&self) -> Wanted {
        match self.0.row.body {
            // dockerode posts its options as JSON with a pull, where dockerd reads no body.
            BodyKind::Tar
                if self.0.row.endpoint == Endpoint::ImageCreate
                    && self.0.query.get("fromSrc") != Some("-") =>
            {
                Wanted::Nothing
            }
            BodyKind::None => Wanted::Nothing,
            BodyKind::Json(_) | BodyKind::JsonList(_) => Wanted::Json,
            BodyKind::Tar | BodyKind::Raw => Wanted::Stream,
        }
    }

    pub fn row(&self) -> &'static Row {
        self.0.row
    }

    /// Completes a call whose body was read whole.
    pub fn with_json(mut self, head: &RequestHead, body: &[u8]) -> Result<Call, BadCall> {
        let kind = match self.0.row.body {
            BodyKind::Json(object) => Kind::Object(object),
            BodyKind::JsonList(kind) => *kind,
            BodyKind::None | BodyKind::Tar | BodyKind::Raw => {
                return match self.0.row.endpoint {
                    // Engines before 1.24's time take it as a HostConfig; all later ones say this.
                    Endpoint::ContainerStart if body.len() > 7 => Err(BadCall::StartWithBody),
                    _ => Ok(Call::Typed(self.0)),
                };
            }
        };
        if body.trim_ascii().is_empty() {
            return Ok(Call::Typed(self.0));
        }
        let media_type = media_type(head);
        // dockerd checks no type on `/auth`; everywhere else a body needs this one.
        if !media_type.eq_ignore_ascii_case("application/json")
            && self.0.row.endpoint != Endpoint::SystemAuth
        {
            return Err(BadCall::ContentType(media_type.into_owned()));
        }
        self.0.body = Body::Json(doc::parse(body, &kind)?);
        Ok(Call::Typed(self.0))
    }

    /// Completes a call whose body follows the head.
    pub fn with_stream(mut self, framing: Framing) -> Call {
        self.0.body = Body::Stream(framing);
        Call::Typed(self.0)
    }
}

impl Typed {
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

    /// What the path names, in order, decoded.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    pub fn doc(&self) -> Option<&Doc> {
        match &self.body {
            Body::Json(doc) => Some(doc),
            Body::None | Body::Stream(_) => None,
        }
    }

    /// Query parameters with a value that no engine in the tables reads; they are not sent.
    pub fn unknown_query(&self) -> &[String] {
        &self.strangers
    }

    fn render(&self) -> Vec<u8> {
        let mut target = String::with_capacity(128);
        if let Some(minor) = self.version {
            target.push_str("/v1.");
            target.push_str(itoa::Buffer::new().format(minor));
        }
        path::encode(&route::fill(self.row, &self.names), &mut target);
        self.query.render(&mut target);
        let mut out = Vec::with_capacity(512);
        put_request_line(&mut out, self.row.method.as_str(), target.as_bytes(), self.http);
        put_line(&mut out, "Host", b"docker");
        for (name, value) in &self.headers {
            put_line(&mut out, name, value);
        }
        if let (true, Some(protocol)) = (self.upgrade, self.protocol()) {
            put_line(&mut out, "Connection", b"Upgrade");
            put_line(&mut out, "Upgrade", protocol);
        }
        self.put_body(&mut out);
        out
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
            | AnswerKind::Text => None,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        let mut json = None;
        match &self.body {
            Body::Stream(Framing::Chunked(_)) => {
                put_line(out, "Transfer-Encoding", b"chunked");
            }
            Body::Stream(Framing::Length { left }) => {
                put_line(out, "Content-Length", itoa::Buffer::new().format(*left).as_bytes());
            }
            Body::Json(doc) => json = Some(doc.render()),
            Body::None | Body::Stream(_)
                if matches!(self.row.method, Method::Post | Method::Put) =>
            {
                put_line(out, "Content-Length", b"0");
            }
            Body::None | Body::Stream(_) => {}
        }
        if let (Body::Stream(_), BodyKind::Tar) = (&self.body, self.row.body) {
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

/// Drops what no engine reads; returns the names that are unknown and carry a value.
fn keep_known(query: &mut Query, row: &Row) -> Vec<String> {
    let body = match row.body {
        BodyKind::Json(object) => object,
        BodyKind::None | BodyKind::JsonList(_) | BodyKind::Tar | BodyKind::Raw => &[],
    };
    let mut strangers = Vec::new();
    query.retain(|name, value| {
        if let Some(param) = row.query.iter().find(|param| param.name == name) {
            return !param.ignored;
        }
        // dockerode repeats the options of a call, body and all, in the query; dockerd reads none.
        let repeats_body = body.iter().any(|field| field.name == name);
        if !repeats_body && !matches!(value, "" | "0" | "false" | "False") {
            strangers.push(name.to_owned());
        }
        false
    });
    strangers
}

/// The headers that the engine reads on this route, and the agent for its own requests onwards.
fn keep_headers(head: &RequestHead, row: &Row) -> Result<Vec<(&'static str, Vec<u8>)>, BadCall> {
    let mut kept = Vec::new();
    for (name, value) in head.headers.iter() {
        let Some(known) = known_header(row, name) else {
            refuse_unknown(name)?;
            continue;
        };
        // Families (`x-meta-*`) are for a registry, not for the engine, and are not sent on.
        if known.name.ends_with('*') {
            continue;
        }
        if !known.many {
            refuse_second(head, known.name)?;
        }
        kept.push((known.name, value.to_vec()));
    }
    Ok(kept)
}

fn known_header(row: &Row, name: &[u8]) -> Option<&'static Header> {
    const AGENT: &Header = &h("User-Agent");
    let agent = is_header(AGENT.name, name).then_some(AGENT);
    agent.or_else(|| row.headers.iter().find(|known| is_header(known.name, name)))
}

/// A header of Docker's own families that no route of the tables reads may mean something to the
/// next engine. All others mean nothing to any engine, and are not sent.
fn refuse_unknown(name: &[u8]) -> Result<(), BadCall> {
    let is_dockers = is_header("x-registry-*", name) || is_header("x-docker-*", name);
    if is_dockers && !TABLE.iter().any(|row| known_header(row, name).is_some()) {
        return Err(BadCall::UnknownHeader(String::from_utf8_lossy(name).into_owned()));
    }
    Ok(())
}

fn is_header(known: &str, name: &[u8]) -> bool {
    match known.strip_suffix('*') {
        Some(family) => name
            .get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes())),
        None => known.as_bytes().eq_ignore_ascii_case(name),
    }
}

fn refuse_second(head: &RequestHead, name: &str) -> Result<(), BadCall> {
    match head.headers.all(name).nth(1) {
        Some(_) => Err(BadCall::HeaderTwice(name.to_owned())),
        None => Ok(()),
    }
}

/// The media type without its parameters.
fn media_type(head: &RequestHead) -> std::borrow::Cow<'_, str> {
    let value = head.headers.get("content-type").unwrap_or_default();
    let bare = value.split(|b| *b == b';').next().unwrap_or_default();
    String::from_utf8_lossy(bare.trim_ascii())
}

/// HTTP/1.0 closes unless it says otherwise; whether the engine agrees shows in its answer.
fn closes(head: &RequestHead) -> bool {
    match head.version {
        1 => head.headers.lists("connection", "close"),
        _ => !head.headers.lists("connection", "keep-alive"),
    }
}

fn is_any_of(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

fn put_request_line(out: &mut Vec<u8>, method: &str, target: &[u8], http: u8) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(if http == 0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
}
