//! How clients are spoken to: HTTP/1.1 and HTTP/2, plain and over TLS.
//!
//! `run` watches the listening sockets in each worker and hands connections to `connection`. What
//! must stay true: a request that cannot be understood in one way only gets 400 and the end of its
//! connection; whatever a client does or does not do, it holds up nobody else.

mod h1;
mod h2;
mod progress;
pub mod tls;
mod write;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::{SocketFlags, sockopt};
use rustls::Connection;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Cache;
use super::key::Scheme;
use crate::wire::io::{FIRST_BYTES, Stream, watch};
pub(super) use write::head_of;

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// A peer behind a NAT that forgot the connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Of one cache at a time; more wait in the backlog.
const MOST_CONNECTIONS: usize = 16 * 1024;

/// A listening socket of a cache.
#[derive(Debug)]
pub struct CacheListener {
    cache: Arc<Cache>,
    tls: Option<Arc<rustls::ServerConfig>>,
    open: AtomicUsize,
    drain: CancellationToken,
    tasks: TaskTracker,
}

/// What every request of a connection shares.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub scheme: Scheme,
    /// Asked for in the handshake.
    pub server_name: Option<Arc<str>>,
    pub tenant: Arc<str>,
}

impl CacheListener {
    pub fn new(
        cache: Arc<Cache>,
        tls: Option<Arc<rustls::ServerConfig>>,
        drain: CancellationToken,
        tasks: TaskTracker,
    ) -> CacheListener {
        CacheListener { cache, tls, open: AtomicUsize::new(0), drain, tasks }
    }

    /// Accepts, in one worker, until the cache drains.
    pub async fn serve(self: Arc<CacheListener>, socket: OwnedFd) -> io::Result<()> {
        // Connections inherit it from the socket that they come from (tcp(7)).
        prepare(&socket)?;
        let watched = watch(socket, Interest::READABLE)?;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.drain.cancelled() => return Ok(()),
                accepted = accept(&watched), if self.has_room() => accepted,
                () = tokio::time::sleep(Duration::from_millis(50)), if !self.has_room() => continue,
            };
            match accepted {
                Ok((stream, peer)) => self.take_in(stream, peer),
                Err(error) => {
                    // A peer that left, or no descriptors: trying at once would only burn time.
                    tracing::debug!(%error, "a connection of the cache was lost");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < MOST_CONNECTIONS
    }

    fn take_in(self: &Arc<CacheListener>, stream: Stream, peer: Option<SocketAddr>) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let listener = Arc::clone(self);
        self.tasks.spawn(async move {
            listener.connection(stream, peer).await;
            listener.open.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn connection(&self, mut stream: Stream, peer: Option<SocketAddr>) {
        let tenant = self.cache.tenant(peer.map(|peer| without_mapping(peer.ip())));
        let Some(tls) = &self.tls else {
            let caller = Caller { scheme: Scheme::Http, server_name: None, tenant };
            return h1::connection(&self.cache, stream, caller, &self.drain).await;
        };
        // A client that speaks first and plainly is told so; it could not read an alert.
        if matches!(tokio::time::timeout(HANDSHAKE_TIME, stream.peek()).await, Ok(Ok(Some(first))) if first != tls::HANDSHAKE)
        {
            return h1::speak_plainly(stream).await;
        }
        let Ok(conn) = rustls::ServerConnection::new(Arc::clone(tls)) else { return };
        let shaken = stream.secure(Connection::Server(conn));
        match tokio::time::timeout(HANDSHAKE_TIME, Box::pin(shaken)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!(client = ?peer, %error, "no TLS connection"),
            Err(_) => return tracing::debug!(client = ?peer, "the TLS handshake took too long"),
        }
        let server_name = stream.server_name().map(Arc::from);
        let caller = Caller { scheme: Scheme::Https, server_name, tenant };
        match stream.protocol() {
            Some(protocol) if protocol == b"h2" => {
                h2::connection(&self.cache, stream, caller, &self.drain).await;
            }
            _ => h1::connection(&self.cache, stream, caller, &self.drain).await,
        }
    }
}

/// Small answers go out at once; a peer that vanished is noticed; one that reads nothing costs little.
fn prepare(socket: impl AsFd + Copy) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE)?;
    sockopt::set_socket_send_buffer_size(socket, FIRST_BYTES).map_err(io::Error::from)
}

async fn accept(watched: &AsyncFd<OwnedFd>) -> io::Result<(Stream, Option<SocketAddr>)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, address) = watched
        .async_io(Interest::READABLE, |listener| Ok(rustix::net::acceptfrom_with(listener, flags)?))
        .await?;
    // It was made before the socket was prepared, and has waited: each answer of it would be 40 ms late.
    if !sockopt::tcp_nodelay(&socket).unwrap_or(true) {
        prepare(&socket)?;
    }
    let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
    Ok((Stream::new(socket)?, peer))
}

/// `::ffff:10.0.0.1` is 10.0.0.1.
fn without_mapping(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_set_up_whenever_it_was_made() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let before = std::net::TcpStream::connect(address).unwrap();
        prepare(&socket).unwrap();
        let after = std::net::TcpStream::connect(address).unwrap();
        let watched = watch(socket.into(), Interest::READABLE).unwrap();
        for client in [before, after] {
            let (stream, peer) = accept(&watched).await.unwrap();
            assert_eq!(peer, client.local_addr().ok());
            assert!(sockopt::tcp_nodelay(&stream).unwrap());
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            // The kernel counts its own expenses, too.
            assert_eq!(sockopt::socket_send_buffer_size(&stream).unwrap(), 2 * FIRST_BYTES);
        }
    }
}
