//! Where the engine is, and how to get there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::TcpStream;

use super::tls;
use crate::config::{self, Invalid, Place};
use crate::wire::io::Stream;

const RETRY: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    Tls(String, Box<tls::TlsClient>),
}

impl Address {
    /// Reads the certificates that `tls://` needs; no network.
    pub fn new(engine: &config::Engine) -> Result<Address, Invalid> {
        let form = || {
            let what = format!("`{}` is not an address of an engine", engine.url);
            let hint = "use `unix:///path`, `tcp://host:port` or `tls://host:port`";
            Invalid::at(&Place::default(), what, hint)
        };
        match engine.url.split_once("://").ok_or_else(form)? {
            ("unix", path) if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
            (scheme @ ("tcp" | "tls"), rest) => {
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                let (host, port) = rest.rsplit_once(':').ok_or_else(form)?;
                if host.is_empty() || port.parse::<u16>().is_err() {
                    return Err(form());
                }
                if scheme == "tcp" {
                    return Ok(Address::Tcp(rest.to_owned()));
                }
                let client = tls::TlsClient::new(engine, host.trim_matches(['[', ']']))?;
                Ok(Address::Tls(rest.to_owned(), Box::new(client)))
            }
            _ => Err(form()),
        }
    }

    pub async fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Unix(path) => connect_unix(path).await,
            Address::Tcp(address) => connect_tcp(address).await,
            Address::Tls(address, client) => {
                let mut stream = connect_tcp(address).await?;
                client.secure(&mut stream).await.map_err(io::Error::other)?;
                Ok(stream)
            }
        }
    }
}

async fn connect_tcp(address: &str) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Stream::new(stream.into_std()?.into())
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
            Address::Tls(address, _) => write!(f, "tls://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<String, Invalid> {
        let url = url.to_owned();
        let engine = config::Engine { url, patience: Duration::ZERO, ca: None, certificate: None };
        Address::new(&engine).map(|address| address.to_string())
    }

    #[test]
    fn an_address_is_a_url_with_a_place_in_it() {
        assert_eq!(read("unix:///run/x").unwrap(), "unix:///run/x");
        assert_eq!(read("tcp://[::1]:2375/").unwrap(), "tcp://[::1]:2375");
        assert_eq!(read("tls://host:2376").unwrap(), "tls://host:2376");
        for bad in ["/run/x", "unix://run/x", "tcp://host", "tcp://:1", "http://x:1", "tls://h:x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
