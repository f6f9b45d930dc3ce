//! The connection towards which calls go: made when the first one needs it, and lost.
//!
//! `terminate` drives it beside the client's, `call` asks for it. What must stay true: a connection that fails
//! to be made is told to whoever waits for it, and tried again for the next one; one that was made and is gone
//! is not made again, since the client may have said things on it that the next one would not know.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::limits::H2Limits;
use super::reply::H2Reply;
use super::terminate::Io;
use crate::wire::io::{HyperStream, Stream};

/// Makes the connection towards which requests go, when the first one needs it.
pub trait Upstream<'io>: Send {
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a;

    /// One that is open already, and driven by whoever has it.
    fn shared(&self) -> Option<Arc<Link>> {
        None
    }
}

/// The connection of another one, which ends with that one at the latest.
pub struct OfAnother(pub Arc<Link>);

impl<'io> Upstream<'io> for OfAnother {
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a,
    {
        Box::pin(ready(Err(gone())))
    }

    fn shared(&self) -> Option<Arc<Link>> {
        Some(Arc::clone(&self.0))
    }
}

/// A connection that is open already.
pub struct OpenAlready<'io>(pub Option<Io<'io>>);

impl<'io> Upstream<'io> for OpenAlready<'io> {
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a,
    {
        Box::pin(ready(self.0.take().ok_or_else(gone)))
    }
}

fn gone() -> H2Reply {
    H2Reply::grpc(UNAVAILABLE, "dockgate: the connection is gone")
}

/// One that is made when it is wanted, and kept in a place of the caller's that outlives it.
pub struct OpensLate<'io, F> {
    place: Option<&'io mut Option<Stream>>,
    patience: Duration,
    connect: F,
}

impl<'io, F> OpensLate<'io, F>
where
    F: FnMut() -> BoxFuture<'static, Result<Stream, H2Reply>> + Send,
{
    /// A write on it fails when the engine takes nothing for so long.
    pub fn new(
        place: &'io mut Option<Stream>,
        patience: Duration,
        connect: F,
    ) -> OpensLate<'io, F> {
        OpensLate { place: Some(place), patience, connect }
    }
}

impl<'io, F> Upstream<'io> for OpensLate<'io, F>
where
    F: FnMut() -> BoxFuture<'static, Result<Stream, H2Reply>> + Send,
{
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a,
    {
        Box::pin(async move {
            let stream = (self.connect)().await?;
            let stream = self.place.take().ok_or_else(gone)?.insert(stream);
            let io = TokioIo::new(HyperStream::new(stream, Vec::new(), self.patience));
            Ok(Box::new(io) as Io<'io>)
        })
    }
}

/// gRPC's own code (`google.rpc.Code`).
pub(super) const UNAVAILABLE: u8 = 14;

/// How long the other side may take to say the first of its words.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum State {
    Waits,
    Failed(H2Reply),
    Open(SendRequest<Bytes>),
    /// It takes no new requests any more.
    Leaves,
}

/// Why there is no connection.
pub(super) enum NoLink {
    Failed(H2Reply),
    /// Nothing of the request has been done: the client may ask again elsewhere.
    Left,
}

/// Where calls find the connection.
pub struct Link {
    wanted: Notify,
    state: watch::Sender<State>,
}

impl Default for Link {
    fn default() -> Link {
        Link { wanted: Notify::new(), state: watch::Sender::new(State::Waits) }
    }
}

impl Link {
    /// The connection, as soon as there is one.
    pub(super) async fn open(&self) -> Result<SendRequest<Bytes>, NoLink> {
        let mut states = self.state.subscribe();
        if let State::Waits | State::Failed(_) = &*states.borrow_and_update() {
            self.wanted.notify_one();
        } else {
            states.mark_changed();
        }
        loop {
            if states.changed().await.is_err() {
                return Err(NoLink::Left);
            }
            match &*states.borrow_and_update() {
                State::Waits => {}
                State::Failed(reply) => return Err(NoLink::Failed(reply.clone())),
                State::Open(link) => return Ok(link.clone()),
                State::Leaves => return Err(NoLink::Left),
            }
        }
    }

    /// Returns once the connection that was there takes nothing new.
    pub(super) async fn leaves(&self) {
        let mut states = self.state.subscribe();
        let _ = states.wait_for(|state| matches!(state, State::Leaves)).await;
    }

    /// Takes nothing new from now on.
    pub(super) fn leave(&self) {
        self.state.send_replace(State::Leaves);
    }

    /// Makes the connection when it is wanted, and drives it to its end.
    pub(super) async fn drive(&self, upstream: &mut dyn Upstream<'_>, limits: &H2Limits) {
        let io = loop {
            tokio::select! {
                () = self.wanted.notified() => {}
                () = self.leaves() => return,
            }
            if let Some(other) = upstream.shared() {
                return self.share(&other).await;
            }
            match upstream.connect().await {
                Ok(io) => break io,
                Err(reply) => {
                    // What was asked for meanwhile is answered with this.
                    let _ = self.wanted.notified().now_or_never();
                    self.state.send_replace(State::Failed(reply));
                }
            }
        };
        match timeout(HANDSHAKE, limits.client().handshake(io)).await {
            Ok(Ok((sender, connection))) => self.drive_open(sender, connection).await,
            Ok(Err(_)) | Err(_) => {
                let message = "dockgate: the engine does not speak HTTP/2";
                self.state.send_replace(State::Failed(H2Reply::grpc(UNAVAILABLE, message)));
            }
        }
        self.leave();
    }

    /// Calls go where those of the other go, until either takes nothing new.
    async fn share(&self, other: &Link) {
        let opened = tokio::select! {
            opened = other.open() => opened,
            () = self.leaves() => return,
        };
        match opened {
            Ok(sender) => {
                self.state.send_replace(State::Open(sender));
                tokio::select! {
                    () = other.leaves() => {}
                    () = self.leaves() => {}
                }
            }
            Err(NoLink::Failed(reply)) => drop(self.state.send_replace(State::Failed(reply))),
            Err(NoLink::Left) => {}
        }
        self.leave();
    }

    async fn drive_open(
        &self,
        mut sender: SendRequest<Bytes>,
        mut connection: h2::client::Connection<Io<'_>, Bytes>,
    ) {
        self.state.send_replace(State::Open(sender.clone()));
        let until_told = poll_fn(|cx| {
            let ended = connection.poll_unpin(cx).is_ready();
            // Fails from the moment on in which GOAWAY has come.
            let leaves = matches!(sender.poll_ready(cx), Poll::Ready(Err(_)));
            let left = matches!(&*self.state.borrow(), State::Leaves);
            if ended || leaves || left { Poll::Ready(ended) } else { Poll::Pending }
        });
        let ended = until_told.await;
        self.leave();
        drop(sender);
        if !ended {
            let _ = connection.await;
        }
    }
}
