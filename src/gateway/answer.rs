//! Answer: the engine's answer, on its way to the client while it comes.
//!
//! Called by `gateway::call`, the last of the six. What must stay true: the engine's bytes go on as
//! they are, unless a policy rewrote them; a connection is used again only when both sides know
//! where the next message begins; an answer that breaks off breaks off for the client too.

use super::body::{BodyError, BodyQuota};
use super::callbacks::OpenedSession;
use super::entries::EntryFilter;
use super::exchange::{Both, both};
use super::files::{ArchiveOf, Files};
use super::head::Connection;
use super::http2::{self, Speaks};
use super::items::{ItemFilter, StreamEnd};
use super::refusal::Refusal;
use super::request::Upload;
use super::{AfterCall, ClientConnection, ListenerState, Sent, audit, deeds, facts, head};
use crate::api::endpoint::{AnswerKind, Row, Versions};
use crate::api::{Call, Endpoint, Typed, json};
use crate::auth::Identity;
use crate::engine::Engine;
use crate::policy::{Answer, Chain, Context, Facts, Finding, Permitted, Reads, Step};
use crate::telemetry::access::{Record, Verdict};
use crate::wire::buffer::Buffer;
use crate::wire::framing::Framing;
use crate::wire::head::{ResponseHead, find_end};
use crate::wire::io::Writer;
use crate::wire::pump::{Inbox, PumpError, pump};
use crate::wire::trail::Trail;

/// As large as Go lets a server's head be, by default.
const MOST_HEAD: usize = 1 << 20;
/// Of an error, which is a message.
const MOST_ERROR: usize = 1 << 20;
/// Of a JSON answer that a policy wants to see whole.
const MOST_JSON: usize = 64 << 20;

/// What must be known of a call when its answer comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    row: Option<&'static Row>,
    is_head: bool,
    may_hijack: bool,
    /// It would be answered for ever.
    watches: bool,
    /// The client announced that this is its last request.
    closes: bool,
    /// The minor version of HTTP that it speaks.
    http: u8,
    /// The engine sees the client's own `Expect`, so its interim answers are for the client.
    is_verbatim: bool,
    /// The connection is for HTTP/2, and nobody looks into it.
    is_http2: bool,
    /// What follows an upgrade is BuildKit's protocol, and policies look into it.
    pub(super) terminates: bool,
    /// The engine takes BuildKit's protocol without an upgrade, so that we give in to the client's.
    pub(super) is_native: bool,
    pub(super) reads_answer: Reads,
    /// Of the archive that the client sends.
    pub(super) reads_entries: bool,
    /// Of the archive that the engine sends policies change files.
    changes_files: bool,
    /// What the policies were told of the engine.
    engine: Versions,
}

impl Shape {
    pub(super) fn of(call: &Permitted<Call>, chain: &Chain, cx: &Context<'_>) -> Shape {
        let terminates =
            !chain.is_empty() && call.row().is_some_and(|row| row.answer == AnswerKind::HijackH2c);
        Shape {
            row: call.row(),
            is_head: call.is_head(),
            may_hijack: call.may_hijack(),
            watches: call.watches(),
            closes: call.closes(),
            http: call.http(),
            is_verbatim: matches!(**call, Call::Verbatim(_)),
            is_http2: matches!(**call, Call::Http2),
            terminates,
            is_native: terminates,
            reads_answer: chain.reads_answer(call, cx),
            reads_entries: chain.reads_entries(call, cx) || opens_context(call),
            changes_files: call
                .row()
                .is_some_and(|row| row.answer == AnswerKind::Tar && chain.reads_files(row)),
            engine: cx.engine,
        }
    }
}

/// Of a build, whose Dockerfile is looked for.
fn opens_context(call: &Call) -> bool {
    matches!(call, Call::Typed(typed) if typed.has_open_context())
}

/// How the engine's side of a call ended.
enum Ended {
    /// Everything was passed on; whether each connection can carry another call.
    Complete { client_keeps: bool, engine_keeps: bool },
    /// From here on the connection is the engine's.
    Hijacked,
    /// Broken off after the head had gone out: the client must see it break off too.
    Cut,
}

