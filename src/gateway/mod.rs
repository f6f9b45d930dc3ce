//! The life of a request: accept, authenticate, parse, decide, send, answer.
//!
//! `listener` hands over connections; `call` below is the whole story, and everything else in this
//! folder is one of its words. What must stay true: nothing reaches the engine but through
//! `decide`, and every request that was understood well enough gets an answer.

mod answer;
mod audit;
mod body;
mod budget;
mod deeds;
mod exchange;
mod facts;
mod head;
mod http2;
mod items;
mod memory;
mod plugins;
mod refusal;
mod request;
mod revoke;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug_span};

use crate::api::endpoint::KNOWN;
use crate::api::{Call, Typed};
use crate::auth::{AuthError, Authentication, Caller, Identity, Peer, Validity};
use crate::config::{Limits, Revoke};
use crate::engine::{Conn, Engine};
use crate::policy::{Chain, Facts, Permitted, Reads, Step};
use crate::telemetry::access::{Log, Record, Stage, Verdict};
use crate::telemetry::metrics::Tally;
use crate::wire::buffer::Buffer;
use crate::wire::head::Lines;
use crate::wire::io::Stream;
use crate::wire::relay::{self, Ends};
use crate::wire::trail::Trail;
use answer::{Shape, answer};
pub use budget::Budgets;
use http2::Speaks;
pub use memory::Memory;
pub use plugins::{Plugin, Plugins};
use refusal::Refusal;
use request::{Accepted, Leases, Upload, accept, parse};
use revoke::Session;

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
    pub trust: Option<Arc<dyn Trust>>,
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
    /// Cancelled when no new request is to be begun.
    pub drain: CancellationToken,
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
}

/// Who may have signed a client's certificate, and what was revoked since.
pub trait Trust: Send + Sync + std::fmt::Debug {
    fn still_trusts(&self, certificates: &[CertificateDer<'static>]) -> bool;
}

impl ListenerHandle {
    pub fn new(state: ListenerState) -> ListenerHandle {
        let drain = state.drain.clone();
        ListenerHandle { state: ArcSwap::from_pointee(state), drain }
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
    /// It goes on in HTTP/2, to be refused in it.
    Http2(Speaks),
}

/// What is on its way to the engine, and what is needed when the answer comes.
struct Sent {
    conn: Conn,
    shape: Shape,
    identity: Identity,
    trail: Trail,
    /// What was asked, where policies read the answer.
    call: Option<Box<Typed>>,
}

/// Serves one connection, accepted in this generation of the state, to its end. `permit` is given
/// back when nothing of it is left.
pub async fn connection<P: Send + 'static>(
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
                return Box::pin(http2::serve(state, &mut client, speaks)).await;
            }
        }
    }
    client.stream.say_end();
}

/// One call, in a box of its own: an idle connection costs its sockets and little else.
fn begin<'c>(
    handle: &'c ListenerHandle,
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

/// Tells a connection too many that it is one.
pub async fn turn_away(listener: &str, stream: Stream) {
    let answer = refusal::too_many_connections(listener);
    reply_and_close(stream, &answer).await;
}

/// Tells a client that speaks HTTP to a port for TLS that it does.
pub async fn speak_plainly(stream: Stream) {
    reply_and_close(stream, &refusal::plain_http()).await;
}

async fn reply_and_close(mut stream: Stream, answer: &[u8]) {
    let _ = stream.split().1.write_all(answer).await;
    linger(stream).await;
}

/// Lets a client read what was written before the socket is gone.
pub async fn linger(stream: Stream) {
    let mut client = ClientConnection::new(stream, Caller::new(Peer::Unknown, Vec::new()), 0);
    request::linger(&mut client).await;
}

/// The story: one request, from its first byte to the last byte of its answer.
async fn call(
    handle: &ListenerHandle,
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
        let (call, shape) = decide(state, call, &identity, &trail, record)
            .instrument(debug_span!("decide"))
            .await?;
        record.mark(Stage::Decide);
        let sent =
            send(state, call, shape, identity, trail).instrument(debug_span!("send")).await?;
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
) -> Result<(Permitted<Call>, Shape), Refusal> {
    // A pass-through asks the engine nothing.
    let engine = match state.chain.is_empty() {
        true => KNOWN,
        false => state.engine.versions(trail).await?,
    };
    let mut facts = Facts::default();
    let mut deciding = state.chain.decide(call);
    let decided = loop {
        match deciding.step(&facts::context(state, identity, engine, &facts)) {
            Step::Done(call) => break Ok(call),
            Step::Denied(reasons) => break Err(Refusal::Denied(reasons)),
            Step::Answered(reply) => break Err(Refusal::Answered(reply)),
            Step::Ask(questions) => {
                let asking = facts::find_out(state, engine, questions, trail, &mut facts);
                if let Err(refusal) = asking.await {
                    break Err(refusal);
                }
            }
            Step::Do(wanted) => {
                let doing = Box::pin(deeds::carry_out(state, engine, wanted, trail, &mut facts));
                if let Err(refusal) = doing.await {
                    break Err(refusal);
                }
            }
        }
    };
    audit::note(record, deciding.into_findings());
    let call = decided?;
    let shape = Shape::of(&call, &state.chain, &facts::context(state, identity, engine, &facts));
    Ok((call, shape))
}

async fn send(
    state: &ListenerState,
    call: Permitted<Call>,
    shape: Shape,
    identity: Identity,
    trail: Trail,
) -> Result<Sent, Refusal> {
    let asked = match &*call {
        Call::Typed(typed) if shape.reads_answer != Reads::Nothing => Some(Box::new(typed.clone())),
        Call::Typed(_) | Call::Verbatim(_) | Call::Http2 => None,
    };
    let conn = state.engine.send(call, &trail).await?;
    Ok(Sent { conn, shape, identity, trail, call: asked })
}

#[cfg(test)]
mod tests;
