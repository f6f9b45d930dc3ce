//! A gRPC call of BuildKit's, taken through the same stages as any other call.
//!
//! `http2` serves connections with this `Judge`. What must stay true: a message goes on only as a `Permitted` call renders
//! it; a method that the tables do not have is answered by us; each call leaves a record.

mod said;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;

use super::deeds::HeldByCall;
use super::refusal::Refusal;
use super::running::HeldBuild;
use super::{ListenerHandle, ListenerState, Seen, SeenCall, decide, http2, native};
use crate::api::buildkit::{self, BUILD_ID, HISTORY_EVENT};
use crate::api::call::grpc;
use crate::api::doc::{BadDoc, proto};
use crate::api::endpoint::{BodyKind, KNOWN, Resource};
use crate::api::{Call, Endpoint, Row, Typed};
use crate::auth::Identity;
use crate::buildkit::terminate::{
    Begin, CallEnd, Exchange, H2Reply, Judge, Judged, ReadsMessages, is_grpc,
};
use crate::policy::builds::shown;
use crate::policy::{Fact, Facts, Item, Question, Reads};
use crate::telemetry::access::{Record, Stage, Verdict};
use crate::wire::trail::Trail;

/// Of an answer that is read.
const MOST_ANSWER: usize = 4 << 20;
/// Of its fields.
const MOST_ANSWER_VALUES: usize = 65_536;
/// A message as values, in comparison to its bytes.
const TAKES: usize = 4;

/// Who makes the calls of a connection.
#[derive(Clone)]
pub(super) enum Who {
    /// Was recognised when the connection was upgraded.
    Known(Identity),
    /// Is asked with each call.
    Asked(Arc<native::Asked>),
}

/// Judges the calls of one connection.
pub(super) struct Calls {
    pub(super) handle: Arc<ListenerHandle>,
    /// Of the client, in the log.
    pub(super) name: Arc<str>,
    pub(super) who: Who,
    pub(super) trail: Trail,
}

impl Judge for Calls {
    fn begin<'a>(&'a self, asked: &'a Parts) -> BoxFuture<'a, Begin> {
        Box::pin(async move {
            let state = self.handle.state();
            let mut record = http2::record_of(&state, &self.name, asked);
            record.mark(Stage::Accept);
            if let (Who::Asked(who), false) = (&self.who, is_grpc(asked)) {
                let (handle, asked) = (Arc::clone(&self.handle), Arc::clone(who));
                return Begin::Rest(Box::new(native::RestCall { handle, asked }));
            }
            match self.recognised(&state, asked, &mut record).await {
                Ok((identity, Some(row))) if row.endpoint == Endpoint::ControlSession => {
                    self.session(&state, identity, row, asked, record).await
                }
                Ok((_, None)) => {
                    // Nobody refuses anything here, and nobody can read it.
                    (record.verdict, record.status) = (Verdict::Audit, 200);
                    state.finish(&mut record);
                    Begin::Exchange(Box::new(super::callbacks::Unread))
                }
                Ok((identity, Some(row))) => Begin::Exchange(Box::new(GrpcCall {
                    state,
                    row,
                    identity,
                    trail: self.trail.clone(),
                    metadata: asked.headers.clone(),
                    record: Some(record),
                    call: None,
                    held: Vec::new(),
                    build: None,
                })),
                Err(reply) => {
                    told(&state, &reply, &record);
                    record.status = http2::status_of(&reply);
                    state.finish(&mut record);
                    Begin::Answer(reply)
                }
            }
        })
    }
}

impl Calls {
    /// A session as a call of gRPC, which the engine may have behind an upgrade.
    async fn session(
        &self,
        state: &ListenerState,
        identity: Identity,
        row: &'static Row,
        asked: &Parts,
        mut record: Record,
    ) -> Begin {
        let refused = |refusal: &Refusal, record: &mut Record| {
            let reply = turn_away(refusal, record);
            told(state, &reply, record);
            record.status = http2::status_of(&reply);
            state.finish(record);
            Begin::Answer(reply)
        };
        let call = match grpc(row, &asked.headers, &[], 1) {
            Ok(call) => call,
            Err(error) => return refused(&Refusal::Call(error), &mut record),
        };
        let deciding = Box::pin(decide(state, call, &identity, &self.trail, &mut record));
        let decided = deciding.await;
        match decided.as_ref().map(|decided| &*decided.call) {
            Ok(Call::Typed(typed)) => {
                let (handle, metadata) = (Arc::clone(&self.handle), http2::metadata(typed));
                let (name, record) = (Arc::clone(&self.name), Box::new(record));
                let session = native::NativeSession { handle, name, identity, metadata, record };
                Begin::Bytes(Box::new(session))
            }
            Ok(Call::Verbatim(_) | Call::Http2) => refused(&Refusal::Http2, &mut record),
            Err(refusal) => refused(refusal, &mut record),
        }
    }

