//! A client's request, found valid, and what is said to one that is not.
//!
//! `front` makes it of what came over the connection and `serve` answers it. What must stay true: the
//! host is one that this cache serves, and agrees with the name of the TLS handshake; framing and
//! connection fields have been taken out.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::mpsc;

use super::asked::{self, Connection};
use super::fill::Interim;
use super::front::Caller;
use super::fresh;
use super::key::{Key, Partition, Scheme};
use super::reply::{Body, Reply};
use super::stats::Outcome;
use super::upstream::RequestBody;
use super::Cache;
use crate::wire::framing::Framing;
use crate::wire::head::RequestHead;

/// Pieces of a request's body on their way to the origin.
const PIECES: usize = 4;

#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub scheme: Scheme,
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    /// End-to-end fields only.
    pub headers: HeaderMap,
    pub upload: RequestBody,
    pub tenant: Arc<str>,
    pub interim: Interim,
}

/// Why a request is not even looked up.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub why: String,
    pub host: Option<String>,
}

/// Makes a body's two ends.
pub struct Upload;

/// Where the pieces of a request's body are put.
pub type Pieces = mpsc::Sender<Result<Bytes, String>>;

impl Upload {
    pub fn channel(framing: &Framing) -> (RequestBody, Option<Pieces>) {
        let length = match framing {
            Framing::None => return (RequestBody::Empty, None),
            Framing::Length { left } => Some(*left),
            Framing::Chunked(_) | Framing::UntilClose { .. } => None,
        };
        Upload::open(length)
    }

    pub fn open(length: Option<u64>) -> (RequestBody, Option<Pieces>) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (RequestBody::Stream { pieces, length }, Some(sender))
    }
}

impl Request {
    /// Of an HTTP/1.1 head.
    pub(super) fn new(
        cache: &Cache,
        caller: &Caller,
        head: &RequestHead,
        upload: RequestBody,
        interim: Interim,
    ) -> Result<Request, Refusal> {
        let invalid = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, what);
        let method = Method::from_bytes(head.method().as_bytes())
            .map_err(|_| invalid("invalid method"))?;
        let mut headers = HeaderMap::with_capacity(16);
        let mut hosts = Vec::new();
        for (name, value) in head.headers.iter() {
            let name = HeaderName::from_bytes(name).map_err(|_| invalid("invalid field name"))?;
            if name == header::HOST {
                hosts.push(value);
                continue;
            }
            let value = HeaderValue::from_bytes(value).map_err(|_| invalid("invalid field"))?;
            headers.append(name, value);
        }
        Request::of_parts(cache, caller, method, head.target(), &hosts, headers, upload, interim)
    }

    /// Of what either version of HTTP gives.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn of_parts(
        cache: &Cache,
        caller: &Caller,
        method: Method,
        target: &[u8],
        hosts: &[&[u8]],
        mut headers: HeaderMap,
        upload: RequestBody,
        interim: Interim,
    ) -> Result<Request, Refusal> {
        let connection = Connection {
            scheme: caller.scheme,
            server_name: caller.server_name.as_deref(),
            forward: cache.settings.forward,
        };
        let asked = asked::validate(&method, target, hosts, &connection)
            .map_err(|refused| Refusal::new(refused.status, &refused.reason))?;
        if !cache.settings.serves(&asked.host) {
            let mut refusal = Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                &format!("`{}` is not a host of this cache. hint: add it to `domains`", asked.host),
            );
            refusal.host = None;
            return Err(refusal);
        }
        fresh::strip_forwarded(&mut headers);
        Ok(Request {
            method,
            scheme: asked.scheme,
            host: asked.host,
            path: asked.path,
            query: asked.query,
            headers,
            upload,
            tenant: Arc::clone(&caller.tenant),
            interim,
        })
    }

    /// Whether it says who asks.
    pub fn has_credentials(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION) || self.headers.contains_key(header::COOKIE)
    }

    pub fn key(&self, partition: Partition) -> Key {
        Key {
            partition,
            scheme: self.scheme,
            host: self.host.as_str().into(),
            path: self.path.as_str().into(),
            query: self.query.as_deref().map(Into::into),
        }
    }
}

impl Refusal {
    pub fn new(status: StatusCode, why: &str) -> Refusal {
        Refusal { status, why: why.to_owned(), host: None }
    }

    pub fn malformed(error: &dyn std::error::Error) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, &error.to_string())
    }

    pub fn reply(&self, cache: &Cache, tenant: &str) -> Reply {
        let domain = self.host.as_deref().unwrap_or("-");
        let account = cache.stats.account(domain, tenant, Outcome::Refused);
        plain(self.status, &self.why, account)
    }
}

/// An answer of our own, for a person to read.
pub fn plain(status: StatusCode, why: &str, account: super::stats::Account) -> Reply {
    let text = format!("dockgate: {why}\n");
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Reply { status, headers, length: Some(text.len() as u64), body: Body::bytes(text), account }
}