pub(super) async fn answer(
    state: &ListenerState,
    client: &mut ClientConnection,
    mut sent: Sent,
    mut upload: Upload,
    record: &mut Record,
) -> AfterCall {
    if sent.shape.is_http2 {
        record.status = 200;
        return AfterCall::Relay(sent.conn);
    }
    if sent.shape.is_native {
        return http2::give_in(client, record, in_http2(sent, &upload)).await;
    }
    let watches = sent.shape.watches;
    let outcome = tokio::select! {
        outcome = relay(state, client, &mut sent, &mut upload, record) => outcome,
        () = state.stopping.cancelled(), if watches => return AfterCall::Close,
    };
    let (ended, all_sent, client_ended) = match outcome {
        Ok(Both::Answered { answer: Ok(ended), sent, client_ended }) => (ended, sent, client_ended),
        // dockerd drops a call whose client has ended the connection, without a word.
        Ok(Both::Answered { answer: Err(Refusal::Away(_)), client_ended: true, .. }) => {
            return Refusal::Left.answer(state, client, upload, record).await;
        }
        Ok(Both::Answered { answer: Err(refusal), .. }) | Err(refusal) => {
            return Box::pin(refusal.answer(state, client, upload, record)).await;
        }
        Ok(Both::ClientGone) => return Refusal::Left.answer(state, client, upload, record).await,
        // The engine sees its request break off, and so does a client that already reads an answer.
        Ok(Both::Refused(refusal)) if record.status == 0 => {
            drop(sent);
            return Box::pin(refusal.answer(state, client, upload, record)).await;
        }
        Ok(Both::Refused(refusal)) => {
            (record.verdict, record.rule) = (refusal.verdict(), refusal.rule());
            return AfterCall::Close;
        }
    };
    match ended {
        Ended::Hijacked if sent.shape.terminates => in_http2(sent, &upload),
        Ended::Hijacked => {
            drop_lone_line_end(&mut client.buffer);
            AfterCall::Relay(sent.conn)
        }
        Ended::Complete { client_keeps, engine_keeps } => {
            if engine_keeps && all_sent && !client_ended {
                state.engine.keep(sent.conn);
            }
            if client_keeps && all_sent && !client_ended && !state.drain.is_cancelled() {
                return AfterCall::Again;
            }
            AfterCall::Linger
        }
        Ended::Cut => {
            (record.verdict, record.rule) = (Verdict::Fail, None);
            tracing::warn!(
                listener = %state.listener,
                operation = record.operation,
                "the engine broke its answer off"
            );
            AfterCall::Close
        }
    }
}

/// A connection that goes on as BuildKit's, unless a body stands behind the upgrade: it would be taken for the first of
/// the other protocol.
fn in_http2(sent: Sent, upload: &Upload) -> AfterCall {
    let Sent { conn: engine, identity, trail, shape, call, .. } = sent;
    if !upload.framing.is_done() {
        return AfterCall::Close;
    }
    AfterCall::Http2(match (shape.row.map(|row| row.endpoint), call) {
        (Some(Endpoint::Session), call) => {
            let metadata = call.as_deref().filter(|_| shape.is_native).map(http2::metadata);
            let opened = Box::new(OpenedSession { identity, engine: shape.engine, call });
            match metadata {
                Some(metadata) => Speaks::NativeSession { engine, opened, metadata },
                None => Speaks::Session { engine, opened },
            }
        }
        _ => Speaks::Grpc { identity, engine, trail },
    })
}

