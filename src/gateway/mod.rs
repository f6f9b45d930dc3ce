//! The life of a request: accept, authenticate, parse, decide, send, answer.
//!
//! `listener` hands over connections, for a `ListenerHandle` is a `Service`; `call` below is the whole story,
//! and everything else in this folder is one of its words. What must stay true: nothing reaches the engine but
//! through `decide`, and every request that was understood well enough gets an answer.

mod answer;
mod audit;
mod body;
mod budget;
mod callbacks;
mod context;
mod counted;
mod deeds;
mod entries;
mod exchange;
mod facts;
mod files;
mod grants;
mod grpc;
mod head;
mod http2;
mod install;
mod items;
mod layouts;
mod memory;
mod native;
mod plugins;
mod refusal;
mod request;
mod revoke;
mod running;
mod sessions;
mod slots;
mod tokens;
mod transfer;
mod trusting;
mod unpack;
mod witness;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug_span};

use crate::api::endpoint::KNOWN;
use crate::api::{Call, Typed};
use crate::auth::{AuthError, Authentication, Caller, Identity, Validity};
use crate::config::{Limits, Revoke};
use crate::engine::{Conn, Engine};
use crate::listener::tls::{Offer, Server};
use crate::listener::{Incoming, Service, Serving};
use crate::policy::{Chain, Facts, Permitted, Question, Reads, Step};
use crate::telemetry::access::{Log, Record, Stage, Verdict};
use crate::telemetry::metrics::Tally;
use crate::wire::buffer::Buffer;
use crate::wire::head::Lines;
use crate::wire::io::Stream;
use crate::wire::relay::{self, Ends};
use crate::wire::trail::Trail;
use answer::{Shape, answer};
pub use budget::Budgets;
use deeds::HeldByCall;
pub use deeds::{Control, Told};
pub use facts::aliases_in;
use http2::Speaks;
pub use memory::Memory;
pub use plugins::{Plugin, Plugins};
use refusal::Refusal;
use request::{Accepted, Leases, Upload, accept, parse};
use revoke::Session;
use running::HeldBuild;
use sessions::AttachedSession;
pub use trusting::reinstall;
pub use witness::{Seen, SeenCall, Witness};

/// What every connection of one listener shares, as the configuration has it now.
///
/// Each worker has its own and counts references to it with every call: two of them on one cache line
/// would make the workers wait for each other.
#[derive(Debug)]
#[repr(align(128))]
pub struct ListenerState {
    pub listener: Arc<str>,
    /// Tells this state from the one before a reload.
    pub generation: u64,
    pub authentication: Arc<Authentication>,
    /// Who may have signed a client's certificate, and what was revoked since.
    pub trust: Option<Arc<Server>>,
    /// The names that callers without a credential may call it by; none where all need one.
    pub hosts: Option<Arc<[String]>>,
    pub chain: Arc<Chain>,
    pub engine: Engine,
    pub limits: Limits,
    /// What requests may hold of this listener's memory, whichever worker serves them.
    pub budgets: Arc<Budgets>,
    /// Whether streams end whose user a reload has taken away.
    pub revoke: Revoke,
    /// Cancelled when another state stands behind the handle, or none.
    pub replaced: CancellationToken,
    pub log: Log,
    pub tally: Arc<Tally>,
    /// What calls have taught for later ones.
    pub memory: Arc<Memory>,
    /// Whom policies ask.
    pub plugins: Arc<Plugins>,
    /// Who opens listeners for them.
    pub control: Arc<dyn Control>,
    /// Who is told of every call, where no policy refuses any: what is behind this listener is no engine.
    pub witness: Option<Arc<dyn Witness>>,
    /// Cancelled when no new request is to be begun.
    pub drain: CancellationToken,
    /// Cancelled when the program ends: calls that only look on end with it, as they do when an engine stops.
    pub stopping: CancellationToken,
    /// Holds every connection and relay, so that a drain can wait for them.
    pub tasks: TaskTracker,
}

impl ListenerState {
    fn finish(&self, record: &mut Record) {
        finish(&self.tally, &self.log, record);
    }
}

/// A call has ended: it is counted and written down.
fn finish(tally: &Tally, log: &Log, record: &mut Record) {
    record.mark(Stage::Answer);
    tally.call(record);
    log.write(record);
}

