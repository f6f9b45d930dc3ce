//! From a request's head and body to a `Call`, by the strict rules that hold while a policy is active.
//!
//! `gateway::request` drives it: head, then the body that the draft wants, then the call. What must
//! stay true: whatever dockerd could read in two ways is refused, and what no engine reads is
//! dropped or, where a newer one might read it, refused.

use super::super::doc::{self, BadDoc};
use super::super::endpoint::{BodyKind, Header, Row, h};
use super::super::path::{self, BadTarget};
use super::super::query::{BadQuery, Query};
use super::super::route;
use super::super::table::{Endpoint, TABLE};
use super::{Body, Call, Typed};
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

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
        let strangers = keep_known(&mut query, row);
        query.keep_first(|name| row.query.iter().any(|param| param.name == name && param.many));
        query.rewrite_json(|name| row.query.iter().find(|param| param.name == name)?.json)?;
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
            asked_names: found.names.clone(),
            names: found.names,
            query,
            headers: keep_headers(head, row)?,
            upgrade: head.headers.has("upgrade"),
            closes: head.closes(),
            strangers,
            notes: Vec::new(),
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
            BodyKind::Json(_) | BodyKind::JsonList(_) | BodyKind::Message(_) => Wanted::Json,
            BodyKind::Tar | BodyKind::Raw => Wanted::Stream,
        }
    }

    pub fn row(&self) -> &'static Row {
        self.0.row
    }

    /// Completes a call whose body was read whole, and may have so many JSON values.
    pub fn with_json(
        mut self,
        head: &RequestHead,
        body: &[u8],
        most_values: usize,
    ) -> Result<Call, BadCall> {
        let Some(kind) = self.0.kind() else {
            return match self.0.row.endpoint {
                // Engines before 1.24's time take it as a HostConfig; all later ones say this.
                Endpoint::ContainerStart if body.len() > 7 => Err(BadCall::StartWithBody),
                _ => Ok(Call::Typed(self.0)),
            };
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
        self.0.body = Body::Json(doc::parse_within(most_values, body, &kind)?);
        Ok(Call::Typed(self.0))
    }

    /// Completes a call whose body follows the head.
    pub fn with_stream(mut self, framing: Framing) -> Call {
        self.0.body = Body::Stream(framing);
        Call::Typed(self.0)
    }
}
/// A call of a gRPC method, with its message read and its metadata as the table names it.
pub fn grpc(
    row: &'static Row,
    metadata: &http::HeaderMap,
    message: &[u8],
    most_values: usize,
) -> Result<Call, BadCall> {
    let mut headers = Vec::new();
    for known in row.headers {
        let mut values = metadata.get_all(known.name).iter();
        headers.extend(values.next().map(|value| (known.name, value.as_bytes().to_vec())));
        match (known.many, values.next()) {
            (false, Some(_)) => return Err(BadCall::HeaderTwice(known.name.to_owned())),
            (true, Some(second)) => {
                headers.push((known.name, second.as_bytes().to_vec()));
                headers.extend(values.map(|value| (known.name, value.as_bytes().to_vec())));
            }
            (_, None) => {}
        }
    }
    let body = match row.body {
        BodyKind::Message(shape) => Body::Json(doc::proto::parse(most_values, message, shape)?),
        BodyKind::None
        | BodyKind::Json(_)
        | BodyKind::JsonList(_)
        | BodyKind::Tar
        | BodyKind::Raw => Body::None,
    };
    Ok(Call::Typed(Typed {
        row,
        http: 1,
        version: None,
        names: Vec::new(),
        asked_names: Vec::new(),
        query: Query::default(),
        headers,
        upgrade: false,
        closes: false,
        strangers: Vec::new(),
        notes: Vec::new(),
        body,
    }))
}

/// The same of a message that somebody has written down as JSON, without metadata.
pub fn grpc_from_json(row: &'static Row, json: &[u8], most_values: usize) -> Result<Call, BadCall> {
    let call = grpc(row, &http::HeaderMap::new(), &[], most_values)?;
    match (call, row.body) {
        (Call::Typed(mut typed), BodyKind::Message(shape)) if !json.is_empty() => {
            let doc = doc::parse_within(most_values, json, &super::Kind::Object(shape))?;
            typed.body = Body::Json(doc);
            Ok(Call::Typed(typed))
        }
        (call, _) => Ok(call),
    }
}

/// dockerode repeats the options of a call, body and all, in the query; dockerd reads none of it.
fn repeats_body(row: &Row, name: &str) -> bool {
    let BodyKind::Json(object) = row.body else { return false };
    let is_param = row.query.iter().any(|param| param.name == name);
    !is_param && object.iter().any(|field| field.name == name)
}

/// Drops what no engine reads; returns the names that are unknown and carry a value.
fn keep_known(query: &mut Query, row: &Row) -> Vec<String> {
    let mut strangers = Vec::new();
    query.retain(|name, value| {
        if let Some(param) = row.query.iter().find(|param| param.name == name) {
            return !param.ignored;
        }
        if !repeats_body(row, name) && !matches!(value, "" | "0" | "false" | "False") {
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
