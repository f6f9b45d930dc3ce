//! HTTP/2 without an upgrade: REST requests, calls of gRPC, and sessions that are such a call.
//!
//! `http2` serves a connection that begins with the preface with these, and `grpc` finds them. What must stay true: each
//! request says by itself who makes it; a REST request goes through the stages that it goes through in HTTP/1.1; towards
//! the engine there is an upgrade where it needs one, whichever way the client came.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;
use tokio::net::UnixStream;

use super::callbacks::OpenedSession;
use super::grpc;
use super::http2::{self, SESSION, io_of};
use super::refusal::Refusal;
use super::{ClientConnection, ListenerHandle, ListenerState, connection, decide, sessions};
use crate::api::endpoint::Versions;
use crate::api::{Call, Draft, Typed};
use crate::auth::{AuthError, Caller, Identity};
use crate::buildkit::message_io::{ByteStream, MessageIo};
use crate::buildkit::terminate::{H2Limits, H2Reply, Io, Rest, Upstream, is_grpc};
use crate::engine::Conn;
use crate::policy::Permitted;
use crate::telemetry::access::{Record, Verdict};
use crate::wire::framing::Framing;
use crate::wire::head::{Lines, RequestHead, ResponseHead, find_end, put_line};
use crate::wire::io::Stream;
use crate::wire::trail::Trail;

/// gRPC's own codes (`google.rpc.Code`).
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;
/// Of the engine's answer to an upgrade.
const LONGEST_HEAD: usize = 64 * 1024;

/// The engine's `/grpc`, opened when the first call needs it.
pub(super) struct OnDemand<'io> {
    pub(super) handle: Arc<ListenerHandle>,
    pub(super) asked: Arc<Asked>,
    /// Where the connection is kept, until there is one.
    pub(super) place: Option<&'io mut Option<Conn>>,
}

impl<'io> Upstream<'io> for OnDemand<'io> {
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a,
    {
        Box::pin(async move {
            let state = self.handle.state();
            let call = self.asked.permission.lock().unwrap_or_else(PoisonError::into_inner).take();
            let call = call.ok_or_else(|| unavailable("nobody has asked for it"))?;
            let opened = open(&state, call).await;
            let conn = opened.map_err(|refusal| unavailable(&refusal.message()))?;
            let place = self.place.take().ok_or_else(|| unavailable("the connection is gone"))?;
            Ok(io_of(place.insert(conn)))
        })
    }
}

/// A connection to the engine on which it speaks BuildKit's protocol.
pub(super) async fn open(state: &ListenerState, call: Permitted<Call>) -> Result<Conn, Refusal> {
    let versions = state.engine.versions(&Trail::default()).await?;
    if state.engine.takes_grpc(versions) {
        return Ok(state.engine.open_grpc(&call).await?);
    }
    let mut conn = state.engine.send(call, &Trail::default()).await?;
    let end = loop {
        if let Some(end) = find_end(conn.buffer.unread(), 0) {
            break end;
        }
        let (mut reader, _) = conn.stream.split();
        let filling = conn.buffer.fill(&mut reader, LONGEST_HEAD);
        match tokio::time::timeout(state.engine.patience(), filling).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) => return Err(Refusal::Answer("its head")),
            Ok(Err(error)) => return Err(state.engine.refused(&error).into()),
            Err(_) => return Err(state.engine.silent().into()),
        }
    };
    let head = conn.buffer.unread().get(..end).and_then(|head| ResponseHead::parse(head).ok());
    conn.buffer.consume(end);
    match head.is_some_and(|head| head.status == 101) {
        true => Ok(conn),
        false => Err(Refusal::Answer("`/grpc`, which it does not upgrade")),
    }
}

/// The call by which a connection is upgraded.
pub(super) fn upgrade(path: &str, lines: &[u8]) -> Result<Call, Refusal> {
    let mut head = format!("POST {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in [("Host", "docker"), ("Connection", "Upgrade"), ("Upgrade", "h2c")] {
        put_line(&mut head, name, value.as_bytes());
    }
    head.extend_from_slice(lines);
    head.extend_from_slice(b"\r\n");
    Ok(Draft::parse(&RequestHead::parse(&head)?)?.with_stream(Framing::None))
}

/// A session that came as a call of gRPC.
pub(super) struct NativeSession {
    pub(super) handle: Arc<ListenerHandle>,
    pub(super) name: Arc<str>,
    pub(super) identity: Identity,
    pub(super) metadata: HeaderMap,
    pub(super) record: Box<Record>,
}

