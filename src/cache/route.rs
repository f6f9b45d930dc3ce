//! From a request to what is to be done for it: `Mirror` and `Route`.
//!
//! Mirrors are consulted in order and the first that makes a route has the request; `serve` carries
//! the route out. What must stay true: a mirror is pure. It reads a request and writes a plan; no
//! clock, no I/O; and what it asks to be run later (`Rewrite`, `RewriteHeaders`) sees bytes and gives
//! bytes.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::fresh;
use super::key::{Key, Partition, Scheme};

/// A request, after its host and path were found valid.
#[derive(Clone, Copy, Debug)]
pub struct RequestTarget<'a> {
    pub method: &'a Method,
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// Where the answer would be kept if the route does not say otherwise.
    pub partition: Partition,
}

pub trait Mirror: Debug + Send + Sync {
    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route>;
}

#[derive(Clone, Debug)]
pub struct Route {
    pub key: Key,
    pub kind: Kind,
    /// Whom to ask, and what for.
    pub source: Fetch,
    /// Where it is noted when what comes from there breaks off or is wrong, in ms since 1970.
    pub failed: Option<Arc<AtomicU64>>,
    /// The SHA-256 that the body must have before it is committed.
    pub verify: Option<[u8; 32]>,
    /// Makes the stored body out of the origin's (only documents: it is held in memory).
    pub rewrite: Option<Arc<dyn Rewrite>>,
    /// Changes an answer's head, also of what is not stored.
    pub headers: Option<Arc<dyn RewriteHeaders>>,
    /// How this answer may be kept and used again.
    pub rules: fresh::FreshnessRules,
    /// How long a 404 or 410 without explicit freshness may be kept.
    pub negative: Option<Duration>,
    /// Whether redirects are followed here, the answer being kept under the first URL.
    pub follow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fresh by what the origin says; or for `ttl`, if given, and then usable for `stale` longer
    /// while one request behind the scenes renews it.
    Metadata { ttl: Option<Duration>, stale: Duration },
    /// Never changes: what is stored is fresh.
    Artifact,
    /// Never changes, and is stored once for all; but a caller is given it only after the origin has said, to
    /// the caller's own credentials, that this one may have it.
    Restricted,
    /// As `Restricted`, but that this caller may have it is known already: whoever makes the request has asked.
    Permitted,
    /// Never stored.
    PassThrough,
}

/// A request to an origin. The client's end-to-end headers go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub scheme: Scheme,
    /// As in `Key`.
    pub host: String,
    /// Path and query.
    pub target: String,
}

pub trait Rewrite: Debug + Send + Sync {
    fn rewrite(&self, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, String>;
}

pub trait RewriteHeaders: Debug + Send + Sync {
    fn rewrite(&self, headers: &mut HeaderMap);
}
