//! TCP listeners.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::auth::Peer;
use crate::wire::io::Stream;

/// As the docker CLI sets it: a peer behind a NAT that forgot the connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub(super) async fn bind(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

pub(super) async fn accept(listener: &TcpListener) -> io::Result<(Stream, Peer)> {
    let (stream, address) = listener.accept().await?;
    tune(&stream)?;
    Ok((Stream::Tcp(stream), Peer::Tcp(address)))
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
    rustix::net::sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE)?;
    Ok(())
}
