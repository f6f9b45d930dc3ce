//! Listening sockets that another process opened: the service manager, or dockgate before a restart.
//!
//! `run::inherit` finds them. What must stay true: what is adopted really listens, where the
//! configuration says.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketAddrUnix, sockopt};

use super::{Kind, unix};
use crate::config::Bind;

/// Where a socket listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ListenAddress {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

pub(super) fn adopt(socket: OwnedFd, bind: &Bind) -> io::Result<(OwnedFd, Kind)> {
    if !sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::other("the inherited descriptor is not a listening socket"));
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    let kind = match (place_of(&socket)?, bind) {
        // Its own idea of its path is from before it was moved into place.
        (ListenAddress::Unix(_), Bind::Unix { path, .. }) => {
            Kind::Unix { file: Some(Arc::new(unix::SocketFile::of(path)?)) }
        }
        // The service manager's file stays the service manager's.
        (ListenAddress::Unix(_), Bind::Inherited { .. }) => Kind::Unix { file: None },
        (ListenAddress::Tcp(address), Bind::Inherited { .. } | Bind::Tcp { .. }) => {
            Kind::Tcp(address)
        }
        (place, _) => {
            let why = format!("the socket that was passed for `{bind}` listens on {place}");
            return Err(io::Error::other(why));
        }
    };
    Ok((socket, kind))
}

pub(super) fn missing(name: &str) -> io::Error {
    io::Error::other(format!(
        "no inherited socket is named `{name}`: is dockgate started by its `.socket` unit, with \
         `FileDescriptorName={name}`?"
    ))
}

pub(super) fn place_of(socket: impl AsFd) -> io::Result<ListenAddress> {
    let address = rustix::net::getsockname(socket)?;
    match address.address_family() {
        AddressFamily::UNIX => {
            let unix = SocketAddrUnix::try_from(address)?;
            let path = unix.path().map(|path| path.to_string_lossy().into_owned());
            Ok(ListenAddress::Unix(PathBuf::from(path.unwrap_or_default())))
        }
        AddressFamily::INET | AddressFamily::INET6 => Ok(ListenAddress::Tcp(address.try_into()?)),
        _ => Err(io::Error::other("the inherited socket is neither unix nor TCP")),
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            ListenAddress::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}
