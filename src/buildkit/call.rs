//! One request over HTTP/2: judged by its head, then by its messages, and relayed.
//!
//! `terminate` runs one of them for each stream. What must stay true: nothing goes on before its judge has
//! seen what it reads; both halves of a call end alike, with trailers or a reset and its reason; whoever
//! judges a call hears of its end, however that comes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use tokio::sync::OwnedSemaphorePermit;

use super::held::HeldMessages;
use super::limits::H2Limits;
use super::message_io::{self, MessageIo};
use super::messages::{ReadsMessages, framed};
use super::pump::{self, Broken};
use super::reply::{self, H2Reply};
use super::rest;
use super::running::Running;
use super::terminate::{Begin, Judge, Judged};
use super::upstream::{Link, NoLink, UNAVAILABLE};
use super::wellformed::{Shape, shape};

/// What the calls of one connection share.
pub(super) struct Shared {
    judge: Arc<dyn Judge>,
    pub(super) link: Arc<Link>,
    held: HeldMessages,
    pub(super) limits: H2Limits,
}

impl Shared {
    pub(super) fn new(judge: Arc<dyn Judge>, link: Arc<Link>, limits: H2Limits) -> Shared {
        Shared { judge, link, held: HeldMessages::new(limits.message_bytes), limits }
    }
}

/// What a call was, to the count of those that only cost.
pub(super) enum CallOutcome {
    Done,
    /// Its client gave it up before it had heard anything.
    GivenUp,
}

