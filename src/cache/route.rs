//! From a request to what is to be done for it: `Mirror` and `Route`.
//!
//! Mirrors are consulted in order and the first that makes a route has the request; `serve` carries
//! the route out. What must stay true: a mirror is pure. It reads a request and writes a plan; no
//! clock, no I/O; and what it asks to be run later (`Verify`, `Rewrite`, `Compose`, `Render`) sees
//! bytes and gives bytes.

use std::fmt::Debug;
use std::sync::Arc;
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
    /// For `Cache-Status`, logs and statistics.
    fn name(&self) -> &str;

    fn route(&self, asked: &RequestTarget<'_>) -> Option<Route>;
}

#[derive(Clone, Debug)]
pub struct Route {
    pub key: Key,
    pub kind: Kind,
    pub source: RouteSource,
    /// Looks at the whole body before it is committed.
    pub verify: Option<Verify>,
    /// Makes the stored body out of the origin's (only documents: it is held in memory).
    pub rewrite: Option<Arc<dyn Rewrite>>,
    /// Changes an answer's head, also of what is not stored.
    pub headers: Option<Arc<dyn RewriteHeaders>>,
    /// Makes what is sent out of what is stored (only documents).
    pub render: Option<Arc<dyn Render>>,
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
    /// Never stored.
    PassThrough,
}

#[derive(Clone, Debug)]
pub enum RouteSource {
    /// The origin's answer to one request.
    Fetch(Fetch),
    /// A document made of the answers to several requests, all of which must be 200.
    Compose(Vec<Fetch>, Arc<dyn Compose>),
    /// A stream that is made here.
    Produce(Arc<dyn Produce>),
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

/// What a body must be.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Anything else; on a whole document.
    Document(Arc<dyn Check>),
}

pub trait Check: Debug + Send + Sync {
    /// Whether it is whole and right, else what is wrong.
    fn check(&self, body: &[u8]) -> Result<(), String>;
}

pub trait Rewrite: Debug + Send + Sync {
    fn rewrite(&self, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, String>;
}

pub trait RewriteHeaders: Debug + Send + Sync {
    fn rewrite(&self, headers: &mut HeaderMap);
}

pub trait Render: Debug + Send + Sync {
    fn render(
        &self,
        request: &HeaderMap,
        headers: &mut HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, String>;
}

pub trait Compose: Debug + Send + Sync {
    /// `parts` in the order of the fetches.
    fn compose(&self, parts: Vec<(HeaderMap, Bytes)>) -> Result<(HeaderMap, Bytes), String>;
}

pub trait Produce: Debug + Send + Sync {
    /// The head, and the body piece by piece; an error piece discards all of it. It is read on a thread
    /// that may block.
    #[allow(clippy::type_complexity)]
    fn produce(&self) -> (HeaderMap, Box<dyn Iterator<Item = Result<Bytes, String>> + Send>);
}