/// Where the connections of one listener find its state: a reload puts another one in, and calls
/// that have begun keep theirs.
#[derive(Debug)]
pub struct ListenerHandle {
    state: ArcSwap<ListenerState>,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl ListenerHandle {
    pub fn new(state: ListenerState) -> ListenerHandle {
        let (drain, tasks) = (state.drain.clone(), state.tasks.clone());
        ListenerHandle { state: ArcSwap::from_pointee(state), drain, tasks }
    }

    pub fn state(&self) -> Arc<ListenerState> {
        self.state.load_full()
    }

    /// For calls that begin from now on.
    pub fn replace(&self, state: ListenerState) {
        let old = self.state.swap(Arc::new(state));
        old.replaced.cancel();
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        self.drain.cancel();
        self.state.load().replaced.cancel();
    }

    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }
}

/// HTTP/1.1 first, which all clients of today speak here (dockerd has pinned ALPN to it: moby#50744); HTTP/2 for those
/// that offer nothing else, as gRPC's libraries do. No resumption: a client whose certificate was revoked
/// must not come back with a ticket, and the docker CLI, a process a command, has never used one.
pub const TLS: Offer = Offer { protocols: &[b"http/1.1", b"h2"], resumes: false };

impl Service for ListenerHandle {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.state.load().listener)
    }

    fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn generation(&self) -> u64 {
        self.state.load().generation
    }

    fn serve(self: Arc<Self>, incoming: Incoming) -> Serving {
        let Incoming { stream, peer, generation, permit } = incoming;
        let caller = Caller::new(peer, stream.certificates());
        if self.state.load().authentication.is_by_process() {
            // By its pid, while that is most likely its own still.
            caller.container();
        }
        Box::pin(connection(self, stream, caller, generation, permit))
    }

    fn too_many_connections(&self) -> Vec<u8> {
        refusal::too_many_connections(&self.state.load().listener)
    }

    fn plain_http(&self) -> Vec<u8> {
        refusal::plain_http()
    }

    fn shaken(&self, result: &'static str) {
        self.state.load().tally.handshake(result);
    }
}

/// A client's connection between and during calls.
struct ClientConnection {
    stream: Stream,
    buffer: Buffer,
    caller: Caller,
    /// The caller's peer, for the log.
    name: Arc<str>,
    /// The generation of the state whose authorities have verified the caller's certificate.
    trusted: u64,
    known: Option<Known>,
    /// Of the call under way, where a reload may end it.
    session: Option<Box<Session>>,
}

/// Who was recognised on a connection, and what that depends on.
struct Known {
    identity: Identity,
    generation: u64,
    at: Instant,
    authorization: Option<Vec<u8>>,
}

/// How long a credential that was just found good is good without another look. Calls come in
/// bursts; a token's dates have a leeway of a minute anyway.
const MOMENT: Duration = Duration::from_secs(1);

impl ClientConnection {
    fn new(stream: Stream, caller: Caller, generation: u64) -> ClientConnection {
        let name = caller.peer.to_string().into();
        let (buffer, trusted) = (Buffer::new(), generation);
        ClientConnection { stream, buffer, caller, name, trusted, known: None, session: None }
    }
}

/// What becomes of the client's connection after a call.
enum AfterCall {
    Again,
    /// It has ended, or is to end without another word.
    Close,
    /// It ends once the client has read what it was told.
    Linger,
    /// The engine took the connection over: bytes both ways from here on.
    Relay(Conn),
    /// It goes on in HTTP/2.
    Http2(Speaks),
}

/// What every policy has let through.
struct Decided {
    call: Permitted<Call>,
    shape: Shape,
    /// That the call has until it ends.
    held: Vec<HeldByCall>,
}

/// What is on its way to the engine, and what is needed when the answer comes.
struct Sent {
    conn: Conn,
    shape: Shape,
    identity: Identity,
    trail: Trail,
    /// What was asked, where policies read the answer or what the client goes on to send.
    call: Option<Box<Typed>>,
    /// Given back when this is dropped, and ended.
    _held: Vec<HeldByCall>,
    _build: Option<Box<BuildParts>>,
}

