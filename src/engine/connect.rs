//! Where the engine is, and how to get there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::TcpStream;

use crate::wire::io::Stream;

const RETRY: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("`{0}` is not an address of an engine: expected `unix:///path` or `tcp://host:port`")]
    Form(String),
    #[error("`{0}`: TLS to the engine is not built yet")]
    Tls(String),
}

impl Address {
    pub fn parse(url: &str) -> Result<Address, BadAddress> {
        let form = || BadAddress::Form(url.to_owned());
        match url.split_once("://").ok_or_else(form)? {
            ("unix", path) if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
            ("tcp", rest) => {
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                match rest.rsplit_once(':') {
                    Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                        Ok(Address::Tcp(rest.to_owned()))
                    }
                    _ => Err(form()),
                }
            }
            ("tls" | "https", _) => Err(BadAddress::Tls(url.to_owned())),
            _ => Err(form()),
        }
    }

    pub async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Unix(path) => connect_unix(path).await,
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::new(stream.into_std()?.into())
            }
        }
    }
}

async fn connect_unix(path: &Path) -> io::Result<Stream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Stream::new(socket),
            // The engine's backlog is full, and no event tells when it is not; the caller has a
            // time limit.
            Err(rustix::io::Errno::AGAIN) => tokio::time::sleep(RETRY).await,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_with_a_place_in_it() {
        assert_eq!(Address::parse("unix:///run/x").unwrap(), Address::Unix("/run/x".into()));
        assert_eq!(Address::parse("tcp://[::1]:2375/").unwrap(), Address::Tcp("[::1]:2375".into()));
        for bad in ["/run/x", "unix://run/x", "tcp://host", "tcp://:1", "http://x:1", "tcp://h:x"] {
            assert!(matches!(Address::parse(bad), Err(BadAddress::Form(_))), "{bad}");
        }
        assert!(matches!(Address::parse("tls://h:2376"), Err(BadAddress::Tls(_))));
    }
}
