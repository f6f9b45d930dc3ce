//! Sessions that are open, and second ones over the same connection: of builds whose Dockerfile is judged in a session, on
//! engines that have sessions by their clients' own ids.
//!
//! `http2` and `native` serve sessions by `serve`; `send` has a build's own opened before the build goes to the engine. What
//! must stay true: a build's session is there as long as its call and the client's session are, and asks nobody but that
//! client; the engine has it by an id that nothing else has.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::callbacks::{Callbacks, OpenedSession};
use super::http2::{self, SESSION, io_of};
use super::refusal::Refusal;
use super::{ListenerHandle, ListenerState, decide, native};
use crate::api::{Call, Typed};
use crate::auth::Identity;
use crate::buildkit::message_io::MessageIo;
use crate::buildkit::terminate::{self, H2Limits, Io, Link, OfAnother, OpenAlready};
use crate::policy::Reason;
use crate::policy::builds::{self, SESSION_ID, has_source_policies};
use crate::telemetry::access::Record;
use crate::wire::head::put_line;
use crate::wire::trail::Trail;

/// A client may ask for a build before its session is open: BuildKit waits as long.
const PATIENCE: Duration = Duration::from_secs(5);

const METHOD: &str = "x-docker-expose-session-grpc-method";

#[derive(Default)]
pub(super) struct OpenSessions {
    by_id: Mutex<HashMap<Arc<str>, Arc<OpenSession>>>,
    /// Of the last one that was opened.
    methods: Mutex<Arc<[u8]>>,
    opened: Notify,
}

struct OpenSession {
    /// To the client.
    link: Arc<Link>,
    /// Lines of a head: its name, and where it keeps what it has been sent.
    fields: Box<[u8]>,
    /// Likewise: what may be asked. A kilobyte, and the same of all clients of one version.
    methods: Arc<[u8]>,
}

/// An open session, until it is dropped.
struct SessionPlace {
    sessions: Arc<OpenSessions>,
    id: Arc<str>,
    session: Arc<OpenSession>,
}

/// A build's own session, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct AttachedSession(
    #[expect(dead_code, reason = "what counts is its end")] DropGuard,
);

impl std::fmt::Debug for OpenSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenSessions({})", self.by_id().len())
    }
}

impl OpenSessions {
    fn by_id(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<OpenSession>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<OpenSessions>, call: &Typed, link: &Arc<Link>) -> Option<SessionPlace> {
        let (_, id) = builds::session_id(call)?;
        let (mut fields, mut methods) = (Vec::new(), Vec::new());
        for (name, value) in &http2::metadata(call) {
            match name.as_str() {
                SESSION_ID => {}
                METHOD => put_line(&mut methods, METHOD, value.as_bytes()),
                name => put_line(&mut fields, name, value.as_bytes()),
            }
        }
        let (fields, methods) = (fields.into(), self.shared(&methods));
        let session = Arc::new(OpenSession { link: Arc::clone(link), fields, methods });
        let id = Arc::from(id);
        self.by_id().insert(Arc::clone(&id), Arc::clone(&session));
        self.opened.notify_waiters();
        Some(SessionPlace { sessions: Arc::clone(self), id, session })
    }

    fn shared(&self, methods: &[u8]) -> Arc<[u8]> {
        let mut last = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        if &**last != methods {
            *last = methods.into();
        }
        Arc::clone(&last)
    }

    async fn awaited(&self, id: &str) -> Arc<OpenSession> {
        loop {
            // Before looking, so that nothing is missed between.
            let mut told = pin!(self.opened.notified());
            told.as_mut().enable();
            if let Some(session) = self.by_id().get(id) {
                return Arc::clone(session);
            }
            told.await;
        }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut by_id = self.sessions.by_id();
        // Its client may have opened another one by the same id.
        if by_id.get(&self.id).is_some_and(|session| Arc::ptr_eq(session, &self.session)) {
            by_id.remove(&self.id);
        }
    }
}

/// A session to its end: the engine asks, the client answers.
pub(super) async fn serve(
    handle: Arc<ListenerHandle>,
    name: Arc<str>,
    opened: OpenedSession,
    (engine, client): (Io<'_>, Io<'_>),
) {
    let (drain, link) = (handle.drain().clone(), Arc::<Link>::default());
    let place = {
        let (state, call) = (handle.state(), opened.call.as_deref());
        // Others have their builds in sessions of their own already, or nobody judges them.
        let call =
            call.filter(|_| has_source_policies(opened.engine) && !state.chain.passes_http2());
        call.and_then(|call| state.memory.sessions.open(call, &link))
    };
    let judge = Arc::new(Callbacks::new(handle, name, opened));
    let upstream = Box::new(OpenAlready(Some(client)));
    terminate::serve_linked(engine, (upstream, link), judge, &drain, H2Limits::default()).await;
    drop(place);
}

/// Opens the session that a build by query is in, where that is one of its own.
pub(super) async fn attach(
    handle: &Arc<ListenerHandle>,
    state: &ListenerState,
    identity: &Identity,
    build: &Typed,
) -> Result<Option<AttachedSession>, Refusal> {
    let Some((client_id, engine_id)) = builds::build_session(build) else { return Ok(None) };
    if state.memory.build_session(engine_id).is_none() {
        return Ok(None);
    }
    let session = timeout(PATIENCE, state.memory.sessions.awaited(client_id)).await;
    let session = session.map_err(|_| {
        let why = format!("no active session for {client_id}");
        Refusal::Denied(vec![Reason { status: 404, ..Reason::new(builds::SESSION, "", why, "") }])
    })?;
    let mut fields = [&*session.fields, &*session.methods].concat();
    put_line(&mut fields, SESSION_ID, engine_id.as_bytes());
    let name: Arc<str> = identity.peer().to_string().into();
    let mut record = Record::new(Arc::clone(&state.listener), Arc::clone(&name));
    let (call, trail) = (native::upgrade("/session", &fields)?, Trail::default());
    let call = Box::pin(decide(state, call, identity, &trail, &mut record)).await?.call;
    let typed = match &*call {
        Call::Typed(typed) => Some(Box::new(typed.clone())),
        Call::Verbatim(_) | Call::Http2 => None,
    };
    let versions = state.engine.versions(&trail).await?;
    let is_native = state.engine.takes_grpc(versions);
    let mut engine = native::open(state, call).await?;
    let metadata = typed.as_deref().filter(|_| is_native).map(http2::metadata);
    let opened = OpenedSession { identity: identity.clone(), engine: versions, call: typed };
    let (drain, ended) = (handle.drain().clone(), CancellationToken::new());
    let guard = AttachedSession(ended.clone().drop_guard());
    let judge = Arc::new(Callbacks::new(Arc::clone(handle), name, opened));
    let upstream = OfAnother(Arc::clone(&session.link));
    state.tasks.spawn(async move {
        let limits = H2Limits::default();
        let serving = async {
            let io = io_of(&mut engine);
            let server: Io<'_> = match metadata {
                None => io,
                Some(metadata) => match MessageIo::call(io, SESSION, metadata, &limits).await {
                    Ok(session) => Box::new(session),
                    Err(_) => return,
                },
            };
            terminate::serve(server, Box::new(upstream), judge, &drain, limits.clone()).await;
        };
        tokio::select! {
            () = serving => {}
            () = ended.cancelled() => {}
        }
    });
    Ok(Some(guard))
}
