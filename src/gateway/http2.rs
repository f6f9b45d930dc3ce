//! HTTP/2, where a policy is active: BuildKit's protocol behind an upgrade, or without one.
//!
//! `answer` turns connections over to it whose upgrade the engine has given in to, `refusal` those whose client may not
//! speak BuildKit's protocol, to hear so in it, and those that begin with the preface. What must stay true: on the latter
//! each request is authenticated by itself before it is told anything of the policies; each leaves a record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;

use super::callbacks::OpenedSession;
use super::grpc::{Calls, Who};
use super::native::{Asked, OnDemand};
use super::refusal::Refusal;
use super::{AfterCall, ClientConnection, ListenerHandle, ListenerState, sessions};
use crate::api::Typed;
use crate::auth::Identity;
use crate::buildkit::message_io::MessageIo;
use crate::buildkit::refusing::{self, Deciding, Refuse};
use crate::buildkit::terminate::{self, H2Limits, H2Reply, Io, OpenAlready, is_grpc};
use crate::engine::Conn;
use crate::telemetry::access::{Labels, Record, Verdict};
use crate::wire::io::HyperStream;
use crate::wire::trail::Trail;

/// gRPC's own codes (`google.rpc.Code`).
const PERMISSION_DENIED: u8 = 7;
/// How long either side may take nothing of what it is told.
const TAKES_NOTHING: Duration = Duration::from_secs(60);

/// What is served instead of HTTP/1.1 from here on.
pub(super) enum Speaks {
    /// The client asks, and may not.
    Refused { who: Option<Arc<Labels>>, message: String, rule: Option<String> },
    /// The client waits to be asked (`/session`), which never happens.
    Waits,
    /// The client has begun with the preface.
    Preface,
    /// The client asks (`/grpc`), and the engine is ready to answer.
    Grpc { identity: Identity, engine: Conn, trail: Trail },
    /// The engine asks (`/session`), and the client answers.
    Session { engine: Conn, opened: Box<OpenedSession> },
    /// The same, of an engine that has sessions as calls of gRPC.
    NativeSession { engine: Conn, opened: Box<OpenedSession>, metadata: HeaderMap },
}

/// Where a session is a call of gRPC.
pub(super) const SESSION: &str = "/moby.buildkit.v1.Control/Session";

/// Gives in to an upgrade that no engine has answered.
pub(super) async fn give_in(
    client: &mut ClientConnection,
    record: &mut Record,
    next: AfterCall,
) -> AfterCall {
    const SWITCHING: &[u8] =
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    if !matches!(next, AfterCall::Http2(_)) {
        return next;
    }
    record.status = 101;
    record.bytes_sent += SWITCHING.len() as u64;
    match client.stream.split().1.write_all(SWITCHING).await {
        Ok(()) => next,
        Err(_) => AfterCall::Linger,
    }
}

/// What a session says of itself, as fields of gRPC.
pub(super) fn metadata(call: &Typed) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in call.headers().filter(|(name, _)| name.starts_with("x-docker-")) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            fields.append(HeaderName::from_static(name), value);
        }
    }
    fields
}

/// An empty SETTINGS frame and GOAWAY with `HTTP_1_1_REQUIRED` (RFC 9113 §6.5, §6.8, §7).
pub(super) fn goaway(debug: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u32::try_from(8 + debug.len()).unwrap_or(8).to_be_bytes();
    out.extend(length.iter().skip(1));
    out.extend([7, 0, 0, 0, 0, 0]);
    out.extend([0, 0, 0, 0]);
    out.extend(13u32.to_be_bytes());
    out.extend(debug.bytes());
    out
}

