//! A caller, before and after it was recognised.
//!
//! `listener` makes a `Caller` of each connection; only `auth` makes an `Identity` of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;

use super::Who;
use super::peer::{PeerPlace, place_of};
use crate::telemetry::access::Labels;

/// What an identity provider says besides the name: scalars, and lists of them.
pub type Claims = serde_json::Map<String, serde_json::Value>;

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

/// Whose calls are counted together, whoever they say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum PeerKey {
    User(u32),
    V4(Ipv4Addr),
    /// A /64: an IPv6 host has one for itself (RFC 4291 §2.5.1).
    V6([u16; 4]),
    Unknown,
}

impl Peer {
    pub fn source(&self) -> PeerKey {
        match self {
            Peer::Unix { uid, .. } => PeerKey::User(*uid),
            Peer::Unknown => PeerKey::Unknown,
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => PeerKey::V4(address),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    PeerKey::V6([a, b, c, d])
                }
            },
        }
    }
}

/// One connection, and what is known of its other end before it has said a word of HTTP.
#[derive(Clone, Debug)]
pub struct Caller {
    pub peer: Peer,
    /// The client's certificate and what it sent with it, the leaf first; only when it was verified.
    pub certificates: Arc<[CertificateDer<'static>]>,
    place: OnceLock<PeerPlace>,
}

/// A caller, recognised. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    who: Option<Arc<Who>>,
    /// The name of the authenticator in the configuration.
    method: Option<Arc<str>>,
    peer: Peer,
    certificates: Arc<[CertificateDer<'static>]>,
    place: PeerPlace,
}

impl Caller {
    pub fn new(peer: Peer, certificates: Vec<CertificateDer<'static>>) -> Caller {
        Caller { peer, certificates: certificates.into(), place: OnceLock::new() }
    }

    /// The same connection, for who looks at it again while it is in use.
    pub fn again(&self) -> Caller {
        let certificates = Arc::clone(&self.certificates);
        Caller { peer: self.peer, certificates, place: self.place.clone() }
    }

    /// The id of the container that the peer runs in, when it runs in one.
    pub fn container(&self) -> Option<&str> {
        self.place().container()
    }

    fn place(&self) -> &PeerPlace {
        self.place.get_or_init(|| place_of(self.peer))
    }
}

impl Identity {
    pub(super) fn new(method: &Arc<str>, who: Arc<Who>, caller: &Caller) -> Identity {
        Identity(Arc::new(Inner {
            who: Some(who),
            method: Some(Arc::clone(method)),
            peer: caller.peer,
            certificates: Arc::clone(&caller.certificates),
            place: caller.place().clone(),
        }))
    }

    /// Somebody on a listener that asks nobody for a name.
    pub(super) fn nobody(caller: &Caller) -> Identity {
        let certificates = Arc::clone(&caller.certificates);
        let peer = caller.peer;
        let place = PeerPlace::Unknown;
        Identity(Arc::new(Inner { who: None, method: None, peer, certificates, place }))
    }

    /// Somebody who is not there, for `explain` and for tests: what would a policy say to them?
    pub fn imagined(user: Option<&str>) -> Identity {
        Identity::imagined_as(user, Vec::new(), Claims::new(), None)
    }

    /// The same with all that may be known of somebody with a name.
    pub fn imagined_as(
        user: Option<&str>,
        groups: Vec<String>,
        claims: Claims,
        container: Option<String>,
    ) -> Identity {
        let who = user.map(|user| Arc::new(Who::new(user.to_owned(), groups, claims)));
        let method = user.map(|_| "explain".into());
        let (peer, certificates) = (Peer::Unknown, Arc::from([]));
        let place = container.map_or(PeerPlace::Unknown, PeerPlace::Container);
        Identity(Arc::new(Inner { who, method, peer, certificates, place }))
    }

    /// The name under which policies and logs know the caller; none without an authenticator.
    pub fn user(&self) -> Option<&str> {
        self.0.who.as_ref().map(|who| who.user.as_str())
    }

    pub(super) fn who(&self) -> Option<&Who> {
        self.0.who.as_deref()
    }

    pub fn groups(&self) -> &[String] {
        self.0.who.as_ref().map_or(&[], |who| &who.groups)
    }

    pub fn claims(&self) -> Option<&Claims> {
        self.0.who.as_ref().map(|who| &who.claims)
    }

    /// The name of the authenticator that recognised the caller.
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// What the logs say; none for somebody without a name.
    pub fn labels(&self) -> Option<Arc<Labels>> {
        let method = self.0.method.as_deref()?;
        self.0.who.as_ref().map(|who| who.labels(method))
    }

    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// Whether the caller runs in no container, as far as the kernel says so.
    pub fn is_of_host(&self) -> bool {
        self.0.place == PeerPlace::Host
    }

    /// Whose process the caller is, where the kernel says so.
    pub fn uid(&self) -> Option<u32> {
        match self.0.peer {
            Peer::Unix { uid, .. } => Some(uid),
            Peer::Tcp(_) | Peer::Unknown => None,
        }
    }

    /// The client's verified certificate and what it sent with it, in DER, the leaf first.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.certificates.iter().map(|one| &**one)
    }

    /// The id of the container that the caller runs in; known for recognised unix peers.
    pub fn container(&self) -> Option<&str> {
        self.0.place.container()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Unix { uid, pid: Some(pid), .. } => write!(f, "uid={uid} pid={pid}"),
            Peer::Unix { uid, pid: None, .. } => write!(f, "uid={uid}"),
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Unknown => f.write_str("-"),
        }
    }
}