async fn relay(
    state: &ListenerState,
    client: &mut ClientConnection,
    sent: &mut Sent,
    upload: &mut Upload,
    record: &mut Record,
) -> Result<Both<Result<Ended, Refusal>>, Refusal> {
    let source = client.caller.peer.source();
    let (reader, mut to_client) = client.stream.split();
    let mut from_client = Inbox { reader, buffer: &mut client.buffer };
    let (reader, mut to_engine) = sent.conn.stream.split();
    let from_engine = Inbox { reader, buffer: &mut sent.conn.buffer };
    if upload.waits {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        to_client.write_all(interim).await.map_err(|_| Refusal::Left)?;
    }
    let Record { status, bytes_in, bytes_sent, .. } = record;
    let shape = sent.shape;
    let findings = Vec::new();
    let (identity, trail) = (&sent.identity, &sent.trail);
    let mut asked = AnswerContext { identity, trail, call: sent.call.as_deref(), findings };
    let mut outbound = Outbound { from_engine, to_client, status, bytes_sent };
    let answer = async {
        let head = outbound.head(&state.engine, shape).await?;
        let shape = Shape { closes: shape.closes || state.drain.is_cancelled(), ..shape };
        let is_error = head.status >= 400
            && !shape.is_head
            && head.headers.get("content-type").is_some_and(is_json);
        if shape.reads_answer == Reads::Status && !is_error {
            asked.judge(state, &head, shape, None, Vec::new()).await?;
        }
        if is_hijack(&head, shape) {
            outbound.write(&head::verbatim(&head, false)).await?;
            return Ok(Ended::Hijacked);
        }
        if shape.changes_files && head.status == 200 && !shape.is_head {
            return outbound.shown(state, &asked, &head, shape).await;
        }
        match shape.reads_answer {
            Reads::Whole => outbound.rewritten(state, &mut asked, &head, shape, MOST_JSON).await,
            Reads::Nothing => outbound.streamed(&head, shape).await,
            _ if is_error => outbound.rewritten(state, &mut asked, &head, shape, MOST_ERROR).await,
            Reads::Items => outbound.shown(state, &asked, &head, shape).await,
            Reads::Errors | Reads::Status => outbound.streamed(&head, shape).await,
        }
    };
    let may_hijack = shape.may_hijack;
    let filter = sent.call.as_deref().filter(|_| shape.reads_entries).map(|call| EntryFilter {
        state,
        identity,
        call,
        engine: shape.engine,
        trail,
        source,
    });
    let both = both(
        &mut from_client,
        &mut to_engine,
        upload,
        filter.as_ref(),
        may_hijack,
        bytes_in,
        answer,
    )
    .await;
    audit::note(record, asked.findings);
    Ok(both)
}

/// The engine took the connection over: by `101`, or, for a client that sent no `Upgrade`, by `200`
/// and a raw stream without a length (`hijackConnection` in moby's `container_routes.go`).
fn is_hijack(head: &ResponseHead, shape: Shape) -> bool {
    if head.status == 101 {
        return true;
    }
    let is_tcp = shape.row.is_some_and(|row| row.answer == AnswerKind::HijackTcp);
    let has_length = head.headers.has("content-length") || head.headers.has("transfer-encoding");
    is_tcp && head.status == 200 && !has_length
}

/// Jenkins' docker-plugin writes one line end behind its request's body. dockerd throws away what
/// its reader holds when it takes a connection over, so that this never becomes input.
fn drop_lone_line_end(buffer: &mut Buffer) {
    if matches!(buffer.unread(), b"\n" | b"\r\n") {
        buffer.clear();
    }
}

/// Whose answer it is, and to what.
struct AnswerContext<'a> {
    identity: &'a Identity,
    trail: &'a Trail,
    call: Option<&'a Typed>,
    /// Of policies that only audit, about the answer.
    findings: Vec<Finding>,
}

/// JSON or another body, and the API version, as the policies leave them.
type Judged = (Option<serde_json::Value>, Vec<u8>, Option<String>);

impl AnswerContext<'_> {
    fn wants(&self, state: &ListenerState, shape: Shape, body: &[u8]) -> bool {
        let facts = Facts::default();
        let cx = facts::context(state, self.identity, shape.engine, &facts);
        self.call.is_none_or(|call| state.chain.reads_body(call, body, &cx))
    }

    async fn judge(
        &mut self,
        state: &ListenerState,
        head: &ResponseHead,
        shape: Shape,
        json: Option<serde_json::Value>,
        text: Vec<u8>,
    ) -> Result<Judged, Refusal> {
        // A pass-through has no policies that could read an answer.
        let call = self.call.ok_or(Refusal::Answer("nobody reads it"))?;
        let version = head.headers.get("api-version");
        let api_version = version.map(|value| String::from_utf8_lossy(value).into_owned());
        let (status, headers) = (head.status, &head.headers);
        let mut answer = Answer { call, status, headers, api_version, json, text };
        let mut facts = Facts::default();
        let mut answering = state.chain.answer();
        loop {
            let cx = facts::context(state, self.identity, shape.engine, &facts);
            match answering.step(&mut answer, &cx) {
                Step::Done(()) => break,
                Step::Denied(reasons) => return Err(Refusal::Denied(reasons)),
                Step::Answered(_) => return Err(Refusal::Answer("a policy answers it")),
                Step::Ask(questions) => {
                    let trail = self.trail;
                    let who = self.identity;
                    facts::find_out(state, shape.engine, who, questions, trail, &mut facts).await?;
                }
                Step::Do(wanted) => {
                    let trail = self.trail;
                    // Slots are of calls, and this one has its own.
                    let none = &mut Vec::new();
                    let who = (self.identity, shape.engine);
                    deeds::carry_out(state, who, wanted, trail, &mut facts, none).await?;
                }
            }
        }
        self.findings.extend(answering.into_findings());
        Ok((answer.json, answer.text, answer.api_version))
    }
}