/// Serves one connection, accepted in this generation of the state, to its end. `permit` is given
/// back when nothing of it is left.
async fn connection<P: Send + 'static>(
    handle: Arc<ListenerHandle>,
    stream: Stream,
    caller: Caller,
    generation: u64,
    permit: P,
) {
    let mut client = ClientConnection::new(stream, caller, generation);
    let open = handle.state().tally.connection();
    while request::idle(&handle, &mut client).await {
        let state = handle.state();
        let (next, mut record) = begin(&handle, &state, &mut client).await;
        match next {
            AfterCall::Again => state.finish(&mut record),
            // A connection that ends between two requests is no call.
            AfterCall::Close if record.method.is_empty() && record.verdict == Verdict::Allow => {
                return;
            }
            AfterCall::Close => return state.finish(&mut record),
            AfterCall::Linger => {
                state.finish(&mut record);
                return request::linger(&mut client).await;
            }
            AfterCall::Relay(engine) => {
                return hand_over(handle, &state, client, engine, record, (permit, open));
            }
            AfterCall::Http2(speaks) => {
                // Of a preface each request has a record.
                if record.status != 0 {
                    state.finish(&mut record);
                }
                drop(state);
                return Box::pin(in_http2(handle, client, speaks)).await;
            }
        }
    }
    client.stream.say_end();
}

/// The rest of a connection in HTTP/2, unless a reload takes its user away.
async fn in_http2(handle: Arc<ListenerHandle>, mut client: ClientConnection, speaks: Speaks) {
    let session = client.session.take();
    let serving = http2::serve(Arc::clone(&handle), &mut client, speaks);
    match session {
        None => serving.await,
        Some(mut session) => tokio::select! {
            () = serving => {}
            () = session.revoked(&handle) => {}
        },
    }
}

/// One call, in a box of its own: an idle connection costs its sockets and little else.
fn begin<'c>(
    handle: &'c Arc<ListenerHandle>,
    state: &'c ListenerState,
    client: &'c mut ClientConnection,
) -> Pin<Box<dyn Future<Output = (AfterCall, Box<Record>)> + Send + 'c>> {
    Box::pin(async move {
        let record = Record::new(Arc::clone(&state.listener), Arc::clone(&client.name));
        let mut record = Box::new(record);
        (call(handle, state, client, &mut record).await, record)
    })
}

/// The rest of a call whose connection the engine took over, in a task of its own: as small as it
/// can be, for it may be idle for days.
fn hand_over<P: Send + 'static>(
    handle: Arc<ListenerHandle>,
    state: &ListenerState,
    mut client: ClientConnection,
    engine: Conn,
    mut record: Box<Record>,
    permit: P,
) {
    // Where no reload ends it, the stream holds nothing of the listener.
    let watched = client.session.take().map(|session| (handle, session));
    let mut ends = Ends {
        client: client.stream,
        from_client: client.buffer,
        engine: engine.stream,
        from_engine: engine.buffer,
    };
    record.mark(Stage::Answer);
    record.relayed = true;
    let stream = state.tally.stream(record.operation);
    // Not the state: it may be replaced long before the stream ends.
    let (tally, log) = (Arc::clone(&state.tally), state.log.clone());
    state.tasks.spawn(async move {
        let passed = match watched {
            None => relay::run(&mut ends).await,
            Some((handle, mut session)) => {
                let mut passed = relay::Passed::default();
                let relayed = tokio::select! {
                    () = relay::run_counting(&mut ends, &mut passed) => true,
                    () = session.revoked(&handle) => false,
                };
                if !relayed {
                    Session::note(&mut record);
                }
                passed
            }
        };
        record.bytes_in += passed.to_engine;
        record.bytes_sent += passed.to_client;
        finish(&tally, &log, &mut record);
        drop((permit, stream));
    });
}

