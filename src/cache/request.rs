//! A client's request, found valid, and what is said to one that is not.
//!
//! `front` makes it of what came over the connection and `serve` answers it. What must stay true: the
//! host is one that this cache serves, and agrees with the name of the TLS handshake; framing and
//! connection fields have been taken out.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::mpsc;

use super::Cache;
use super::fill::Interim;
use super::fresh;
use super::front::Caller;
use super::key::{Key, Partition, Scheme};
use super::reply::{Body, Reply};
use super::route::Fetch;
use super::stats::Outcome;
use super::target::{self, Arrival, Named, RawRequest, Resource};
use super::upstream::RequestBody;
use crate::auth;
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
    /// Whether it is for a registry below one of our own paths.
    pub is_ours: bool,
    /// End-to-end fields only.
    pub headers: HeaderMap,
    pub upload: RequestBody,
    pub tenant: Arc<str>,
    pub interim: Interim,
    pub caller: Arc<auth::Caller>,
    /// Of whom it is, where the URL alone does not say that: of `Kind::Permitted`.
    pub kept_for: Option<KeptFor>,
}

/// Whose store something is in, and whether this caller's way to it has been shown.
#[derive(Clone, Debug)]
pub struct KeptFor {
    pub whose: Arc<str>,
    /// Where not, the origin is asked before any of it is given: it is `Kind::Restricted`.
    pub is_proven: bool,
    /// Who is asked for it in the place of the URL's own host.
    pub source: Option<Arc<OtherSource>>,
}

#[derive(Debug)]
pub struct OtherSource {
    pub fetch: Fetch,
    /// When its answer broke off or was wrong, in ms since 1970.
    pub failed: Arc<AtomicU64>,
}

/// What a client wants.
#[derive(Debug)]
pub enum Understood {
    Request(Box<Request>),
    /// A blind way to another host.
    Tunnel {
        host: String,
        port: u16,
    },
}

/// Why a request is not even looked up.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub why: String,
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
    pub(super) fn understand(
        cache: &Cache,
        caller: &Caller,
        head: &RequestHead,
        upload: RequestBody,
        interim: Interim,
    ) -> Result<Understood, Refusal> {
        let invalid = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, what);
        let method =
            Method::from_bytes(head.method().as_bytes()).map_err(|_| invalid("invalid method"))?;
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
        // RFC 9112 §3.2: whatever the target says.
        if hosts.is_empty() && head.version > 0 {
            return Err(invalid("the request has no `Host`"));
        }
        let said =
            RawRequest { method: &method, target: head.target(), authority: None, hosts: &hosts };
        Request::of_parts(cache, caller, &said, headers, upload, interim)
    }

    /// Of what either version of HTTP gives.
    pub(super) fn of_parts(
        cache: &Cache,
        caller: &Caller,
        said: &RawRequest<'_>,
        mut headers: HeaderMap,
        upload: RequestBody,
        interim: Interim,
    ) -> Result<Understood, Refusal> {
        let sni = caller.server_name.as_deref();
        let forward = cache.settings.forward && !caller.is_intercepted;
        let arrival = Arrival { scheme: caller.scheme, sni, forward };
        let named = target::validate(said, &arrival)
            .map_err(|refused| Refusal::new(refused.status(), &refused.to_string()))?;
        let is_ours = |one: &Resource| {
            let by_path = cache.settings.by_path.as_ref();
            by_path.is_some_and(|paths| paths.claims(one.scheme, &one.host, &one.path))
        };
        let resource = match named {
            // Its port as well: it asked for the usual one.
            Named::Resource(resource)
                if caller.is_intercepted && Some(resource.host.as_str()) != sni =>
            {
                let refused = target::Refused::Misdirected;
                return Err(Refusal::new(refused.status(), &refused.to_string()));
            }
            Named::Tunnel { host, port } if cache.settings.domains.cover_tunnel(&host, port) => {
                return Ok(Understood::Tunnel { host, port });
            }
            Named::Tunnel { host, port } => return Err(no_tunnel(&host, port)),
            // By whatever name clients call a registry.
            Named::Resource(resource) if cache.registry.is_some() => resource,
            Named::Resource(resource) if is_ours(&resource) => resource,
            // As a tunnel: else whoever may ask could speak with any port behind us.
            Named::Resource(resource)
                if !said.target.starts_with(b"/")
                    && cache.settings.serves(&resource.host, resource.scheme)
                    && !cache.settings.domains.cover_forward(&resource.host, resource.scheme) =>
            {
                return Err(no_port(&resource.host));
            }
            Named::Resource(resource) if cache.settings.serves(&resource.host, resource.scheme) => {
                resource
            }
            Named::Resource(resource) => return Err(not_served(&resource.host)),
        };
        fresh::strip_forwarded(&mut headers);
        Ok(Understood::Request(Box::new(Request {
            method: said.method.clone(),
            scheme: resource.scheme,
            is_ours: is_ours(&resource),
            host: resource.host,
            path: resource.path,
            query: resource.query,
            headers,
            upload,
            tenant: Arc::clone(&caller.tenant),
            interim,
            caller: Arc::clone(&caller.who),
            kept_for: None,
        })))
    }

    /// Whether it says who asks.
    pub fn has_credentials(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
            || self.headers.contains_key(header::COOKIE)
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
        Refusal { status, why: why.to_owned() }
    }

    pub fn malformed(error: &dyn std::error::Error) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, &error.to_string())
    }

    pub fn reply(&self, cache: &Cache, tenant: &str) -> Reply {
        // Not by the host: a stranger could name any.
        let account = cache.stats.account("-", tenant, Outcome::Refused);
        plain(self.status, &self.why, account)
    }
}

fn not_served(host: &str) -> Refusal {
    let hint = "as it stands here, with its port, it has to be in `origins` or `domains`";
    let why = format!("`{host}` is not a host of this cache. hint: {hint}");
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, &why)
}

fn no_port(host: &str) -> Refusal {
    let hint = "only 80 and 443 are asked for unless `domains` names the host with this port";
    Refusal::new(StatusCode::FORBIDDEN, &format!("`{host}` is not asked for. hint: {hint}"))
}

fn no_tunnel(host: &str, port: u16) -> Refusal {
    let hint = match port {
        443 => "add it to `domains`",
        _ => "only 443 is tunnelled to unless `domains` names the host with this port",
    };
    let why = format!("there is no tunnel to `{host}:{port}`. hint: {hint}");
    Refusal::new(StatusCode::FORBIDDEN, &why)
}

/// An answer of our own, for a person to read.
pub fn plain(status: StatusCode, why: &str, account: super::stats::Account) -> Reply {
    let text = format!("dockgate: {why}\n");
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let length = Some(text.len() as u64);
    let reason = Some(phrase(why.split(". hint:").next().unwrap_or(why)));
    Reply { status, reason, headers, length, body: Body::bytes(text), account, stored: None }
}

/// What may stand in a status line (RFC 9112 §4), and is short enough for a client's own line.
pub fn phrase(why: &str) -> String {
    const LONGEST: usize = 160;
    let plain =
        |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
    why.chars().take(LONGEST).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_ends_no_line_and_is_short() {
        assert_eq!(phrase("origin cannot be reached: x"), "origin cannot be reached: x");
        assert_eq!(phrase("a\r\nSet-Cookie: b\0\u{e9}\x7f"), "a??Set-Cookie: b???");
        assert_eq!(phrase(&"x".repeat(1000)).len(), 160);
    }
}