impl ByteStream for NativeSession {
    fn run(mut self: Box<Self>, stream: MessageIo<'static>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let state = self.handle.state();
            let (identity, record) = (&self.identity, &mut *self.record);
            let opening = async {
                let call = upgrade("/session", &field_lines(&self.metadata))?;
                let call = decide(&state, call, identity, &Trail::default(), record).await?.call;
                let typed = match &*call {
                    Call::Typed(typed) => Some(Box::new(typed.clone())),
                    Call::Verbatim(_) | Call::Http2 => None,
                };
                let versions = state.engine.versions(&Trail::default()).await?;
                Ok((open(&state, call).await?, versions, typed))
            };
            let opened: Result<(Conn, Versions, Option<Box<Typed>>), Refusal> = opening.await;
            record.status = 200;
            let (mut engine, versions, call) = match opened {
                Ok(opened) => opened,
                Err(refusal) => {
                    let reply = grpc::turn_away(&refusal, record);
                    state.finish(record);
                    return stream.fail(&reply);
                }
            };
            state.finish(record);
            let metadata = call.as_deref().map(http2::metadata).unwrap_or_default();
            let limits = H2Limits::default();
            let io = io_of(&mut engine);
            let server: Io<'_> = match state.engine.takes_grpc(versions) {
                true => match MessageIo::call(io, SESSION, metadata, &limits).await {
                    Ok(session) => Box::new(session),
                    Err(reply) => return stream.fail(&reply),
                },
                false => io,
            };
            let opened = OpenedSession { identity: self.identity, engine: versions, call };
            drop(state);
            let ends: (Io<'_>, Io<'_>) = (server, Box::new(stream));
            sessions::serve(self.handle, self.name, opened, ends).await;
        })
    }
}

/// A REST request that came over HTTP/2, on its way through the stages of any other.
pub(super) struct RestCall {
    pub(super) handle: Arc<ListenerHandle>,
    pub(super) asked: Arc<Asked>,
}

impl Rest for RestCall {
    fn open(self: Box<Self>) -> BoxFuture<'static, Result<Io<'static>, H2Reply>> {
        let opened = self.pair().map_err(|error| H2Reply::Json {
            status: 503,
            message: format!("dockgate: no room for another request: {error}"),
            challenges: Vec::new(),
        });
        Box::pin(std::future::ready(opened))
    }
}

impl RestCall {
    fn pair(self) -> std::io::Result<Io<'static>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let (stream, theirs) = (Stream::new(ours.into())?, UnixStream::from_std(theirs)?);
        let (caller, trusted) = (self.asked.caller.again(), self.asked.trusted);
        let tasks = self.handle.tasks.clone();
        tasks.spawn(connection(self.handle, stream, caller, trusted, ()));
        Ok(Box::new(theirs))
    }
}

fn unavailable(why: &str) -> H2Reply {
    H2Reply::Grpc { code: UNAVAILABLE, message: why.to_owned() }
}

/// A client whose requests say who it is, one by one.
pub(super) struct Asked {
    caller: Caller,
    /// The generation of the state whose authorities have verified its certificate.
    trusted: u64,
    name: Arc<str>,
    /// To open the engine's `/grpc`, for whoever of them needs it first.
    permission: Mutex<Option<Permitted<Call>>>,
}

impl Asked {
    pub(super) fn new(client: &ClientConnection) -> Asked {
        let (caller, trusted) = (client.caller.clone(), client.trusted);
        let (name, permission) = (Arc::clone(&client.name), Mutex::new(None));
        Asked { caller, trusted, name, permission }
    }

    /// As if it had asked for `/grpc` first: whoever may not is told so.
    pub(super) async fn may_open(
        &self,
        state: &ListenerState,
        identity: &Identity,
        record: &mut Record,
    ) -> Result<(), Refusal> {
        let call = upgrade("/grpc", b"")?;
        let call = decide(state, call, identity, &Trail::default(), record).await?.call;
        *self.permission.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
        Ok(())
    }

    pub(super) async fn recognise(
        &self,
        state: &ListenerState,
        asked: &Parts,
        record: &mut Record,
    ) -> Result<Identity, H2Reply> {
        let trusts = || {
            let certificates = &self.caller.certificates;
            state.trust.as_ref().is_none_or(|trust| trust.still_trusts(certificates))
        };
        let known = match self.trusted == state.generation || trusts() {
            true => {
                state.authentication.recognise(&state.listener, &self.caller, &lines(asked)).await
            }
            false => Err(AuthError::Distrusted),
        };
        match &known {
            Ok(identity) => {
                if let Some(method) = identity.method() {
                    state.tally.authentication(method, "recognised");
                }
            }
            Err(error) => state.tally.authentication(error.by(), error.result()),
        }
        known.map_err(|error| {
            record.verdict = Verdict::Reject;
            self.turn_away(state, error, is_grpc(asked))
        })
    }

    fn turn_away(&self, state: &ListenerState, error: AuthError, is_grpc: bool) -> H2Reply {
        tracing::info!(listener = %state.listener, client = %self.name, "{error}");
        let is_unavailable = matches!(error, AuthError::Unavailable { .. });
        let refusal = Refusal::from(error);
        let (status, message) = (refusal.status(), refusal.message());
        match is_grpc {
            true => {
                let code = if is_unavailable { UNAVAILABLE } else { UNAUTHENTICATED };
                H2Reply::Grpc { code, message }
            }
            false => {
                let challenges =
                    if status == 401 { state.authentication.challenges() } else { &[] };
                H2Reply::Json { status, message, challenges: challenges.to_vec() }
            }
        }
    }
}

fn field_lines(fields: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in fields {
        put_line(&mut lines, name.as_str(), value.as_bytes());
    }
    lines
}

/// The headers as authenticators read them. Where they cannot be had in that form there is no credential.
fn lines(asked: &Parts) -> Lines {
    let mut head = b"POST / HTTP/1.1\r\n".to_vec();
    head.extend(field_lines(&asked.headers));
    head.extend_from_slice(b"\r\n");
    RequestHead::parse(&head).map(|head| head.headers).unwrap_or_default()
}
