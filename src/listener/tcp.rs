//! TCP listeners.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
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

/// Of a listening socket, which its connections inherit (tcp(7)): small answers go out at once, and a peer
/// that vanished is noticed.
pub(super) fn prepare(socket: impl AsFd + Copy) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE)?;
    // The last: who has it has the others.
    sockopt::set_tcp_nodelay(socket, true).map_err(io::Error::from)
}

/// Sees to it that an accepted connection is set up, and says whose it is.
///
/// The address is from `accept`: a connection that is reset already has none any more.
pub(super) fn peer(socket: &OwnedFd, address: Option<SocketAddrAny>) -> io::Result<Peer> {
    // It was made before the listening socket was prepared, and has waited: each answer would be 40 ms late.
    if !sockopt::tcp_nodelay(socket).unwrap_or(true) {
        prepare(socket)?;
    }
    let address = address.map(SocketAddr::try_from);
    Ok(address.and_then(Result::ok).map_or(Peer::Unknown, Peer::Tcp))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_is_set_up_whenever_it_was_made() {
        let (socket, address) = bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(false).unwrap();
        let before = TcpStream::connect(address).unwrap();
        prepare(&listener).unwrap();
        let after = TcpStream::connect(address).unwrap();
        for client in [before, after] {
            let (accepted, from) = listener.accept().unwrap();
            let accepted = OwnedFd::from(accepted);
            assert_eq!(
                peer(&accepted, Some(from.into())).unwrap(),
                Peer::Tcp(client.local_addr().unwrap())
            );
            assert!(sockopt::tcp_nodelay(&accepted).unwrap());
            assert!(sockopt::socket_keepalive(&accepted).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), KEEP_ALIVE);
        }
    }
}