/// The story: one request, from its first byte to the last byte of its answer.
async fn call(
    handle: &Arc<ListenerHandle>,
    state: &ListenerState,
    client: &mut ClientConnection,
    record: &mut Record,
) -> AfterCall {
    let mut upload = Upload::default();
    let sent: Result<Sent, Refusal> = async {
        let mut leases = Leases::default();
        let mut accepted = accept(state, client, &mut leases, &mut upload, record)
            .instrument(debug_span!("accept"))
            .await?;
        let trail = request::trail(&accepted, record)?;
        record.mark(Stage::Accept);
        let identity = authenticate(state, client, &mut accepted, &mut leases, record)
            .instrument(debug_span!("authenticate"))
            .await?;
        record.mark(Stage::Authenticate);
        let call = parse(state, client, accepted, &mut upload, &mut leases.body, record)
            .instrument(debug_span!("parse"))
            .await?;
        record.mark(Stage::Parse);
        let decided = decide(state, call, &identity, &trail, record)
            .instrument(debug_span!("decide"))
            .await?;
        record.mark(Stage::Decide);
        let sent =
            send(handle, state, decided, identity, trail).instrument(debug_span!("send")).await?;
        record.mark(Stage::Send);
        Ok(sent)
    }
    .await;
    match sent {
        Ok(sent) => match client.session.take() {
            None => {
                answer(state, client, sent, upload, record).instrument(debug_span!("answer")).await
            }
            Some(mut session) => {
                let answering = answer(state, client, sent, upload, record);
                // Boxed: what this needs is not carried through every call.
                match Box::pin(revoke::until_revoked(&mut session, handle, answering)).await {
                    Some(next) => {
                        // A stream goes on with it.
                        client.session = Some(session);
                        next
                    }
                    None => {
                        Session::note(record);
                        AfterCall::Close
                    }
                }
            }
        },
        Err(refusal) => {
            record.ends_early();
            // Boxed: what refusals need is not carried through every call.
            Box::pin(refusal.answer(state, client, upload, record)).await
        }
    }
}

async fn authenticate(
    state: &ListenerState,
    client: &mut ClientConnection,
    accepted: &mut Accepted,
    leases: &mut Leases,
    record: &mut Record,
) -> Result<Identity, Refusal> {
    let recognised = match remembered(state, client, accepted.headers(), record.started) {
        Some(identity) => Ok(identity),
        None => {
            if !state.authentication.is_open() {
                request::hold(state, client, leases, accepted.headers().len())?;
            }
            recognise(state, client, accepted.headers(), record.started).await
        }
    };
    if recognised.is_err() {
        record.path = accepted.path();
    }
    let identity = recognised?;
    client.session = Session::begin(state, client, &identity, accepted.headers());
    if !state.authentication.is_open() || state.trust.is_some() {
        // It was for dockgate, and the engine has no use for it.
        accepted.headers_mut().remove("authorization");
    }
    record.identity = identity.labels();
    Ok(identity)
}

async fn recognise(
    state: &ListenerState,
    client: &mut ClientConnection,
    headers: &Lines,
    now: Instant,
) -> Result<Identity, AuthError> {
    if client.trusted != state.generation {
        let certificates = &client.caller.certificates;
        if state.trust.as_ref().is_some_and(|trust| !trust.still_trusts(certificates)) {
            return Err(AuthError::Distrusted);
        }
        client.trusted = state.generation;
    }
    let asking = state.authentication.recognise(&state.listener, &client.caller, headers);
    let recognised = Box::pin(asking).await;
    match &recognised {
        Ok(identity) => {
            if let Some(method) = identity.method() {
                state.tally.authentication(method, "recognised");
            }
        }
        Err(error) => state.tally.authentication(error.by(), error.result()),
    }
    let identity = recognised?;
    client.known = (state.authentication.holds() != Validity::Call).then(|| Known {
        identity: identity.clone(),
        generation: state.generation,
        at: now,
        authorization: headers.get("authorization").map(<[u8]>::to_vec),
    });
    Ok(identity)
}

/// Who this is, when nothing has changed since they were recognised.
fn remembered(
    state: &ListenerState,
    client: &ClientConnection,
    headers: &Lines,
    now: Instant,
) -> Option<Identity> {
    let known = client.known.as_ref()?;
    let is_fresh = match state.authentication.holds() {
        Validity::Connection => true,
        Validity::Moment => {
            let mut presented = headers.all("authorization");
            now.saturating_duration_since(known.at) < MOMENT
                && presented.next() == known.authorization.as_deref()
                && presented.next().is_none()
        }
        Validity::Call => false,
    };
    (is_fresh && known.generation == state.generation).then(|| known.identity.clone())
}