struct Outbound<'a> {
    from_engine: Inbox<'a>,
    to_client: Writer<'a>,
    status: &'a mut u16,
    bytes_sent: &'a mut u64,
}

impl Outbound<'_> {
    /// Waits for the answer's head, for as long as the engine is alive; passes interim answers on.
    async fn head(&mut self, engine: &Engine, shape: Shape) -> Result<ResponseHead, Refusal> {
        loop {
            let end = self.head_end(engine).await?;
            let bytes = self.from_engine.buffer.unread().get(..end).unwrap_or_default();
            let head = ResponseHead::parse(bytes).map_err(|_| Refusal::Answer("its head"))?;
            self.from_engine.buffer.consume(end);
            if head.status >= 200 || head.status == 101 {
                *self.status = head.status;
                return Ok(head);
            }
            if shape.is_verbatim {
                self.write(&head::verbatim(&head, false)).await?;
            }
        }
    }

    async fn head_end(&mut self, engine: &Engine) -> Result<usize, Refusal> {
        let mut seen = 0;
        loop {
            if let Some(end) = find_end(self.from_engine.buffer.unread(), seen) {
                return Ok(end);
            }
            seen = self.from_engine.buffer.len();
            let inbox = &mut self.from_engine;
            let filling = inbox.buffer.fill(&mut inbox.reader, MOST_HEAD);
            match tokio::time::timeout(engine.patience(), filling).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0)) => return Err(engine.refused(&NoAnswer).into()),
                Ok(Err(error)) => return Err(engine.refused(&error).into()),
                // Some calls take their time (`stop`, `commit`, `wait`): only an engine that does
                // not answer anybody is given up.
                Err(_) if engine.is_alive().await => {}
                Err(_) => return Err(engine.silent().into()),
            }
        }
    }

    /// Passes an answer on while it comes.
    async fn streamed(&mut self, head: &ResponseHead, shape: Shape) -> Result<Ended, Refusal> {
        let mut framing =
            Framing::of_response(head, shape.is_head).map_err(|_| Refusal::Answer("its length"))?;
        // The engine was told of the client's `close`, and may follow it without a word.
        let was_told = shape.is_verbatim && shape.closes;
        let engine_keeps =
            keeps(head) && !was_told && !matches!(framing, Framing::UntilClose { .. });
        let client_keeps = engine_keeps && !shape.closes;
        let mut first = head::verbatim(head, shape.closes);
        // What the engine wrote in one piece leaves in one: testcontainers for Node can end before a
        // first line of a log that comes apart from its head.
        let body = self.from_engine.buffer.unread();
        let n = framing.take(body).map_err(|_| Refusal::Answer("its body"))?;
        first.extend_from_slice(body.get(..n).unwrap_or_default());
        *self.bytes_sent += n as u64;
        self.from_engine.buffer.consume(n);
        self.write(&first).await?;
        let inbox = &mut self.from_engine;
        match pump(inbox, &mut framing, &mut self.to_client, self.bytes_sent).await {
            Ok(()) => Ok(Ended::Complete { client_keeps, engine_keeps }),
            Err(PumpError::Write(_)) => Err(Refusal::Left),
            Err(PumpError::Read(_) | PumpError::Cut | PumpError::Malformed(_)) => Ok(Ended::Cut),
        }
    }

    /// Shows an answer to the policies and passes on what they leave of it.
    async fn rewritten(
        &mut self,
        state: &ListenerState,
        asked: &mut AnswerContext<'_>,
        head: &ResponseHead,
        shape: Shape,
        most: usize,
    ) -> Result<Ended, Refusal> {
        let is_json = head.headers.get("content-type").is_some_and(is_json);
        let mut framing =
            Framing::of_response(head, shape.is_head).map_err(|_| Refusal::Answer("its length"))?;
        let mut lease = None;
        let source = asked.identity.peer().source();
        let quota = BodyQuota { state, source, lease: &mut lease, most };
        let collected = quota.collect(&mut self.from_engine, &mut framing, None, &mut 0).await;
        let body = collected.map_err(|why| match why {
            BodyError::Full(full) => full.into(),
            BodyError::TooLarge | BodyError::TooSlow(_) | BodyError::Pump(_) => {
                Refusal::Answer("its body")
            }
        })?;
        // A `304` says that it is JSON, and has no body.
        let is_read = is_json && !body.is_empty() && asked.wants(state, shape, &body);
        let (json, body) = match is_read {
            true => match json::read(&body) {
                Ok(json) => (Some(json), Vec::new()),
                Err(_) => return Err(Refusal::Answer("its JSON")),
            },
            false => (None, body),
        };
        let (json, body, api_version) = asked.judge(state, head, shape, json, body).await?;
        let body = json.map_or(body, |json| json.to_string().into_bytes());
        // These have no body and no length of one (RFC 9110 §8.6).
        let has_body = !shape.is_head && !matches!(head.status, 204 | 304);
        let framed = has_body.then_some(body.as_slice());
        // Its end is known, whatever the engine does with its own connection (RFC 9110 §7.6.1). Who was told
        // of HTTP/1.0 without having spoken it would not go on.
        let client_keeps = !shape.closes && (head.version == 1 || shape.http == 0);
        let connection = Connection { keeps: client_keeps, http: head.version };
        let mut out = head::rewritten(head, connection, api_version.as_deref(), framed);
        out.extend_from_slice(framed.unwrap_or_default());
        *self.bytes_sent += framed.map_or(0, <[u8]>::len) as u64;
        self.write(&out).await?;
        let engine_keeps = keeps(head) && !matches!(framing, Framing::UntilClose { .. });
        Ok(Ended::Complete { client_keeps, engine_keeps })
    }

    /// Shows a stream to the policies, a value of its JSON or a file of its archive at a time, and passes on what they leave
    /// of it.
    async fn shown(
        &mut self,
        state: &ListenerState,
        asked: &AnswerContext<'_>,
        head: &ResponseHead,
        shape: Shape,
    ) -> Result<Ended, Refusal> {
        let call = asked.call.ok_or(Refusal::Answer("nobody reads it"))?;
        let mut framing =
            Framing::of_response(head, shape.is_head).map_err(|_| Refusal::Answer("its length"))?;
        if framing.is_done() {
            return self.streamed(head, shape).await;
        }
        // A client of HTTP/1.0 knows no chunks, and is told by the end of the connection.
        let is_chunked = shape.http == 1 && head.version == 1;
        let connection = Connection { keeps: is_chunked && !shape.closes, http: head.version };
        let first = head::streamed(head, connection, is_chunked);
        let (identity, engine) = (asked.identity, shape.engine);
        let (inbox, to, sent) = (&mut self.from_engine, &mut self.to_client, &mut *self.bytes_sent);
        let end = if shape.changes_files {
            let (trail, source) = (asked.trail, identity.peer().source());
            let of = ArchiveOf { state, identity, call, engine, trail, source };
            Files::new(of).pass(first, inbox, &mut framing, to, sent, is_chunked).await
        } else {
            let filter = ItemFilter { state, identity, call, engine, is_chunked };
            filter.pass(first, inbox, &mut framing, to, sent).await
        };
        match end {
            StreamEnd::Complete => {
                let engine_keeps = keeps(head) && !matches!(framing, Framing::UntilClose { .. });
                Ok(Ended::Complete { client_keeps: connection.keeps, engine_keeps })
            }
            StreamEnd::Cut => Ok(Ended::Cut),
            StreamEnd::ClientLeft => Err(Refusal::Left),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.to_client.write_all(bytes).await.map_err(|_| Refusal::Left)
    }
}

/// Whether the connection goes on behind this answer (RFC 9112 §9.3).
fn keeps(head: &ResponseHead) -> bool {
    match head.version {
        1 => !head.headers.lists("connection", "close"),
        _ => head.headers.lists("connection", "keep-alive"),
    }
}

fn is_json(content_type: &[u8]) -> bool {
    content_type.trim_ascii().to_ascii_lowercase().starts_with(b"application/json")
}

#[derive(Debug, thiserror::Error)]
#[error("it closed the connection before it answered")]
struct NoAnswer;
