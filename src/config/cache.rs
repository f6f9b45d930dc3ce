//! `[cache.NAME]`, checked: where a cache listens, what it keeps, and whom it may ask.
//!
//! `run` starts a cache with each; `cache::Settings` reads what is in terms of its own: hosts, origins
//! and rules. What must stay true: nothing here has read another file yet.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{Bind, File, Registry, Text, Tls};

#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    pub name: String,
    pub listen: Vec<CacheListen>,
    /// There if something in `listen` needs it.
    pub tls: Option<Tls>,
    /// Of each that it listens on.
    pub max_connections: usize,
    pub dir: PathBuf,
    /// Bytes that objects may take.
    pub size: u64,
    /// Bytes that are left free for others on the same disk.
    pub free: u64,
    /// Bytes of the objects that are held in memory.
    pub memory: u64,
    /// Whether an object is on the disk before it counts.
    pub fsync: bool,
    /// `s3://bucket/prefix`: where objects are kept for several hosts.
    pub object_store: Option<Text>,
    /// The hosts that may be asked for, besides those of `origins`: `*`, `host`, `*.host`, `host:port`.
    pub domains: Vec<Text>,
    /// Whether nothing was said of whom it may ask: it asks anybody, for this machine only.
    pub is_open: bool,
    /// Of hosts that are asked for: where they really are.
    pub origins: Vec<(Text, Text)>,
    /// By the origins that they are for.
    pub credentials: Vec<(Text, OriginCredentials)>,
    /// Registries below paths of the cache's own.
    pub mirror: Option<PathMirror>,
    /// Whose images it gives, if it is a registry.
    pub registry: Option<Registry>,
    pub forward: bool,
    /// Whether what listens on `https://` without `tls` takes origins' places for clients.
    pub intercept: Option<Intercept>,
    /// Fingerprints of clients whose connections are always passed on.
    pub never_intercept: Vec<Text>,
    /// A proxy that all requests go to.
    pub next_hop: Option<Text>,
    /// Who may have signed origins' certificates, beside the system's roots.
    pub upstream_ca: Option<File>,
    /// Networks that are not public and may be asked nevertheless.
    pub allow_private: Vec<IpNet>,
    pub connections_per_host: usize,
    pub times: CacheTimes,
    /// A file of rules in the place of the built-in ones.
    pub rules: Option<File>,
    /// Rules whose files are kept for a while also of hosts that are in no group of them.
    pub ecosystems: Vec<Text>,
    pub authorization: Authorization,
    /// Fields that go before `Cache-Control` (RFC 9213), the first one first.
    pub targeted: Vec<String>,
    /// Nothing is asked for: what is stored is served.
    pub offline: bool,
    /// For statistics, by the clients' addresses; the narrowest network counts.
    pub tenants: Vec<(IpNet, String)>,
}

/// What an origin is shown where a client brings nothing of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum OriginCredentials {
    Aws(AwsKey),
    Basic(Login),
    Bearer {
        token: File,
    },
    /// A bearer token that is asked for.
    Token {
        login: Option<Login>,
        /// Where, if not at the origin.
        realm: Option<Text>,
    },
}

/// For AWS's signatures.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsKey {
    pub access_key: Text,
    pub secret: File,
    pub region: Text,
    pub service: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    pub username: Text,
    pub password: File,
}

/// What is served by path; URLs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathMirror {
    /// What clients call the cache, beside its addresses.
    pub hosts: Vec<Text>,
    /// The index, then further hosts of its files; as of the next two.
    pub pypi: Vec<Text>,
    pub npm: Vec<Text>,
    pub crates: Vec<Text>,
    pub deb: Vec<Text>,
    pub files: Vec<Text>,
}

/// How long is waited for an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTimes {
    /// For a connection: name, TCP, proxy and TLS together.
    pub connect: Duration,
    /// For the head of an answer.
    pub head: Duration,
    /// For the next piece of its body.
    pub body: Duration,
    /// For one of the connections that a host may have.
    pub queue: Duration,
    /// For a head, where something stale may be used instead.
    pub stale: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheListen {
    pub bind: Bind,
    pub has_tls: bool,
}

impl CacheListen {
    /// `host:port`; none of a socket whose address is not in the configuration.
    pub fn address(&self) -> Option<&str> {
        match &self.bind {
            Bind::Tcp { address } => Some(address),
            Bind::Unix { .. } | Bind::Inherited { .. } => None,
        }
    }
}

/// What becomes of TLS that is meant for origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intercept {
    /// Clients that trust us speak with the cache.
    On,
    /// Everything is passed on, and what would have been intercepted is written down.
    Observe,
}

/// Who is given an answer to a request with credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Whoever has the same ones.
    #[default]
    Private,
    /// Everybody, if the origin allows it (RFC 9111 §3.5).
    Rfc9111,
}

impl Cache {
    /// Whether clients take what listens there for their origins.
    pub fn intercepts_on(&self, listen: &CacheListen) -> bool {
        listen.has_tls && self.intercept.is_some()
    }

    pub fn files(&self) -> Vec<&File> {
        let tls = self.tls.iter().flat_map(Tls::files);
        let secrets = self.credentials.iter().filter_map(|(_, credentials)| match credentials {
            OriginCredentials::Aws(key) => Some(&key.secret),
            OriginCredentials::Basic(login) => Some(&login.password),
            OriginCredentials::Bearer { token } => Some(token),
            OriginCredentials::Token { login, .. } => login.as_ref().map(|login| &login.password),
        });
        let registry = self.registry.iter().flat_map(Registry::files);
        tls.chain(&self.upstream_ca).chain(&self.rules).chain(secrets).chain(registry).collect()
    }
}

/// As in `listen`.
impl fmt::Display for CacheListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.has_tls { "https" } else { "http" };
        match &self.bind {
            Bind::Tcp { address } => write!(f, "{scheme}://{address}"),
            bind if self.has_tls => write!(f, "{scheme}+{bind}"),
            bind => bind.fmt(f),
        }
    }
}
