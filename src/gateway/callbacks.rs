//! What the engine asks a client for over its session: what a build of that session can want, while it runs.
//!
//! `http2` and `native` serve sessions with these. What must stay true: what no build that runs has asked for is not asked of
//! its client; credentials are for registries that the policies allow, and a registry
//! of ours gets a token in their place; where BuildKit cannot be held to what a build may
//! fetch, no Dockerfile reaches it that the policies have not seen whole, and none that no build was asked for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;

use super::grpc::{UNIMPLEMENTED, turn_away};
use super::refusal::Refusal;
use super::running::NotAsked;
use super::tokens::{self, AskedToken, OwnRegistry};
use super::transfer::DockerfileSync;
use super::{ListenerHandle, ListenerState, context, http2};
use crate::api::Typed;
use crate::api::buildkit::session::{
    CREDENTIALS, CallbackKind, CallbackMethod, DIFF_COPY, TAR_STREAM, callback,
};
use crate::api::doc::proto;
use crate::api::endpoint::Versions;
use crate::api::shape::Object;
use crate::auth::Identity;
use crate::buildkit::terminate::{
    Begin, CallEnd, Exchange, H2Reply, Judge, Judged, ReadsMessages, is_grpc,
};
use crate::policy::builds::{self, BuildSession, SESSION, has_source_policies};
use crate::policy::{Context, Reason};
use crate::telemetry::access::Record;
use crate::wire::trail::Trail;

/// Of one that names something: tokens are asked for with all their scopes.
const MOST_MESSAGE: usize = 64 * 1024;
/// Of its fields.
const MOST_VALUES: usize = 4096;
/// Of a name, in a message to people.
const LONGEST_NAME: usize = 128;

/// A session as its client has opened it.
pub(super) struct OpenedSession {
    pub(super) identity: Identity,
    pub(super) engine: Versions,
    /// As the engine got it.
    pub(super) call: Option<Box<Typed>>,
}

pub(super) struct Callbacks {
    handle: Arc<ListenerHandle>,
    /// Of the client, in the log.
    name: Arc<str>,
    identity: Identity,
    engine: Versions,
    /// The id that the engine has it by.
    id: Arc<str>,
    session: Option<Arc<BuildSession>>,
}

impl Callbacks {
    pub(super) fn new(
        handle: Arc<ListenerHandle>,
        name: Arc<str>,
        opened: OpenedSession,
    ) -> Callbacks {
        let OpenedSession { identity, engine, call } = opened;
        let ids = call.as_deref().and_then(builds::session_id);
        let session = ids.and_then(|(client_id, engine_id)| {
            let memory = &handle.state().memory;
            memory.session(client_id, engine_id).or_else(|| memory.build_session(engine_id))
        });
        let id = ids.map_or("", |(_, engine_id)| engine_id).into();
        Callbacks { handle, name, identity, engine, id, session }
    }

    fn begin_call(&self, asked: &Parts) -> Begin {
        let (state, path) = (self.handle.state(), asked.uri.path());
        if is_grpc(asked) && state.chain.passes_http2() {
            return Begin::Exchange(Box::new(Unread));
        }
        let judges = state.chain.reads_dockerfiles()
            && (self.session.is_some() || !has_source_policies(self.engine));
        let method = callback(path).filter(|_| is_grpc(asked));
        let Some(method) = method.filter(|_| !(judges && path == TAR_STREAM)) else {
            return not_asked(&state, path);
        };
        if method.kind == CallbackKind::Health {
            return Begin::Exchange(Box::new(Unread));
        }
        let mut record = http2::record_of(&state, &self.name, asked);
        record.operation = "Session";
        record.identity = self.identity.labels();
        if let Some(shape) = method.message() {
            let (identity, engine, id) = (self.identity.clone(), self.engine, Arc::clone(&self.id));
            let token = None;
            let asking = NamedCall { state, identity, engine, id, method, shape, token, record };
            return Begin::Exchange(Box::new(asking));
        }
        let named = method.named_in(&asked.headers);
        let is_dockerfile = path == DIFF_COPY && named.as_deref().is_some_and(is_of_dockerfile);
        let begun = match named {
            None => Err(reason(method.kind, "", "is named in a way that can be read in two")),
            Some(name) => may_ask(&state, &self.id, method.kind, &name),
        };
        let build = match begun {
            Ok(()) if judges && is_dockerfile => {
                let build = self.session.as_ref().and_then(|session| session.build());
                build.map(Some).ok_or_else(|| {
                    let why = "is asked for in a session that no build was begun in";
                    Reason::new(SESSION, "Dockerfile", why, "")
                })
            }
            begun => begun.map(|()| None),
        };
        match build {
            Ok(None) => Begin::Exchange(Box::new(Unread)),
            Ok(Some(build)) => {
                let whose = (self.identity.clone(), self.engine);
                Begin::Exchange(Box::new(DockerfileSync::new(state, whose, build.clone(), record)))
            }
            Err(reason) => {
                Begin::Answer(refuse(&state, &mut record, &Refusal::Denied(vec![reason])))
            }
        }
    }
}

impl Judge for Callbacks {
    fn begin<'a>(&'a self, asked: &'a Parts) -> BoxFuture<'a, Begin> {
        Box::pin(std::future::ready(self.begin_call(asked)))
    }
}

/// Whether what is asked for may be, or may be beside, a Dockerfile. BuildKit's own frontend has no other name for the
/// folder, and `conservative` refuses the options that give it one.
fn is_of_dockerfile(name: &str) -> bool {
    matches!(name, "" | "dockerfile")
}

