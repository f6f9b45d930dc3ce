//! Sockets in: binding them, and handing each connection to the gateway.
//!
//! `run` opens every listener before it serves any. What must stay true: a socket of another living
//! process is never taken away, the connections of a listener are bounded, and an error of one
//! connection never ends the listener.

mod tcp;
mod unix;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::auth::Peer;
use crate::config;
use crate::gateway::{self, House};
use crate::wire::io::Stream;

/// A bound socket; the file of a unix socket goes when this goes.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    url: String,
    connections: Arc<Semaphore>,
}

#[derive(Debug)]
enum Socket {
    Unix { socket: UnixListener, _file: unix::SocketFile },
    Tcp(TcpListener),
}

impl Listener {
    pub async fn bind(config: &config::Listener) -> io::Result<Listener> {
        let (socket, url) = match &config.bind {
            config::Bind::Unix { path, mode, owner, group } => {
                let (socket, file) = unix::bind(path, *mode, *owner, *group).await?;
                (Socket::Unix { socket, _file: file }, format!("unix://{}", path.display()))
            }
            config::Bind::Tcp { address } => {
                let socket = tcp::bind(address).await?;
                let url = format!("tcp://{}", socket.local_addr()?);
                (Socket::Tcp(socket), url)
            }
        };
        let connections = Arc::new(Semaphore::new(config.max_connections));
        Ok(Listener { socket, url, connections })
    }

    /// Where it listens, as clients would write it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Accepts until the house drains; the socket is closed then.
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
        match &self.socket {
            Socket::Unix { socket, .. } => unix::accept(socket).await,
            Socket::Tcp(socket) => tcp::accept(socket).await,
        }
    }

    fn hand_over(&self, house: &Arc<House>, stream: Stream, peer: Peer) {
        let house = Arc::clone(house);
        match Arc::clone(&self.connections).try_acquire_owned() {
            Ok(permit) => {
                let tasks = house.tasks.clone();
                tasks.spawn(gateway::connection(house, stream, peer, permit));
            }
            Err(_) => {
                tracing::warn!(listener = %house.listener, %peer, "too many connections");
                house.tasks.clone().spawn(gateway::turn_away(house, stream));
            }
        }
    }
}