pub(super) async fn serve(
    shared: &Shared,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> CallOutcome {
    let (asked, body) = request.into_parts();
    let to_head = asked.method == Method::HEAD;
    let begin = match shape(&asked) {
        Err(reply) => Begin::Answer(reply),
        Ok(shape) => match unless_reset(&mut respond, shared.judge.begin(&asked)).await {
            Ok(Begin::Exchange(_) | Begin::Bytes(_)) if shape != Shape::Grpc => {
                Begin::Answer(gone())
            }
            Ok(begin) => begin,
            Err(_) => return CallOutcome::GivenUp,
        },
    };
    match begin {
        Begin::Answer(reply) => {
            // Else what comes of it counts against the window until it is answered.
            drop(body);
            reply::say(&mut respond, reply, to_head, shared.limits.last_words).await;
            CallOutcome::Done
        }
        Begin::Rest(rest) => {
            if let Err(reply) = rest::relay(asked, body, &mut respond, rest).await {
                reply::say(&mut respond, reply, to_head, shared.limits.last_words).await;
            }
            CallOutcome::Done
        }
        Begin::Bytes(bytes) => {
            if let Ok(sink) = respond.send_response(message_io::head(), false) {
                drop(respond);
                bytes.run(MessageIo::of_client(body, sink)).await;
            }
            CallOutcome::Done
        }
        Begin::Exchange(exchange) => {
            let mut client = Client { body, respond, answer: None };
            let running = Running::new(exchange);
            match relay(shared, &running, asked, &mut client).await {
                Ok(()) => CallOutcome::Done,
                Err(stop) => client.stop(stop, &running, shared).await,
            }
        }
    }
}

/// The client's half of a call.
struct Client {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    answer: Option<SendStream<Bytes>>,
}

/// Why a call ends otherwise than by the engine's answer.
enum Stop {
    /// By the client, with this reason.
    Client(Reason),
    Engine(h2::Error),
    /// The engine has done nothing of it, and the client may ask elsewhere.
    Untouched,
    Reply(H2Reply),
}

impl Client {
    async fn stop(mut self, stop: Stop, running: &Running, shared: &Shared) -> CallOutcome {
        let reply = match stop {
            Stop::Client(_) => {
                running.is_reset.store(true, Ordering::Relaxed);
                return match self.answer {
                    None => CallOutcome::GivenUp,
                    Some(_) => CallOutcome::Done,
                };
            }
            Stop::Engine(error) => match reset(&error) {
                Some(reason) => return self.reset(reason, running),
                None => gone(),
            },
            Stop::Untouched => return self.reset(Reason::REFUSED_STREAM, running),
            Stop::Reply(reply) => reply,
        };
        if let Some(code) = reply.code() {
            let _ = running.status.set(code);
        }
        match &mut self.answer {
            Some(answer) => reply::end(answer, &reply),
            None => {
                drop(self.body);
                reply::say(&mut self.respond, reply, false, shared.limits.last_words).await;
            }
        }
        CallOutcome::Done
    }

    fn reset(mut self, reason: Reason, running: &Running) -> CallOutcome {
        running.is_reset.store(true, Ordering::Relaxed);
        match &mut self.answer {
            Some(answer) => answer.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
        CallOutcome::Done
    }
}

/// What a stream is reset with whose other half failed so; none: the connection did.
fn reset(error: &h2::Error) -> Option<Reason> {
    match (error.is_reset(), error.is_remote()) {
        (true, true) => error.reason(),
        // Found malformed here.
        (true, false) => Some(Reason::INTERNAL_ERROR),
        _ => None,
    }
}

fn gone() -> H2Reply {
    H2Reply::grpc(UNAVAILABLE, "dockgate: the connection to the engine broke")
}

async fn relay(
    shared: &Shared,
    running: &Running,
    asked: Parts,
    client: &mut Client,
) -> Result<(), Stop> {
    let mut first = None;
    let reads = running.exchange.lock().await.reads();
    if let ReadsMessages::Unary(most) = reads {
        let only = pump::only(&mut client.body, most, &shared.held).await;
        let (message, permit) = only.map_err(Stop::asking)?;
        running.asked.store(message.len() as u64, Ordering::Relaxed);
        let judging = async { running.exchange.lock().await.request(message).await };
        let judged = unless_reset(&mut client.respond, judging).await?;
        match judged.map_err(Stop::Reply)? {
            Judged::Send(message) => first = Some((framed(&message), permit)),
            Judged::Answer(reply) => return Err(Stop::Reply(reply)),
        }
    }
    let link = unless_reset(&mut client.respond, shared.link.open()).await?;
    let link = link.map_err(|error| match error {
        NoLink::Failed(reply) => Stop::Reply(reply),
        NoLink::Left => Stop::Untouched,
    })?;
    let mut link = unless_reset(&mut client.respond, link.ready()).await?.map_err(Stop::unsent)?;
    let request = forwarded(asked, reads, running).await?;
    let is_end = first.is_none() && client.body.is_end_stream();
    let sent = link.send_request(request, is_end);
    // It keeps the connection open.
    drop(link);
    let (answer, mut up) = sent.map_err(Stop::unsent)?;
    let asking = (first, reads, is_end);
    let result = both(shared, running, asking, client, answer, &mut up).await;
    match &result {
        Ok(Some(reason)) | Err(Stop::Client(reason)) => up.send_reset(*reason),
        Err(Stop::Reply(_)) => up.send_reset(Reason::CANCEL),
        Ok(None) | Err(Stop::Engine(_) | Stop::Untouched) => {}
    }
    result.map(drop)
}

type First = Option<(Bytes, Option<OwnedSemaphorePermit>)>;

/// Both directions, to the end of each; the reason of a client that gave up saying more once it had heard all.
async fn both(
    shared: &Shared,
    running: &Running,
    (first, reads, is_end): (First, ReadsMessages, bool),
    client: &mut Client,
    answer: ResponseFuture,
    up: &mut SendStream<Bytes>,
) -> Result<Option<Reason>, Stop> {
    let Client { body, respond, answer: down } = client;
    let asking = async {
        match (first, reads) {
            (None, _) if is_end => Ok(()),
            (Some((message, _permit)), _) => {
                pump::send_all(up, message).await.map_err(Broken::Sink)?;
                up.send_data(Bytes::new(), true).map_err(Broken::Sink)
            }
            (None, ReadsMessages::Streamed) => {
                pump::stream(body, up, &running.asked, pump::as_they_are).await.map(drop)
            }
            (None, ReadsMessages::Unary(most) | ReadsMessages::Each(most)) => {
                let bounds = (most, &shared.held);
                let judge = |message| running.judge_request(message);
                let judge = (judge, pump::as_they_are);
                pump::judged(body, up, bounds, &running.asked, judge).await.map(drop)
            }
        }
    };
    let answering = answering(shared, running, respond, answer, down);
    tokio::pin!(asking, answering);
    let (mut asks, mut answers) = (true, true);
    let mut late = None;
    while answers || asks {
        tokio::select! {
            answered = &mut answering, if answers => {
                answered?;
                answers = false;
            }
            asked = &mut asking, if asks => {
                asks = false;
                match asked {
                    // The engine's stream has ended before the client's: its answer says how.
                    Ok(()) | Err(Broken::Sink(_)) => {}
                    // Nothing more is said to who has heard all.
                    Err(Broken::Source(error)) if !answers => late = error.reason(),
                    Err(broken) => return Err(Stop::asking(broken)),
                }
            }
        }
    }
    Ok(late)
}

async fn answering(
    shared: &Shared,
    running: &Running,
    respond: &mut SendResponse<Bytes>,
    answer: ResponseFuture,
    down: &mut Option<SendStream<Bytes>>,
) -> Result<(), Stop> {
    let answer = unless_reset(respond, answer).await?;
    let (mut head, mut source) = answer.map_err(Stop::unsent)?.into_parts();
    let reads = running.exchange.lock().await.reads_answer();
    if reads != ReadsMessages::Streamed && !is_readable(&head) {
        let message = "dockgate: the engine's answer is of a form that is not known";
        return Err(Stop::Reply(H2Reply::grpc(INTERNAL, message)));
    }
    running.status_of(&head.headers);
    let is_end = source.is_end_stream();
    if is_end {
        head.headers = running.fields(head.headers).await;
    }
    let sent = respond.send_response(Response::from_parts(head, ()), is_end);
    let down = down.insert(sent.map_err(|error| Stop::client(&error))?);
    if is_end {
        return Ok(());
    }
    let fields = match reads {
        ReadsMessages::Streamed => {
            pump::stream(&mut source, down, &running.answered, |fields| running.fields(fields))
                .await
        }
        ReadsMessages::Unary(most) | ReadsMessages::Each(most) => {
            let bounds = (most, &shared.held);
            let judge = (|message| running.judge_answer(message), |fields| running.fields(fields));
            pump::judged(&mut source, down, bounds, &running.answered, judge).await
        }
    };
    if let Some(fields) = fields.map_err(Stop::answering)? {
        running.status_of(&fields);
    }
    Ok(())
}

/// gRPC's own code (`google.rpc.Code`).
const INTERNAL: u8 = 13;

impl Stop {
    fn client(error: &h2::Error) -> Stop {
        Stop::Client(error.reason().unwrap_or(Reason::CANCEL))
    }

    fn asking(broken: Broken) -> Stop {
        match broken {
            Broken::Source(error) => Stop::client(&error),
            Broken::Sink(error) => Stop::Engine(error),
            Broken::Malformed(reply) | Broken::Refused(reply) => Stop::Reply(reply),
        }
    }

    fn answering(broken: Broken) -> Stop {
        match broken {
            Broken::Source(error) => Stop::Engine(error),
            Broken::Sink(error) => Stop::client(&error),
            Broken::Malformed(H2Reply::Grpc { message, .. }) => {
                Stop::Reply(H2Reply::grpc(INTERNAL, message))
            }
            Broken::Malformed(reply) | Broken::Refused(reply) => Stop::Reply(reply),
        }
    }

    /// Of a request that may not have reached the engine (RFC 9113 §6.8).
    fn unsent(error: h2::Error) -> Stop {
        let left = error.is_go_away() && error.is_remote();
        match left && error.reason() == Some(Reason::NO_ERROR) {
            true => Stop::Untouched,
            false => Stop::Engine(error),
        }
    }
}

/// Whether what comes are messages that can be read.
fn is_readable(head: &http::response::Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    let encoding = head.headers.get("grpc-encoding").map(|encoding| encoding.as_bytes());
    head.status == StatusCode::OK
        && kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
        && matches!(encoding, None | Some(b"identity"))
}

async fn forwarded(
    asked: Parts,
    reads: ReadsMessages,
    running: &Running,
) -> Result<Request<()>, Stop> {
    let mut headers = asked.headers;
    // The others that name the connection have been refused (RFC 9113 §8.2.2).
    for name in [header::HOST, header::TE, header::CONTENT_LENGTH, header::EXPECT] {
        headers.remove(name);
    }
    headers.remove("grpc-accept-encoding");
    if reads != ReadsMessages::Streamed {
        headers.remove("grpc-encoding");
    }
    let other = {
        let mut exchange = running.exchange.lock().await;
        exchange.metadata(&mut headers);
        exchange.path()
    };
    headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    let authority = asked.uri.authority().map_or("localhost", |authority| authority.as_str());
    let path = other.unwrap_or(asked.uri.path());
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path);
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    *request.uri_mut() = uri.build().map_err(|_| Stop::Reply(gone()))?;
    Ok(request)
}

/// Something that takes time, unless its client gives the call up meanwhile.
async fn unless_reset<T>(
    respond: &mut SendResponse<Bytes>,
    doing: impl Future<Output = T>,
) -> Result<T, Stop> {
    tokio::select! {
        biased;
        reset = poll_fn(|cx| respond.poll_reset(cx)) => {
            Err(Stop::Client(reset.unwrap_or(Reason::CANCEL)))
        }
        done = doing => Ok(done),
    }
}
