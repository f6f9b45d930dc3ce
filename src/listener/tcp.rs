//! TCP listeners.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{SocketAddrAny, sockopt};

use crate::auth::Peer;

/// As the docker CLI sets it: a peer behind a NAT that forgot the connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub(super) fn bind(address: &str) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let bound = socket.local_addr()?;
    Ok((socket.into(), bound))
}

/// Sets an accepted connection up and says whose it is.
///
/// The address is from `accept`: a connection that is reset already has none any more.
pub(super) fn peer(socket: &OwnedFd, address: Option<SocketAddrAny>) -> io::Result<Peer> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE)?;
    let address = address.map(SocketAddr::try_from);
    Ok(address.and_then(Result::ok).map_or(Peer::Unknown, Peer::Tcp))
}
