//! `[auth.*]`: the ways of recognising a caller, as values.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{File, Text};

/// One `[auth.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub name: String,
    pub kind: AuthKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    UnixPeer(UnixPeer),
    Certificate(CertificateName),
    /// An htpasswd file.
    Basic(File),
    Jwt(Jwt),
    External(External),
}

impl Auth {
    /// Whether callers have their names and groups of the machine's accounts.
    pub fn reads_accounts(&self) -> bool {
        matches!(self.kind, AuthKind::UnixPeer(_))
    }

    /// Whether it says groups of those whom it recognises.
    pub(super) fn knows_groups(&self) -> bool {
        match &self.kind {
            AuthKind::Basic(_) => false,
            AuthKind::UnixPeer(_)
            | AuthKind::Certificate(_)
            | AuthKind::Jwt(_)
            | AuthKind::External(_) => true,
        }
    }

    /// Whether it looks at what a request says, and not only at the connection.
    pub(super) fn reads_requests(&self) -> bool {
        match &self.kind {
            AuthKind::UnixPeer(_) | AuthKind::Certificate(_) => false,
            AuthKind::Basic(_) | AuthKind::Jwt(_) | AuthKind::External(_) => true,
        }
    }

    pub(super) fn files(&self) -> Vec<&File> {
        match &self.kind {
            AuthKind::UnixPeer(_) | AuthKind::Certificate(_) => Vec::new(),
            AuthKind::Basic(file) => vec![file],
            AuthKind::Jwt(jwt) => match &jwt.keys {
                Keys::Url { ca, .. } => ca.iter().collect(),
                Keys::Set(file) | Keys::Pem(file) => vec![file],
                Keys::Secret(_) => Vec::new(),
            },
            AuthKind::External(external) => external.ca.iter().collect(),
        }
    }
}

/// Without any table the user is the OS user's name; with one, whoever is in none is not recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixPeer {
    /// OS user name or uid to dockgate user.
    pub users: Option<BTreeMap<String, String>>,
    /// OS group name or gid, primary or by membership, to dockgate user.
    pub groups: Option<BTreeMap<String, String>>,
}

/// What of a certificate names the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    Cn,
    SanEmail,
    SanDns,
    SanUri,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    pub keys: Keys,
    pub issuer: String,
    /// One of these must be among the token's.
    pub audience: Vec<String>,
    /// Names of RFC 7518 §3.1 (`RS256`); empty: whatever fits the configured keys.
    pub algorithms: Vec<String>,
    /// The claim that names the user; dots go into objects.
    pub user: String,
    /// The claim that lists the groups.
    pub groups: Option<String>,
    /// Claims that must be there with one of these values; no values: any but null.
    pub require: BTreeMap<String, Vec<String>>,
    /// The claims that policies and the log see; `None`: all scalars and lists of scalars.
    pub claims: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A key set that is fetched, again every `refresh`, and when a token names an unknown key.
    Url { url: Text, ca: Option<File>, refresh: Duration },
    /// A key set in a file.
    Set(File),
    /// A public key or certificate in PEM.
    Pem(File),
    /// A shared secret for HS256, HS384, HS512.
    Secret(Text),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// `unix:///path[:/request/path]`, `http://…` or `https://…`.
    pub url: Text,
    pub timeout: Duration,
    /// Who signed the certificate of an `https://` server; the system's roots when absent.
    pub ca: Option<File>,
    /// What `WWW-Authenticate` asks for, such as `Basic` and `Bearer`.
    pub schemes: Vec<String>,
}
