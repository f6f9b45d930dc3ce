//! HTTP/2 ended here on both sides: who asks speaks with us, and we speak with whoever is asked.
//!
//! `gateway` calls `serve` for a client's `/grpc`, for a session (where the engine asks and the client's
//! process answers), and for HTTP/2 without an upgrade. What must stay true: a request goes on only as its
//! `Judge` says; each stream ends as its other half did (trailers, reset with its reason); a stream that waits
//! holds up no other one; an idle connection with open streams is never cut.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::call::{self, CallOutcome, Shared};
pub use super::limits::H2Limits;
pub use super::message_io::{ByteStream, MessageIo};
pub use super::messages::ReadsMessages;
pub use super::reply::H2Reply;
pub use super::rest::Rest;
pub use super::upstream::{Link, OfAnother, OpenAlready, OpensLate, Upstream};
pub use super::wellformed::is_grpc;

pub trait AsyncIo: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite + ?Sized> AsyncIo for T {}

pub type Io<'io> = Box<dyn AsyncIo + Send + Unpin + 'io>;

/// Who says what becomes of each request.
pub trait Judge: Send + Sync + 'static {
    /// By its head alone, which is well formed: a `POST` to `/service/method` with a content type of gRPC, or
    /// a REST request.
    fn begin<'a>(&'a self, asked: &'a http::request::Parts) -> BoxFuture<'a, Begin>;
}

/// What becomes of a request.
pub enum Begin {
    /// We answer; its body is not read.
    Answer(H2Reply),
    /// A gRPC call that goes on.
    Exchange(Box<dyn Exchange>),
    /// A gRPC call that carries bytes, taken over by us.
    Bytes(Box<dyn ByteStream>),
    /// A REST request that goes on in HTTP/1.1.
    Rest(Box<dyn Rest>),
}

/// What becomes of a message of the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Send(Bytes),
    /// The call ends with this, and nothing more goes on.
    Answer(H2Reply),
}

/// One gRPC call on its way.
pub trait Exchange: Send {
    /// How the client's messages are seen.
    fn reads(&self) -> ReadsMessages;
    /// What becomes of one of them.
    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>>;
    /// What goes on of the request's fields: without those of the connection, `content-length` and what says
    /// how messages may be compressed. Asked once, before anything goes on, and after `request` of a
    /// `ReadsMessages::Unary`.
    fn metadata(&mut self, headers: &mut HeaderMap);
    /// Another method that is asked in the place of this one, after `request`; it has the same fields.
    fn path(&self) -> Option<&'static str> {
        None
    }
    /// How the messages of the answer are seen; `Unary` is as `Each`.
    fn reads_answer(&self) -> ReadsMessages;
    /// What becomes of one of them; none: it is dropped.
    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>>;
    /// What goes on of the fields that end an answer: how the call went.
    fn fields(&mut self, _: &mut HeaderMap) {}
    /// Told once, at the end, whichever way it came.
    fn ended(&mut self, how: CallEnd);
}

/// How a call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallEnd {
    /// gRPC's code, where one was said.
    pub status: Option<u8>,
    /// Of the client's DATA.
    pub asked_bytes: u64,
    /// Of the answer's DATA.
    pub answered_bytes: u64,
    /// Whether it was cut off, by either side.
    pub is_reset: bool,
}

/// Serves `server`, the side that asks, to its end.
pub async fn serve<'io>(
    server: Io<'io>,
    upstream: Box<dyn Upstream<'io> + 'io>,
    judge: Arc<dyn Judge>,
    drain: &CancellationToken,
    limits: H2Limits,
) {
    serve_linked(server, (upstream, Arc::default()), judge, drain, limits).await;
}

/// The same, where others may ask over the same connection as long as it lasts.
pub async fn serve_linked<'io>(
    server: Io<'io>,
    (mut upstream, link): (Box<dyn Upstream<'io> + 'io>, Arc<Link>),
    judge: Arc<dyn Judge>,
    drain: &CancellationToken,
    limits: H2Limits,
) {
    let handshake = async {
        match limits.first_request {
            Some(patience) => timeout(patience, limits.server().handshake(server)).await.ok(),
            None => Some(limits.server().handshake(server).await),
        }
    };
    let shaken = tokio::select! {
        biased;
        shaken = handshake => shaken,
        () = drain.cancelled() => None,
    };
    let Some(Ok(mut connection)) = shaken else { return };
    let shared = Shared::new(judge, link, limits);
    let limits = &shared.limits;
    let mut driving = Box::pin(shared.link.drive(&mut *upstream, limits));
    let mut leaving = Box::pin(leave(&shared, drain));
    let (mut drives, mut leaves) = (true, false);
    let mut calls = FuturesUnordered::new();
    let mut credit = limits.early_resets;
    let mut quiet_until = limits.first_request.map(|patience| Instant::now() + patience);
    let wait = async |until: Option<Instant>| match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    };
    loop {
        tokio::select! {
            biased;
            () = &mut leaving, if !leaves => {
                leaves = true;
                connection.graceful_shutdown();
                if calls.is_empty() {
                    quiet_until = Some(Instant::now() + limits.last_words);
                }
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    quiet_until = None;
                    calls.push(call::serve(&shared, request, respond));
                }
                Some(Err(_)) | None => break,
            },
            Some(outcome) = calls.next(), if !calls.is_empty() => {
                credit = match outcome {
                    CallOutcome::Done => (credit + 1).min(limits.early_resets),
                    CallOutcome::GivenUp => credit.saturating_sub(1),
                };
                if credit == 0 {
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                let patience = if leaves { Some(limits.last_words) } else { limits.between_requests };
                if calls.is_empty() {
                    quiet_until = patience.map(|patience| Instant::now() + patience);
                }
            }
            () = &mut driving, if drives => drives = false,
            () = wait(quiet_until) => {
                if leaves {
                    break;
                }
                leaves = true;
                connection.graceful_shutdown();
                quiet_until = Some(Instant::now() + limits.last_words);
            }
        }
    }
    drop(connection);
    shared.link.leave();
    // Calls see that their client is gone, and the engine hears it of each.
    let last_words = async {
        loop {
            tokio::select! {
                _ = calls.next(), if !calls.is_empty() => {}
                () = &mut driving, if drives => drives = false,
                else => return,
            }
        }
    };
    let _ = timeout(limits.last_words, last_words).await;
}

async fn leave(shared: &Shared, drain: &CancellationToken) {
    tokio::select! {
        () = shared.link.leaves() => {}
        () = drain.cancelled() => {}
    }
}