/// Serves the rest of a connection.
pub(super) async fn serve(
    handle: Arc<ListenerHandle>,
    client: &mut ClientConnection,
    speaks: Speaks,
) {
    let drain = handle.drain().clone();
    match speaks {
        Speaks::Waits => return refusing::hold(&mut client.stream, &drain).await,
        Speaks::Refused { who, message, rule } => {
            let name = Arc::clone(&client.name);
            let refuse = Arc::new(Refusing { state: handle.state(), name, who, message, rule });
            let read = client.unread();
            refusing::serve(&mut client.stream, read, refuse, &drain).await;
        }
        Speaks::Grpc { identity, mut engine, trail } => {
            let (name, who) = (Arc::clone(&client.name), Who::Known(identity));
            let judge = Arc::new(Calls { handle, name, who, trail });
            let upstream = Box::new(OpenAlready(Some(io_of(&mut engine))));
            let limits =
                H2Limits { first_request: Some(refusing::PATIENCE), ..H2Limits::default() };
            terminate::serve(io_of_client(client), upstream, judge, &drain, limits).await;
        }
        Speaks::Session { mut engine, opened } => {
            let name = Arc::clone(&client.name);
            let ends = (io_of(&mut engine), io_of_client(client));
            sessions::serve(handle, name, *opened, ends).await;
        }
        Speaks::NativeSession { mut engine, opened, metadata } => {
            let name = Arc::clone(&client.name);
            let limits = H2Limits::default();
            let called = MessageIo::call(io_of(&mut engine), SESSION, metadata, &limits).await;
            if let Ok(session) = called {
                let ends: (Io<'_>, Io<'_>) = (Box::new(session), io_of_client(client));
                sessions::serve(handle, name, *opened, ends).await;
            }
        }
        Speaks::Preface => {
            let asked = Arc::new(Asked::new(client));
            let (name, trail) = (Arc::clone(&client.name), Trail::default());
            let mut place = None;
            let upstream = Box::new(OnDemand {
                handle: Arc::clone(&handle),
                asked: Arc::clone(&asked),
                place: Some(&mut place),
            });
            let judge = Arc::new(Calls { handle, name, who: Who::Asked(asked), trail });
            let limits = H2Limits {
                first_request: Some(refusing::PATIENCE),
                between_requests: Some(refusing::PATIENCE),
                ..H2Limits::default()
            };
            terminate::serve(io_of_client(client), upstream, judge, &drain, limits).await;
        }
    }
    client.stream.say_end();
}

pub(super) fn io_of(conn: &mut Conn) -> Io<'_> {
    let read = conn.buffer.unread().to_vec();
    conn.buffer.clear();
    Box::new(TokioIo::new(HyperStream::new(&mut conn.stream, read, TAKES_NOTHING)))
}

fn io_of_client(client: &mut ClientConnection) -> Io<'_> {
    let read = client.unread();
    Box::new(TokioIo::new(HyperStream::new(&mut client.stream, read, TAKES_NOTHING)))
}

impl ClientConnection {
    /// What was read of it already.
    fn unread(&mut self) -> Vec<u8> {
        let read = self.buffer.unread().to_vec();
        self.buffer.clear();
        read
    }
}

/// A client that hears of each of its requests that it may not.
struct Refusing {
    state: Arc<ListenerState>,
    name: Arc<str>,
    who: Option<Arc<Labels>>,
    message: String,
    rule: Option<String>,
}

impl Refuse for Refusing {
    fn decide<'a>(&'a self, asked: &'a Parts) -> Deciding<'a> {
        let state = &*self.state;
        let mut record = record_of(state, &self.name, asked);
        record.identity.clone_from(&self.who);
        let reply = match is_grpc(asked) {
            true => {
                record.verdict = Verdict::Deny;
                record.rule.clone_from(&self.rule);
                H2Reply::Grpc { code: PERMISSION_DENIED, message: self.message.clone() }
            }
            false => {
                record.verdict = Verdict::Reject;
                let message = format!("dockgate: {}", Refusal::Http2);
                H2Reply::Json { status: 505, message, challenges: Vec::new() }
            }
        };
        record.status = status_of(&reply);
        state.finish(&mut record);
        Box::pin(std::future::ready(reply))
    }
}

/// The record of one request, as far as its head goes.
pub(super) fn record_of(state: &ListenerState, client: &Arc<str>, asked: &Parts) -> Record {
    /// Of a path, in the log.
    const LONGEST_PATH: usize = 1024;
    let mut record = Record::new(Arc::clone(&state.listener), Arc::clone(client));
    record.started = Instant::now();
    record.method = asked.method.to_string();
    record.path = asked.uri.path().chars().take(LONGEST_PATH).collect();
    record.operation = if is_grpc(asked) { "Grpc" } else { "Http2" };
    record
}

/// Of the answer as HTTP has it.
pub(super) fn status_of(reply: &H2Reply) -> u16 {
    match reply {
        H2Reply::Grpc { .. } | H2Reply::Messages(_) => 200,
        H2Reply::Json { status, .. } => *status,
    }
}