async fn decide(
    state: &ListenerState,
    call: Call,
    identity: &Identity,
    trail: &Trail,
    record: &mut Record,
) -> Result<Decided, Refusal> {
    // A pass-through asks the engine nothing.
    let engine = match state.chain.is_empty() {
        true => KNOWN,
        false => state.engine.versions(trail).await?,
    };
    let (mut facts, mut held) = (Facts::default(), Vec::new());
    if let Some(view) = state.chain.view() {
        let owner = view.owner(&facts::context(state, identity, engine, &facts));
        record.namespace = owner.map(String::into_boxed_str);
    }
    let witness = state.witness.as_ref().map(|told| (told, SeenCall::of(record, Some(&call))));
    let mut deciding = match witness {
        None => state.chain.decide(call),
        Some(_) => state.chain.explain(call),
    };
    if witness.is_some() {
        deciding.keep_edits();
    }
    let decided = loop {
        match deciding.step(&facts::context(state, identity, engine, &facts)) {
            Step::Done(call) => break Ok(call),
            Step::Denied(reasons) => break Err(Refusal::Denied(reasons)),
            Step::Answered(reply) => break Err(Refusal::Answered(reply)),
            Step::Ask(questions) => {
                if let Some((witness, seen)) = &witness {
                    let known = |question: &Question| witness.knows(seen.operation, question);
                    let known = questions.iter().filter_map(|one| Some((one.clone(), known(one)?)));
                    known.for_each(|(question, fact)| facts.insert(question, fact));
                }
                let asking = facts::find_out(state, engine, identity, questions, trail, &mut facts);
                if let Err(refusal) = asking.await {
                    break Err(refusal);
                }
            }
            Step::Do(wanted) => {
                let (facts, held) = (&mut facts, &mut held);
                let who = (identity, engine);
                let doing = deeds::carry_out(state, who, wanted, trail, facts, held);
                if let Err(refusal) = Box::pin(doing).await {
                    break Err(refusal);
                }
            }
        }
    };
    let edits = deciding.edits().to_vec();
    let findings = deciding.into_findings();
    if let (Some((witness, seen)), Ok(_) | Err(Refusal::Answered(_))) = (witness, &decided) {
        witness.saw(seen, Seen::Judged(findings.clone(), edits));
    }
    audit::note(record, findings);
    let call = decided?;
    let mut shape =
        Shape::of(&call, &state.chain, &facts::context(state, identity, engine, &facts));
    shape.is_native &= state.engine.takes_grpc(engine);
    Ok(Decided { call, shape, held })
}

async fn send(
    handle: &Arc<ListenerHandle>,
    state: &ListenerState,
    Decided { call, shape, held }: Decided,
    identity: Identity,
    trail: Trail,
) -> Result<Sent, Refusal> {
    let asked = match &*call {
        Call::Typed(typed)
            if shape.reads_answer != Reads::Nothing || shape.reads_entries || shape.terminates =>
        {
            Some(Box::new(typed.clone()))
        }
        Call::Typed(_) | Call::Verbatim(_) | Call::Http2 => None,
    };
    let build = match &*call {
        Call::Typed(typed) => begin_build(handle, state, &identity, typed).await?,
        Call::Verbatim(_) | Call::Http2 => None,
    };
    let conn = match shape.is_native {
        true => state.engine.open_grpc(&call).await?,
        false => state.engine.send(call, &trail).await?,
    };
    Ok(Sent { conn, shape, identity, trail, call: asked, _held: held, _build: build })
}

/// What there is of a build until its call ends, and the session of its own that it may have.
type BuildParts = (HeldBuild, Option<AttachedSession>);

/// None of a call that builds nothing; else before the engine has it.
async fn begin_build(
    handle: &Arc<ListenerHandle>,
    state: &ListenerState,
    identity: &Identity,
    call: &Typed,
) -> Result<Option<Box<BuildParts>>, Refusal> {
    let Some(build) = state.memory.builds.begin(call) else { return Ok(None) };
    let session = Box::pin(sessions::attach(handle, state, identity, call)).await?;
    Ok(Some(Box::new((build, session))))
}

#[cfg(test)]
mod tests;
