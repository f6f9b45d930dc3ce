//! Sockets in: binding or inheriting them, TLS, and handing each connection to the service behind it.
//!
//! `run` opens every listener before it serves any; the `gateway` and the `cache` are services. What must
//! stay true: a socket of another living process is never taken away, the connections of a listener are
//! bounded, and neither an error nor a panic of one connection ends the listener or keeps a place in it.

mod connections;
mod folder;
mod inherited;
mod service;
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

use crate::auth::Peer;
use crate::config::Bind;
use crate::wire::buffer::Buffer;
use crate::wire::io::{Stream, watch};
use crate::wire::linger::linger;
use connections::Connections;
pub use service::{Incoming, Permit, Service, Serving};
use tls::{NoHandshake, Server};

/// How many connections too many are told so at one time; the others are only closed.
const MOST_TOLD: usize = 64;
/// How long one that nobody serves may take to read why.
const PATIENCE: Duration = Duration::from_secs(2);

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
        if let Kind::Tcp(_) = kind {
            tcp::prepare(&fd)?;
        }
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

    /// The address by which other machines reach it, if they do.
    pub fn beyond_loopback(&self) -> Option<SocketAddr> {
        match self.kind {
            Kind::Tcp(address) if !address.ip().is_loopback() => Some(address),
            Kind::Tcp(_) | Kind::Unix { .. } => None,
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

    /// Removes the socket's file now, unless it is another process's: nobody connects any more.
    pub fn remove(&self) {
        if let Kind::Unix { file: Some(file) } = &self.kind {
            file.remove();
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

/// A socket, and what its connections go through before they are the service's.
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
    pub fn new(socket: Socket, max_connections: usize, tls: Option<Arc<Server>>) -> Listener {
        let connections = Connections::new(max_connections);
        let settings = Arc::new(ConnectionSettings {
            tls: ArcSwapOption::new(tls),
            connections,
            told: Connections::new(MOST_TOLD),
        });
        Listener { socket, settings }
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
    pub fn change(&self, max_connections: usize, tls: Option<Arc<Server>>) {
        self.settings.tls.store(tls);
        self.settings.connections.allow(max_connections);
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
    /// Accepts until the service drains.
    pub async fn serve(self, service: Arc<dyn Service>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = service.drain().cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.hand_over(&service, stream, peer),
                // Nobody is accepted for a while, and trying at once would only burn time.
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(listener = %service.name(), %error, "no connection can be accepted");
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

    fn hand_over(&self, service: &Arc<dyn Service>, stream: Stream, peer: Peer) {
        let settings = &self.listener.settings;
        let Some(permit) = settings.connections.take() else {
            tracing::warn!(listener = %service.name(), %peer, "too many connections");
            return turn_away(settings, service, stream);
        };
        let incoming = Incoming { stream, peer, generation: service.generation(), permit };
        let serving = Arc::clone(service);
        // After the generation: authorities that are newer than it are only asked once more.
        match settings.tls.load_full() {
            Some(server) => service.tasks().spawn(secured(server, serving, incoming)),
            None => service.tasks().spawn(serving.serve(incoming)),
        };
    }
}

/// Says no where the client can understand it, which takes a while and a descriptor.
fn turn_away(settings: &ConnectionSettings, service: &Arc<dyn Service>, stream: Stream) {
    if settings.tls.load().is_some() {
        return;
    }
    let Some(permit) = settings.told.take() else { return };
    let answer = service.too_many_connections();
    service.tasks().spawn(async move {
        say_and_close(stream, &answer).await;
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
async fn secured(server: Arc<Server>, service: Arc<dyn Service>, mut incoming: Incoming) {
    // Boxed: a connection does not keep the room that its handshake took.
    let shaken = Box::pin(server.accept(&mut incoming.stream)).await;
    drop(server);
    match shaken {
        Ok(()) => {
            service.shaken("ok");
            let tasks = service.tasks().clone();
            tasks.spawn(service.serve(incoming));
        }
        Err(why) => {
            service.shaken(why.kind());
            let client = &incoming.peer;
            tracing::warn!(listener = %service.name(), %client, "no TLS connection: {why}");
            match why {
                NoHandshake::PlainHttp => {
                    say_and_close(incoming.stream, &service.plain_http()).await;
                }
                // The alert must be read before a reset takes it away.
                NoHandshake::Protocol(_) => {
                    say_and_close(incoming.stream.into_plain(), &[]).await;
                }
                NoHandshake::TooSlow | NoHandshake::Left | NoHandshake::Connection(_) => {}
            }
        }
    }
}

/// To a client that nobody serves, and which may be sending something.
async fn say_and_close(mut stream: Stream, answer: &[u8]) {
    let (mut reader, mut writer) = stream.split();
    writer.be_patient(PATIENCE);
    if writer.write_all(answer).await.is_ok() {
        linger(&mut reader, &mut writer, &mut Buffer::new()).await;
    }
}

#[cfg(test)]
mod tests;