fn may_ask(
    state: &ListenerState,
    session: &str,
    kind: CallbackKind,
    name: &str,
) -> Result<(), Reason> {
    state.memory.builds.may_ask(session, kind, name).map_err(|not| {
        let why = match not {
            NotAsked::NoBuild => "must not be asked for where no build of the session runs",
            NotAsked::NoneAsks => {
                "must not be asked for: no build of the session that runs can want it"
            }
        };
        reason(kind, name, why)
    })
}

fn reason(kind: CallbackKind, name: &str, why: &'static str) -> Reason {
    let name: String = name.chars().take(LONGEST_NAME).collect();
    let what = match kind {
        CallbackKind::Health => "health".to_owned(),
        CallbackKind::Folder => format!("folder `{name}`"),
        CallbackKind::Export | CallbackKind::FindExporters => "output".to_owned(),
        CallbackKind::Credentials => format!("credentials for `{name}`"),
        CallbackKind::Secret => format!("secret `{name}`"),
        CallbackKind::Agent => format!("ssh agent `{name}`"),
        CallbackKind::Upload => "upload".to_owned(),
        CallbackKind::Content | CallbackKind::ContentWrite => "content".to_owned(),
    };
    Reason::new(SESSION, what, why, "")
}

fn not_asked(state: &ListenerState, path: &str) -> Begin {
    tracing::info!(listener = %state.listener, rule = SESSION, "the engine asks a client for what is not known: `{path}`");
    let message = format!("dockgate: `{path}` is not asked of clients");
    Begin::Answer(H2Reply::Grpc { code: UNIMPLEMENTED, message })
}

pub(super) fn refuse(state: &ListenerState, record: &mut Record, refusal: &Refusal) -> H2Reply {
    let reply = turn_away(refusal, record);
    record.status = http2::status_of(&reply);
    state.finish(record);
    reply
}

/// A call whose one message names what it is about.
struct NamedCall {
    state: Arc<ListenerState>,
    identity: Identity,
    engine: Versions,
    id: Arc<str>,
    method: &'static CallbackMethod,
    shape: &'static Object,
    /// Which the client's answer is made into.
    token: Option<AskedToken>,
    /// Of its refusal.
    record: Record,
}

impl NamedCall {
    async fn judge(&mut self, message: &[u8]) -> Result<Judged, Refusal> {
        let kind = self.method.kind;
        let unreadable = |why| Refusal::Denied(vec![reason(kind, "", why)]);
        let doc = proto::parse(MOST_VALUES, message, self.shape);
        let doc = doc.map_err(|_| unreadable("is asked for in a message that cannot be read"))?;
        if !doc.unknown.is_empty() {
            return Err(unreadable("is asked for with fields that are not known"));
        }
        let name = self.method.named(&doc.root);
        let may = may_ask(&self.state, &self.id, kind, name);
        may.map_err(|reason| Refusal::Denied(vec![reason]))?;
        if kind == CallbackKind::Credentials {
            let who = (&self.identity, self.engine, &*self.id);
            match tokens::asked(&self.state, who, self.method.path, &doc.root)? {
                None => self.may_have_credentials(name).await?,
                Some(OwnRegistry::Says(reply)) => return Ok(Judged::Answer(reply)),
                Some(OwnRegistry::Asks(token)) => {
                    self.may_have_credentials(token.host()).await?;
                    let question = token.question();
                    self.token = Some(token);
                    return Ok(Judged::Send(question));
                }
            }
        }
        Ok(Judged::Send(proto::render(&doc.root, self.shape).into()))
    }

    async fn may_have_credentials(&self, host: &str) -> Result<(), Refusal> {
        let (chain, trail) = (&self.state.chain, Trail::default());
        let asking = |cx: &Context<'_>| chain.credentials(host, cx);
        context::ask(&self.state, &self.identity, self.engine, &trail, asking).await
    }
}

impl Exchange for NamedCall {
    fn reads(&self) -> ReadsMessages {
        ReadsMessages::Unary(MOST_MESSAGE)
    }

    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>> {
        Box::pin(async move {
            let judged = Box::pin(self.judge(&message)).await;
            judged.map_err(|refusal| refuse(&self.state, &mut self.record, &refusal))
        })
    }

    fn metadata(&mut self, _: &mut HeaderMap) {}

    fn path(&self) -> Option<&'static str> {
        self.token.as_ref().map(|_| CREDENTIALS)
    }

    fn reads_answer(&self) -> ReadsMessages {
        match self.token {
            Some(_) => ReadsMessages::Unary(MOST_MESSAGE),
            None => ReadsMessages::Streamed,
        }
    }

    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>> {
        let answered = match &self.token {
            Some(token) => token.answer(&self.state.memory.grants, &self.identity, &message),
            None => Ok(message),
        };
        let answered = answered.map_err(|refusal| refuse(&self.state, &mut self.record, &refusal));
        Box::pin(std::future::ready(answered.map(Some)))
    }

    fn ended(&mut self, _: CallEnd) {}
}

/// A call whose messages nobody reads.
pub(super) struct Unread;

impl Exchange for Unread {
    fn reads(&self) -> ReadsMessages {
        ReadsMessages::Streamed
    }

    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>> {
        Box::pin(std::future::ready(Ok(Judged::Send(message))))
    }

    fn metadata(&mut self, _: &mut HeaderMap) {}

    fn reads_answer(&self) -> ReadsMessages {
        ReadsMessages::Streamed
    }

    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>> {
        Box::pin(std::future::ready(Ok(Some(message))))
    }

    fn ended(&mut self, _: CallEnd) {}
}