    async fn recognised(
        &self,
        state: &ListenerState,
        asked: &Parts,
        record: &mut Record,
    ) -> Result<(Identity, Option<&'static Row>), H2Reply> {
        let identity = match &self.who {
            Who::Known(identity) => identity.clone(),
            Who::Asked(who) => who.recognise(state, asked, record).await?,
        };
        record.identity = identity.labels();
        record.mark(Stage::Authenticate);
        if !is_grpc(asked) {
            record.verdict = Verdict::Reject;
            let message = format!("dockgate: {}", Refusal::Http2);
            return Err(H2Reply::Json { status: 505, message, challenges: Vec::new() });
        }
        let Some(row) = buildkit::find(asked.uri.path()) else {
            if state.chain.passes_http2() {
                return Ok((identity, None));
            }
            record.verdict = Verdict::Reject;
            record.rule = Some("closed-world.method".to_owned());
            let path = record.path.clone();
            let message = format!("dockgate: `{path}` is not a method that dockgate knows");
            return Err(H2Reply::Grpc { code: UNIMPLEMENTED, message });
        };
        record.operation = row.endpoint.id();
        if let Who::Asked(who) = &self.who {
            let opens = Box::pin(who.may_open(state, &identity, record)).await;
            opens.map_err(|refusal| turn_away(&refusal, record))?;
        }
        Ok((identity, Some(row)))
    }
}

struct GrpcCall {
    state: Arc<ListenerState>,
    row: &'static Row,
    identity: Identity,
    trail: Trail,
    metadata: HeaderMap,
    record: Option<Record>,
    /// As it was sent, where its answer is read.
    call: Option<Box<Typed>>,
    /// Given back when the call is dropped.
    held: Vec<HeldByCall>,
    /// Likewise ended.
    build: Option<HeldBuild>,
}

impl Exchange for GrpcCall {
    fn reads(&self) -> ReadsMessages {
        match self.row.endpoint == Endpoint::ExecProcess {
            true => ReadsMessages::Each(self.state.limits.json_body),
            false => ReadsMessages::Unary(self.state.limits.json_body),
        }
    }

    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>> {
        Box::pin(async move {
            let mut record = self.record.take().unwrap_or_else(|| self.new_record());
            let judged = self.judge(message, &mut record).await;
            if let Err(reply) = &judged {
                told(&self.state, reply, &record);
                record.status = http2::status_of(reply);
            }
            self.record = Some(record);
            judged
        })
    }

    /// What BuildKit reads of it, and how long the call may take; the rest is of tracing and of libraries.
    fn metadata(&mut self, headers: &mut HeaderMap) {
        let kept =
            |name: &str| matches!(name, "content-type" | "grpc-timeout" | "user-agent" | BUILD_ID);
        let names: Vec<_> = headers.keys().filter(|name| !kept(name.as_str())).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }

    fn reads_answer(&self) -> ReadsMessages {
        let reads = self.call.as_ref().is_some_and(|call| {
            let facts = Facts::default();
            let cx = super::facts::context(&self.state, &self.identity, KNOWN, &facts);
            let chain = &self.state.chain;
            let texts = chain.shows_texts() && buildkit::texts(self.row.endpoint).is_some();
            texts || chain.reads_row(call.row(), &cx) >= Reads::Items
        });
        match reads {
            true => ReadsMessages::Each(MOST_ANSWER),
            false => ReadsMessages::Streamed,
        }
    }

    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>> {
        Box::pin(async move {
            if self.row.endpoint == Endpoint::ListenBuildHistory {
                let event = proto::parse(MOST_ANSWER_VALUES, &message, HISTORY_EVENT);
                let event = event.map_err(|error| unreadable(&error))?;
                if !self.keeps(&event.root) {
                    return Ok(None);
                }
            }
            let texts = buildkit::texts(self.row.endpoint);
            let Some(texts) = texts.filter(|_| self.state.chain.shows_texts()) else {
                return Ok(Some(message));
            };
            let changed = proto::with_texts(&message, texts, &mut |text| self.shown(text));
            let changed = changed.map_err(|error| unreadable(&error))?;
            Ok(Some(changed.map_or(message, Bytes::from)))
        })
    }

    /// An error, as policies show it.
    fn fields(&mut self, fields: &mut HeaderMap) {
        if self.state.chain.shows_texts() {
            said::show(fields, &mut |text| self.shown(text));
        }
    }

    fn ended(&mut self, how: CallEnd) {
        let Some(mut record) = self.record.take() else { return };
        record.bytes_in += how.asked_bytes;
        record.bytes_sent += how.answered_bytes;
        if record.status == 0 {
            record.status = 200;
        }
        self.state.finish(&mut record);
    }
}

