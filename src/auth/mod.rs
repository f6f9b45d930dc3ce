//! Who is asking: `Identity`, made only here.
//!
//! `gateway` asks before it parses. For now every listener takes any peer that its socket lets in,
//! and the identity says who that is; authenticators come with the next issue.

use std::net::SocketAddr;

/// The other end of a connection, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `SO_PEERCRED`: whoever connected.
    Unix {
        uid: u32,
        gid: u32,
        pid: Option<i32>,
    },
    Tcp(SocketAddr),
    Unknown,
}

/// A caller, recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: Option<String>,
    peer: Peer,
}

/// Recognises the caller of a connection.
pub fn authenticate(peer: Peer) -> Identity {
    Identity { user: None, peer }
}

impl Identity {
    /// The name under which policies and logs know the caller; none without an authenticator.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Unix { uid, pid: Some(pid), .. } => write!(f, "uid={uid} pid={pid}"),
            Peer::Unix { uid, pid: None, .. } => write!(f, "uid={uid}"),
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Unknown => f.write_str("-"),
        }
    }
}
