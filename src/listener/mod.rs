//! Sockets in: binding or inheriting them, TLS, and handing each connection to the gateway.
//!
//! `run` opens every listener before it serves any. What must stay true: a socket of another living
//! process is never taken away, the connections of a listener are bounded, and an error of one
//! connection never ends the listener.

mod connections;
mod inherited;
mod tcp;
pub mod tls;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::auth::{Caller, Peer};
use crate::config::{self, Bind};
use crate::gateway::{self, ListenerHandle, ListenerState, Trust};
use crate::wire::io::{Stream, watch};
use connections::{Connections, Permit};
use tls::{NoHandshake, Server};

/// How many connections too many are told so at one time; the others are only closed.
const MOST_TOLD: usize = 64;

/// A bound socket; the file of a unix socket goes when the last copy of this goes.
#[derive(Clone, Debug)]
pub struct Socket {
    fd: Arc<OwnedFd>,
    kind: Kind,
    /// `unix:///path` or `tcp://address:port`, where it really is.
    place: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Unix { file: Option<Arc<unix::SocketFile>> },
    Tcp(SocketAddr),
}

impl Socket {
    /// Opens a socket, or takes the one that another process had open for the same purpose.
    pub fn open(bind: &Bind, inherited: Option<OwnedFd>) -> io::Result<Socket> {
        let (fd, kind) = match (inherited, bind) {
            (Some(socket), _) => inherited::adopt(socket, bind)?,
            (None, Bind::Unix { path, mode, owner, group }) => {
                let (socket, file) = unix::bind(path, *mode, *owner, *group)?;
                (socket, Kind::Unix { file: Some(Arc::new(file)) })
            }
            (None, Bind::Tcp { address }) => {
                let (socket, address) = tcp::bind(address)?;
                (socket, Kind::Tcp(address))
            }
            (None, Bind::Inherited { name }) => return Err(inherited::missing(name)),
        };
        let place = match bind {
            Bind::Unix { path, .. } => format!("unix://{}", path.display()),
            _ => inherited::place_of(&fd)?.to_string(),
        };
        Ok(Socket { fd: Arc::new(fd), kind, place })
    }

    /// Where it listens.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Unix { .. })
    }

    /// Whether it may serve for this listener, before anything of it is done.
    pub fn suits(&self, config: &config::Listener) -> io::Result<()> {
        match self.kind {
            Kind::Tcp(address) => inherited::refuse_open(address, config),
            Kind::Unix { .. } => Ok(()),
        }
    }

    /// Takes from the file's mode what the new one does not have, before the new rules stand.
    pub fn tighten(&self, bind: &Bind) -> io::Result<()> {
        match (&self.kind, bind) {
            (Kind::Unix { file: Some(file) }, Bind::Unix { mode, owner, group, .. }) => {
                file.tighten(*mode, *owner, *group)
            }
            _ => Ok(()),
        }
    }

    /// Sets mode and owner of the file, now that the new rules stand.
    pub fn settle(&self, bind: &Bind) -> io::Result<()> {
        match (&self.kind, bind) {
            (Kind::Unix { file: Some(file) }, Bind::Unix { mode, owner, group, .. }) => {
                file.set(*mode, *owner, *group)
            }
            _ => Ok(()),
        }
    }

    /// Removes the file at the end: it is nobody else's any more.
    pub fn own(&self) {
        if let Kind::Unix { file: Some(file) } = &self.kind {
            file.own();
        }
    }

    /// Leaves the socket's file where it is at the end: another process goes on listening.
    pub fn leave(&self) {
        if let Kind::Unix { file: Some(file) } = &self.kind {
            file.leave();
        }
    }

    /// Whether clients can find it: what is wrong otherwise.
    pub fn is_reachable(&self) -> Result<(), String> {
        match &self.kind {
            Kind::Unix { file: Some(file) } if !file.is_there() => {
                Err("its socket file is gone or replaced".to_owned())
            }
            Kind::Unix { .. } | Kind::Tcp(_) => Ok(()),
        }
    }

    /// Another descriptor of the same socket.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket, and what its connections go through before they are the gateway's.
#[derive(Clone, Debug)]
pub struct Listener {
    socket: Socket,
    settings: Arc<ConnectionSettings>,
}

/// What a reload may change while the socket stays.
#[derive(Debug)]
struct ConnectionSettings {
    tls: ArcSwapOption<Server>,
    connections: Connections,
    /// Of those that are told that they are too many.
    told: Connections,
}

