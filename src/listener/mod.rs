//! Sockets in: binding them, and handing each connection to the gateway.
//!
//! `run` opens every listener before it serves any. What must stay true: a socket of another living
//! process is never taken away, the connections of a listener are bounded, and an error of one
//! connection never ends the listener.

mod tcp;
mod unix;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::auth::{Caller, Peer};
use crate::config;
use crate::gateway::{self, House};
use crate::wire::io::{Stream, watch};

/// A bound socket; the file of a unix socket goes when the last copy of this goes.
#[derive(Clone, Debug)]
pub struct Listener {
    socket: Arc<OwnedFd>,
    kind: Kind,
    url: String,
    connections: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
enum Kind {
    Unix { _file: Arc<unix::SocketFile> },
    Tcp,
}

impl Listener {
    pub fn bind(config: &config::Listener) -> io::Result<Listener> {
        let (socket, kind, url) = match &config.bind {
            config::Bind::Unix { path, mode, owner, group } => {
                let (socket, file) = unix::bind(path, *mode, *owner, *group)?;
                let url = format!("unix://{}", path.display());
                (socket, Kind::Unix { _file: Arc::new(file) }, url)
            }
            config::Bind::Tcp { address } => {
                let (socket, address) = tcp::bind(address)?;
                (socket, Kind::Tcp, format!("tcp://{address}"))
            }
            config::Bind::Inherited { .. } => return Err(io::ErrorKind::Unsupported.into()),
        };
        let connections = Arc::new(Semaphore::new(config.max_connections));
        Ok(Listener { socket: Arc::new(socket), kind, url, connections })
    }

    /// Where it listens, as clients would write it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Begins to watch the socket, in the worker that will accept from it.
    pub fn watch(self) -> io::Result<Acceptor> {
        let watched = watch(self.socket.try_clone()?, Interest::READABLE)?;
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
    /// Accepts until the house drains.
    pub async fn serve(self, house: Arc<House>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = house.drain.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.hand_over(&house, stream, peer),
                Err(error) => {
                    // Out of descriptors, or a peer that left at once: the next one may do better.
                    tracing::warn!(listener = %house.listener, %error, "a connection was lost");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = self
            .watched
            .async_io(Interest::READABLE, |listener| Ok(rustix::net::accept_with(listener, flags)?))
            .await?;
        let peer = match self.listener.kind {
            Kind::Unix { .. } => unix::peer(&socket),
            Kind::Tcp => tcp::peer(&socket)?,
        };
        Ok((Stream::new(socket)?, peer))
    }

    fn hand_over(&self, house: &Arc<House>, stream: Stream, peer: Peer) {
        let house = Arc::clone(house);
        match Arc::clone(&self.listener.connections).try_acquire_owned() {
            Ok(permit) => {
                let tasks = house.tasks.clone();
                let caller = Caller::new(peer, Vec::new());
                tasks.spawn(gateway::connection(house, stream, caller, permit));
            }
            Err(_) => {
                tracing::warn!(listener = %house.listener, %peer, "too many connections");
                house.tasks.clone().spawn(gateway::turn_away(house, stream));
            }
        }
    }
}