impl GrpcCall {
    async fn judge(&mut self, message: Bytes, record: &mut Record) -> Result<Judged, H2Reply> {
        let (mut lease, source) = (None, self.identity.peer().source());
        let covered = self.state.budgets.bodies.cover(&mut lease, source, TAKES * message.len());
        covered.map_err(|full| turn_away(&full.into(), record))?;
        let read = grpc(self.row, &self.metadata, &message, self.state.limits.json_elements);
        let call = read.map_err(|error| turn_away(&Refusal::Call(error), record))?;
        record.mark(Stage::Parse);
        let (state, identity) = (Arc::clone(&self.state), self.identity.clone());
        let deciding = Box::pin(decide(&state, call, &identity, &self.trail, record));
        let decided = match deciding.await {
            Err(Refusal::Answered(reply)) if reply.status < 300 => {
                // One message without a field, or none.
                let messages = reply.json.map(|_| Bytes::new()).into_iter().collect();
                return Ok(Judged::Answer(H2Reply::Messages(messages)));
            }
            decided => decided.map_err(|refusal| turn_away(&refusal, record))?,
        };
        self.held.extend(decided.held);
        let call = decided.call;
        record.mark(Stage::Decide);
        if self.row.endpoint == Endpoint::TraceExport {
            return Ok(Judged::Answer(H2Reply::Messages(vec![Bytes::new()])));
        }
        let Call::Typed(typed) = &*call else { return Err(turn_away(&Refusal::Http2, record)) };
        if let Some(build) = state.memory.builds.begin(typed) {
            self.build = Some(build);
        }
        // Where policies only audit, nothing of it is changed.
        let sent = match (self.state.chain.passes_http2(), self.row.body) {
            (false, BodyKind::Message(_)) => typed.message().unwrap_or_default().into(),
            _ => message,
        };
        self.call = Some(Box::new(typed.clone()));
        record.mark(Stage::Send);
        Ok(Judged::Send(sent))
    }

    /// A text of the answer, where policies show it otherwise.
    fn shown(&self, text: &str) -> Option<String> {
        let facts = Facts::default();
        let cx = super::facts::context(&self.state, &self.identity, KNOWN, &facts);
        self.state.chain.text(text, &cx)
    }

    /// Whether an item of the answer is for this caller.
    fn keeps(&self, item: &crate::api::doc::Value) -> bool {
        let (Some(call), Ok(mut item)) = (&self.call, serde_json::to_value(item)) else {
            return false;
        };
        let (mut facts, mut owner) = (Facts::default(), None);
        if let Some(build) = item.pointer("/record/Ref").and_then(|build| build.as_str()) {
            let question = Question::begun(Resource::BuildId, build);
            if let Some(Fact::Owner(found)) = self.state.memory.recall(&question) {
                owner = Some(Arc::clone(&found));
                facts.insert(question, Fact::Owner(found));
            }
        }
        let cx = super::facts::context(&self.state, &self.identity, KNOWN, &facts);
        let keeps = self.state.chain.item(call, &mut item, &cx) == Item::Keep;
        if let (true, Some(owner)) = (keeps, owner) {
            for question in shown(&item, &owner) {
                // One that is forgotten is not found, and no more than that.
                let _ = self.state.memory.keep(question, Fact::Owner(Arc::clone(&owner)));
            }
        }
        keeps
    }

    /// For the second message of a stream.
    fn new_record(&self) -> Record {
        let mut record = Record::new(Arc::clone(&self.state.listener), "-".into());
        record.operation = self.row.endpoint.id();
        record
    }
}

fn unreadable(error: &BadDoc) -> H2Reply {
    H2Reply::Grpc {
        code: INTERNAL,
        message: format!("dockgate: the engine's answer cannot be read: {error}"),
    }
}

/// gRPC's own codes (`google.rpc.Code`).
const INVALID_ARGUMENT: u8 = 3;
const NOT_FOUND: u8 = 5;
const ALREADY_EXISTS: u8 = 6;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
pub(super) const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

/// A refusal in gRPC's words, and in the record.
pub(super) fn turn_away(refusal: &Refusal, record: &mut Record) -> H2Reply {
    record.ends_early();
    record.verdict = refusal.verdict();
    record.rule = refusal.rule();
    let code = match refusal.status() {
        400 => INVALID_ARGUMENT,
        403 => PERMISSION_DENIED,
        404 => NOT_FOUND,
        409 => ALREADY_EXISTS,
        413 | 429 => RESOURCE_EXHAUSTED,
        502..=504 | 508 => UNAVAILABLE,
        _ => INTERNAL,
    };
    H2Reply::Grpc { code, message: refusal.message() }
}

/// Whoever is told of all calls hears of one that is refused.
fn told(state: &ListenerState, reply: &H2Reply, record: &Record) {
    if let (Some(witness), H2Reply::Grpc { message, .. }) = (&state.witness, reply) {
        witness.saw(SeenCall::of(record, None), Seen::Rejected(message.clone()));
    }
}
