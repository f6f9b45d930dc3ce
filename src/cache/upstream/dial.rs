//! A TCP connection to a name: resolve, judge, connect.
//!
//! `connect` uses it. Names are resolved by the system (`getaddrinfo`: `/etc/hosts`, then
//! `resolv.conf` with its options), on a thread that may block. What must stay true: the guard sees
//! each address, and the connection is made to that address; the name is not resolved a second time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fault::Fault;
use super::guard::{Guard, bare};

/// `guard`: none for a proxy, which the operator named.
pub(super) async fn dial(host: &str, port: u16, guard: Option<&Guard>) -> Result<TcpStream, Fault> {
    let found = resolve(host, port).await?;
    let (permitted, refused): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| guard.is_none_or(|guard| guard.permits(address.ip())));
    match (permitted.is_empty(), refused.first()) {
        (true, Some(first)) => {
            let why = format!("its address is {}", first.ip());
            Err(Fault::AddressRefused { host: host.to_owned(), why })
        }
        _ => {
            let stream = connect(in_turns(permitted)).await;
            stream.map_err(|error| Fault::Connect { host: host.to_owned(), why: error.to_string() })
        }
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    let name = bare(host);
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((name, port)).await;
    found
        .map(Iterator::collect)
        .map_err(|error| Fault::Name { host: host.to_owned(), why: error.to_string() })
}

/// The families by turns, that of the first address first (RFC 8305 §4).
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// To whichever address answers first; the next one is tried when one fails, or is slow (RFC 8305
/// §5).
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut trying = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    loop {
        if let Some(address) = waiting.next() {
            trying.spawn(TcpStream::connect(address));
        }
        // The rest of them at their own pace.
        let patience = if waiting.len() > 0 { HEAD_START } else { Duration::MAX };
        match timeout(patience, trying.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => {
                stream.set_nodelay(true)?;
                // An origin that reads slowly is seen to read. Refused, it stays as it is.
                let _ = sockopt::set_socket_send_buffer_size(&stream, UPLOAD_BYTES);
                return Ok(stream);
            }
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(error))) => failure = io::Error::other(error),
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

/// Of a request's body, in the kernel.
const UPLOAD_BYTES: usize = 128 << 10;
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"].map(address);
        assert_eq!(in_turns(vec![a, b, c, d]), [a, d, b, c]);
        assert_eq!(in_turns(vec![d, a]), [d, a]);
        assert_eq!(in_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![closed, open.local_addr().unwrap()];
        let stream = connect(addresses).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.local_addr().unwrap());
    }

    #[tokio::test]
    async fn all_refusals_are_a_failure() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = connect(vec![closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let guard = Guard::new(Vec::new());
        for host in ["localhost", "127.0.0.1", "[::1]", "127.1", "0x7f.1"] {
            let fault = dial(host, 9, Some(&guard)).await.unwrap_err();
            assert!(matches!(fault, Fault::AddressRefused { .. }), "{host}: {fault:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_name_is_named() {
        let fault = dial("does-not-exist.invalid", 80, None).await.unwrap_err();
        assert_eq!(fault.name(), "name-not-resolved");
    }
}