impl Listener {
    pub fn new(
        socket: Socket,
        config: &config::Listener,
        tls: Option<Arc<Server>>,
    ) -> io::Result<Listener> {
        socket.suits(config)?;
        let connections = Connections::new(config.max_connections);
        let settings = Arc::new(ConnectionSettings {
            tls: ArcSwapOption::new(tls),
            connections,
            told: Connections::new(MOST_TOLD),
        });
        Ok(Listener { socket, settings })
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Where it listens, as clients would write it.
    pub fn url(&self) -> String {
        match (self.socket.place.strip_prefix("tcp://"), &*self.settings.tls.load()) {
            (Some(address), Some(_)) => format!("tls://{address}"),
            _ => self.socket.place.clone(),
        }
    }

    /// Applies what may change without a new socket, to the connections that come.
    pub fn change(&self, config: &config::Listener, tls: Option<Arc<Server>>) {
        self.settings.tls.store(tls);
        self.settings.connections.allow(config.max_connections);
    }

    /// Begins to watch the socket, in the worker that will accept from it.
    pub fn watch(self) -> io::Result<Acceptor> {
        let watched = watch(self.socket.duplicate()?, Interest::READABLE)?;
        Ok(Acceptor { listener: self, watched })
    }
}

/// One worker's own watch on a listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    watched: AsyncFd<OwnedFd>,
}

impl Acceptor {
    /// Accepts until the listener drains.
    pub async fn serve(self, handle: Arc<ListenerHandle>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = handle.drain().cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.hand_over(&handle, stream, peer),
                // Nobody is accepted for a while, and trying at once would only burn time.
                Err(error) if is_exhausted(&error) => {
                    let listener = &handle.state().listener;
                    tracing::warn!(%listener, %error, "no connection can be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                // A peer that left at once: no reason to let others wait.
                Err(error) => tracing::debug!(%error, "a connection was lost"),
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, address) = self
            .watched
            .async_io(Interest::READABLE, |listener| {
                Ok(rustix::net::acceptfrom_with(listener, flags)?)
            })
            .await?;
        let peer = match self.listener.socket.kind {
            Kind::Unix { .. } => unix::peer(&socket),
            Kind::Tcp(_) => tcp::peer(&socket, address)?,
        };
        Ok((Stream::new(socket)?, peer))
    }

    fn hand_over(&self, handle: &Arc<ListenerHandle>, stream: Stream, peer: Peer) {
        let state = handle.state();
        let settings = &self.listener.settings;
        let Some(permit) = settings.connections.take() else {
            tracing::warn!(listener = %state.listener, %peer, "too many connections");
            return turn_away(settings, &state, stream);
        };
        let handle = Arc::clone(handle);
        let generation = state.generation;
        // After the generation: authorities that are newer than it are only asked once more.
        match settings.tls.load_full() {
            Some(server) => {
                state.tasks.spawn(secured(server, handle, stream, peer, generation, permit));
            }
            None => {
                let caller = Caller::new(peer, Vec::new());
                let connection = gateway::connection(handle, stream, caller, generation, permit);
                state.tasks.spawn(connection);
            }
        }
    }
}

/// Says no where the client can understand it, which takes a while and a descriptor.
fn turn_away(settings: &ConnectionSettings, state: &ListenerState, stream: Stream) {
    if settings.tls.load().is_some() {
        return;
    }
    let Some(permit) = settings.told.take() else { return };
    let listener = Arc::clone(&state.listener);
    state.tasks.spawn(async move {
        gateway::turn_away(&listener, stream).await;
        drop(permit);
    });
}

/// Whether it is the process or the machine that lacks something, and not the connection.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| lacks.iter().any(|lack| lack.raw_os_error() == code))
}

/// Shakes hands, and then is a connection like any other.
async fn secured(
    server: Arc<Server>,
    handle: Arc<ListenerHandle>,
    mut stream: Stream,
    peer: Peer,
    generation: u64,
    permit: Permit,
) {
    // Boxed: a connection does not keep the room that its handshake took.
    let shaken = Box::pin(server.accept(&mut stream)).await;
    drop(server);
    let state = handle.state();
    match shaken {
        Ok(certificates) => {
            state.tally.handshake("ok");
            let caller = Caller::new(peer, certificates);
            let tasks = state.tasks.clone();
            drop(state);
            tasks.spawn(gateway::connection(handle, stream, caller, generation, permit));
        }
        Err(why) => {
            state.tally.handshake(why.kind());
            tracing::warn!(listener = %state.listener, client = %peer, "no TLS connection: {why}");
            match why {
                NoHandshake::PlainHttp => gateway::speak_plainly(stream).await,
                // The alert must be read before a reset takes it away.
                NoHandshake::Protocol(_) => gateway::linger(stream.into_plain()).await,
                NoHandshake::TooSlow | NoHandshake::Left | NoHandshake::Connection(_) => {}
            }
        }
    }
}

impl Trust for Server {
    fn still_trusts(&self, certificates: &[rustls::pki_types::CertificateDer<'static>]) -> bool {
        Server::still_trusts(self, certificates)
    }
}
