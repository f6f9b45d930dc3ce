//! The life of a request: accept, authenticate, parse, decide, send, answer.
//!
//! `listener` hands over connections; `call` below is the whole story, and everything else in this
//! folder is one of its words. What must stay true: nothing reaches the engine but through
//! `decide`, and every request that was understood well enough gets an answer.

mod answer;
mod exchange;
mod head;
mod refusal;
mod request;

use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug_span};

use crate::api::Call;
use crate::api::endpoint::KNOWN;
use crate::auth::{Caller, Door, Identity, Peer};
use crate::config::Limits;
use crate::engine::{Conn, Engine};
use crate::policy::{Chain, Context, Permitted};
use crate::telemetry::access::{Labels, Log, Record, Verdict};
use crate::wire::buffer::Buffer;
use crate::wire::head::RequestHead;
use crate::wire::io::Stream;
use crate::wire::relay::{self, Ends};
use answer::{Shape, answer};
use refusal::Refusal;
use request::{Upload, accept, parse};

/// What every connection of one listener shares.
#[derive(Debug)]
pub struct House {
    pub listener: Arc<str>,
    pub door: Door,
    pub chain: Chain,
    pub engine: Engine,
    pub limits: Limits,
    pub log: Log,
    /// Cancelled when no new request is to be begun.
    pub drain: CancellationToken,
    /// Holds every connection and relay, so that a drain can wait for them.
    pub tasks: TaskTracker,
}

/// A client's connection between and during calls.
struct Client {
    stream: Stream,
    buffer: Buffer,
    caller: Caller,
    /// The caller's peer, for the log.
    name: Arc<str>,
}

/// What becomes of the client's connection after a call.
enum Next {
    Again,
    Close,
    /// The engine took the connection over: bytes both ways from here on.
    Relay(Conn),
}

/// What is on its way to the engine, and what is needed when the answer comes.
struct Sent {
    conn: Conn,
    shape: Shape,
    identity: Identity,
}

/// Serves one connection to its end. `permit` is given back when nothing of it is left.
pub async fn connection<P: Send + 'static>(
    house: Arc<House>,
    stream: Stream,
    caller: Caller,
    permit: P,
) {
    let name = caller.peer.to_string().into();
    let mut client = Client { stream, buffer: Buffer::new(), caller, name };
    while request::idle(&house, &mut client).await {
        let (next, record) = begin(&house, &mut client).await;
        match next {
            Next::Again => house.log.write(&record),
            // A connection that ends between two requests is no call.
            Next::Close if record.method.is_empty() && record.verdict == Verdict::Allow => return,
            Next::Close => return house.log.write(&record),
            Next::Relay(engine) => return hand_over(house, client, engine, record, permit),
        }
    }
}

/// One call, in a box of its own: an idle connection costs its sockets and little else.
fn begin<'c>(
    house: &'c House,
    client: &'c mut Client,
) -> Pin<Box<dyn Future<Output = (Next, Box<Record>)> + Send + 'c>> {
    Box::pin(async move {
        let record = Record::new(Arc::clone(&house.listener), Arc::clone(&client.name));
        let mut record = Box::new(record);
        (call(house, client, &mut record).await, record)
    })
}

/// The rest of a call whose connection the engine took over, in a task of its own: as small as it
/// can be, for it may be idle for days.
fn hand_over<P: Send + 'static>(
    house: Arc<House>,
    client: Client,
    engine: Conn,
    mut record: Box<Record>,
    permit: P,
) {
    let mut ends = Ends {
        client: client.stream,
        from_client: client.buffer,
        engine: engine.stream,
        from_engine: engine.buffer,
    };
    let tasks = house.tasks.clone();
    tasks.spawn(async move {
        let passed = relay::run(&mut ends).await;
        record.bytes_in += passed.to_engine;
        record.bytes_sent += passed.to_client;
        house.log.write(&record);
        drop(permit);
    });
}

/// Tells a connection too many that it is one.
pub async fn turn_away(house: Arc<House>, mut stream: Stream) {
    let answer = refusal::too_many_connections(&house.listener);
    let _ = stream.split().1.write_all(&answer).await;
    let caller = Caller::new(Peer::Unknown, Vec::new());
    let mut client = Client { stream, buffer: Buffer::new(), caller, name: "-".into() };
    request::linger(&mut client).await;
}

/// The story: one request, from its first byte to the last byte of its answer.
async fn call(house: &House, client: &mut Client, record: &mut Record) -> Next {
    let mut upload = Upload::default();
    let sent: Result<Sent, Refusal> = async {
        let head = accept(house, client, record).instrument(debug_span!("accept")).await?;
        let identity = authenticate(house, client, &head, record)
            .instrument(debug_span!("authenticate"))
            .await?;
        let call = parse(house, client, head, &mut upload, record)
            .instrument(debug_span!("parse"))
            .await?;
        let (call, shape) =
            decide(house, call, &identity).instrument(debug_span!("decide")).await?;
        send(house, call, shape, identity).instrument(debug_span!("send")).await
    }
    .await;
    match sent {
        Ok(sent) => {
            answer(house, client, sent, upload, record).instrument(debug_span!("answer")).await
        }
        Err(refusal) => refusal.answer(house, client, upload, record).await,
    }
}

async fn authenticate(
    house: &House,
    client: &Client,
    head: &RequestHead,
    record: &mut Record,
) -> Result<Identity, Refusal> {
    let identity = house.door.recognise(&house.listener, &client.caller, &head.headers).await?;
    record.identity = identity.claims().map(|claims| {
        Arc::new(Labels::new(identity.user(), identity.method(), identity.groups(), claims))
    });
    Ok(identity)
}

async fn decide(
    house: &House,
    call: Call,
    identity: &Identity,
) -> Result<(Permitted<Call>, Shape), Refusal> {
    let cx = context(house, identity).await?;
    let call = house.chain.decide(call, &cx)?;
    let shape = Shape::of(&call, &house.chain, &cx);
    Ok((call, shape))
}

async fn send(
    house: &House,
    call: Permitted<Call>,
    shape: Shape,
    identity: Identity,
) -> Result<Sent, Refusal> {
    let conn = house.engine.send(call).await?;
    Ok(Sent { conn, shape, identity })
}

/// What policies may know. A pass-through asks the engine nothing.
async fn context<'a>(house: &'a House, identity: &'a Identity) -> Result<Context<'a>, Refusal> {
    let engine = match house.chain.is_empty() {
        true => KNOWN,
        false => house.engine.versions().await?,
    };
    Ok(Context { identity, listener: &house.listener, engine })
}
