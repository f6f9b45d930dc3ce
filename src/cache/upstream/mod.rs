//! Requests to origins.
//!
//! `fill` calls `Upstream::send` on the thread that fetches: a question, which may take several calls
//! (`source`: redirects, credentials). The story of a call: look for our own mark, find the host's limits,
//! connect (`connect`: proxies, names, guard, TLS), send, wait for the head. What must stay true: a call is sent
//! once (again, and once, only if it never left, or may be repeated and met a kept connection that was
//! just being closed), no address is connected to that the guard did not judge, a certificate is always
//! verified, and no wait is without end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::key::Scheme;
use super::route::Fetch;

mod aws;
mod body;
mod challenge;
mod circuit;
mod connect;
pub mod credentials;
mod dial;
mod fault;
mod guard;
mod hosts;
mod mark;
mod proxies;
mod redirect;
mod send;
mod source;

pub use aws::Signer;
pub use body::{AnswerBody, RequestBody};
pub use challenge::Challenge;
pub use credentials::granted;
pub use fault::Fault;
pub use proxies::Proxies;
pub use redirect::{Allowed, Follow, resolve};

use circuit::Circuits;
use connect::{Connector, Served, port_is_sound};
use credentials::OriginCredentials;
use guard::Guard;
use hosts::{Asker, HostPool};
use mark::Mark;

#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// What `Via` and `CDN-Loop` name us by: a token, another one in each gateway of a chain.
    pub id: String,
    /// Every request goes to this proxy, whatever the environment says.
    pub next_hop: Option<Uri>,
    pub proxies: Proxies,
    /// Trusted beside the system's authorities.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What some origins are shown where a client brings nothing of its own.
    pub credentials: Vec<Arc<OriginCredentials>>,
    /// Networks that the guard lets through although they are not public.
    pub allow_private: Vec<IpNet>,
    /// Requests at a time to one host, half of them uploads; further ones wait for at most `queue_timeout`.
    pub per_host: usize,
    pub queue_timeout: Duration,
    /// Name, TCP, proxy and TLS together.
    pub connect_timeout: Duration,
    /// From the request (or the last piece of its body) to the head of the answer.
    pub head_timeout: Duration,
    /// Between two pieces of the answer's body.
    pub idle_body_timeout: Duration,
    /// The longest that a host is left alone by its own `Retry-After`.
    pub longest_retry_after: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> UpstreamSettings {
        UpstreamSettings {
            id: "dockgate".to_owned(),
            next_hop: None,
            proxies: Proxies::default(),
            extra_roots: Vec::new(),
            credentials: Vec::new(),
            allow_private: Vec::new(),
            per_host: 32,
            queue_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(60),
            idle_body_timeout: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(300),
        }
    }
}

/// Why there can be no `Upstream` with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("`{0}` is not a token, and cannot name this gateway in `Via`")]
    Id(String),
    #[error("`{variable}` {why}")]
    Proxy { variable: String, why: &'static str },
    #[error("no TLS towards origins: {0}")]
    Tls(String),
}

/// Hears the 1xx answers that come before the answer (HTTP/1.1 only).
pub type Interim = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

/// The head of an answer, and its body to come.
#[derive(Debug)]
pub struct OriginResponse {
    pub status: StatusCode,
    pub version: Version,
    /// As they came, but for a `Content-Length` that does not frame the body.
    pub headers: HeaderMap,
    /// The body's length, if it was declared; of an answer to HEAD it is what GET would have.
    pub length: Option<u64>,
    pub body: AnswerBody,
    /// The heads of redirects that were followed.
    pub hops: Vec<HeaderMap>,
}

#[derive(Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
    connector: Connector,
}

type OriginClient = legacy::Client<Connector, body::Sent>;

struct Shared {
    client: OriginClient,
    /// Keeps no connection.
    fresh: OriginClient,
    circuits: Circuits,
    proxies: Arc<proxies::Plan>,
    hosts: HostPool,
    mark: Mark,
    settings: UpstreamSettings,
}

impl Upstream {
    pub fn new(settings: UpstreamSettings) -> Result<Upstream, Unusable> {
        let mark = Mark::new(&settings.id)?;
        let proxies = Arc::new(settings.proxies.plan(settings.next_hop.as_ref())?);
        let guard = Arc::new(Guard::new(settings.allow_private.clone()));
        let connector = Connector::new(&settings, guard, Arc::clone(&proxies))?;
        let client = |most_idle: usize| -> OriginClient {
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION)
                .pool_max_idle_per_host(most_idle)
                .http1_max_buf_size(READ_BUFFER)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_max_header_list_size(HEAD_BYTES)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .build(connector.clone())
        };
        let (client, fresh) = (client(settings.per_host), client(0));
        let hosts = HostPool::new(settings.per_host);
        let circuits = Circuits::default();
        let shared = Arc::new(Shared { client, fresh, circuits, proxies, hosts, mark, settings });
        Ok(Upstream { shared, connector })
    }

    /// The fault of a loop: whose way it is that leads here again.
    pub fn loop_of(&self, scheme: Scheme, host: &str) -> Fault {
        let fetch = Fetch { scheme, host: host.to_owned(), target: "/".to_owned() };
        let by_proxy = uri(&fetch).is_ok_and(|uri| self.shared.proxies.proxy(&uri).is_some());
        if by_proxy { Fault::ProxyLoop } else { Fault::Loop }
    }

    /// What the body of a short answer has, however it comes.
    pub fn patience(&self) -> Duration {
        let settings = &self.shared.settings;
        settings.head_timeout.saturating_add(settings.idle_body_timeout)
    }

    /// Whether a request came from here: it would wait for itself.
    pub fn is_loop(&self, headers: &HeaderMap) -> bool {
        self.shared.mark.is_on(headers)
    }

    /// A way to a port for CONNECT, through a proxy if there is one; judged by the guard like all others.
    pub async fn tunnel(
        &self,
        host: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Fault> {
        let (host, target) = (format!("{host}:{port}"), "/".to_owned());
        Ok(self.tunnel_to(&Fetch { scheme: Scheme::Https, host, target }).await?.1)
    }

    /// The same to where something is fetched from, and our own address on it.
    pub async fn tunnel_to(
        &self,
        fetch: &Fetch,
    ) -> Result<(Option<SocketAddr>, impl AsyncRead + AsyncWrite + Send + Unpin + use<>), Fault>
    {
        let stream = self.connector.tunnel(uri(fetch)?).await?;
        Ok((stream.inner().local_address(), stream))
    }

    /// An origin that is spoken with by hand, in HTTP/1.1 or what comes of it.
    pub async fn speak(
        &self,
        fetch: &Fetch,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Fault> {
        self.connector.speak(uri(fetch)?).await
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Shared {
    /// Whatever the caller left in it, framing and host are ours.
    fn prepare(&self, headers: &mut HeaderMap) -> Result<(), Fault> {
        for name in OURS {
            headers.remove(name);
        }
        self.mark.leave(headers)
    }

    async fn once(
        self: &Arc<Shared>,
        fetch: &Fetch,
        method: &Method,
        mut headers: HeaderMap,
        body: RequestBody,
        on_interim: Option<Interim>,
    ) -> Result<OriginResponse, Fault> {
        let uri = uri(fetch)?;
        self.circuits.check(fetch.scheme, &fetch.host)?;
        let asker = Asker::of(&headers);
        let (target, patience) = (fetch.target.as_str(), self.settings.queue_timeout);
        let slot = self.hosts.slot(&fetch.host, target, asker, patience, body.is_upload()).await?;
        // It may have been found dead meanwhile.
        self.circuits.check(fetch.scheme, &fetch.host)?;
        if let Some(credentials) = self.proxies.credentials(&uri) {
            headers.insert(PROXY_AUTHORIZATION, credentials);
        }
        // RFC 9110 §8.6; hyper says it only of bodies that are there.
        if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // hyper takes such methods for ones without a body, unless they say it themselves.
        if body.is_of_unknown_length() && [Method::GET, Method::HEAD].contains(method) {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // RFC 9110 §9.2.2.
        let may_repeat = body.is_empty() && IDEMPOTENT.contains(method);
        let request = |body| {
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            if let Some(hear) = on_interim.clone() {
                hyper::ext::on_informational(&mut request, move |head| {
                    hear(head.status(), head.headers());
                });
            }
            request
        };
        let began = Instant::now();
        let (body, progress) = body.sent();
        let answer = match self.head(&self.client, request(body), &progress).await {
            Err(Unanswered { fault: Fault::Closed(_), on_kept: true }) if may_repeat => {
                let (body, progress) = RequestBody::Empty.sent();
                self.head(&self.fresh, request(body), &progress).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|unanswered| {
            self.unanswered(fetch, began, &unanswered.fault);
            unanswered.fault
        })?;
        self.circuits.answered(fetch.scheme, &fetch.host);
        if let Some(pause) = hosts::retry_after(&answer, self.settings.longest_retry_after) {
            self.hosts.leave_alone(&fetch.host, target, asker, pause);
        }
        Ok(OriginResponse::new(answer, method, slot, self.settings.idle_body_timeout))
    }

    /// Probes a host that is dead from now on, until it answers or nobody asks any more.
    fn unanswered(self: &Arc<Shared>, fetch: &Fetch, began: Instant, fault: &Fault) {
        if !self.circuits.failed(fetch.scheme, &fetch.host, began, fault) {
            return;
        }
        let (shared, pauses) = (Arc::clone(self), circuit::pauses(fault));
        let root = Fetch { target: "/".to_owned(), ..fetch.clone() };
        tokio::spawn(async move {
            for pause in pauses {
                tokio::time::sleep(pause).await;
                if shared.circuits.next(root.scheme, &root.host) == circuit::CircuitStep::Nothing
                    || shared.probe(&root).await.is_ok()
                {
                    return;
                }
            }
        });
    }

    /// Whether a host gives any answer at all, also one that no probe should get.
    async fn probe(&self, root: &Fetch) -> Result<(), Fault> {
        let uri = uri(root)?;
        let (body, progress) = RequestBody::Empty.sent();
        let mut request = Request::new(body);
        *request.method_mut() = Method::HEAD;
        if let Some(credentials) = self.proxies.credentials(&uri) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials);
        }
        *request.uri_mut() = uri;
        self.mark.leave(request.headers_mut())?;
        match self.head(&self.fresh, request, &progress).await {
            Err(Unanswered {
                fault: fault @ (Fault::ConnectTimeout { .. } | Fault::HeadTimeout(_)),
                ..
            }) => Err(fault),
            // It costs nobody a time-out any more.
            Ok(_) | Err(_) => {
                self.circuits.answered(root.scheme, &root.host);
                Ok(())
            }
        }
    }

    /// A long request body is no slow head: the wait begins anew with each of its pieces, and not before the client
    /// has sent it.
    async fn head(
        &self,
        client: &OriginClient,
        request: Request<body::Sent>,
        progress: &body::Progress,
    ) -> Result<Response<Incoming>, Unanswered> {
        let wait = self.settings.head_timeout;
        let mut answer = client.request(request);
        let mut until = Instant::now() + wait;
        loop {
            match timeout_at(until, &mut answer).await {
                Ok(Ok(answer)) => {
                    Served::note(answer.extensions());
                    if head_bytes(answer.headers()) > HEAD_BYTES as usize {
                        return Err(Unanswered { fault: Fault::HeadTooLarge, on_kept: false });
                    }
                    return Ok(answer);
                }
                Ok(Err(error)) => {
                    let on_kept = Served::before(&error);
                    return Err(Unanswered { fault: Fault::before_head(&error), on_kept });
                }
                Err(_) => {
                    let later = progress.since() + wait;
                    if later <= until {
                        let fault = Fault::HeadTimeout(wait);
                        return Err(Unanswered { fault, on_kept: false });
                    }
                    until = later;
                }
            }
        }
    }
}

/// As HTTP/1.1 writes them.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Why no head came, and whether the connection was one that had served before.
struct Unanswered {
    fault: Fault,
    on_kept: bool,
}

impl OriginResponse {
    fn new(
        answer: Response<Incoming>,
        method: &Method,
        slot: hosts::HostPermit,
        idle: Duration,
    ) -> OriginResponse {
        let (mut head, body) = answer.into_parts();
        head.headers = apart(&head.headers);
        let body = AnswerBody::new(body, slot, idle);
        let bodiless = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
        let length = if bodiless { declared(&head.headers) } else { body.length() };
        if length.is_none() {
            head.headers.remove(CONTENT_LENGTH);
        }
        OriginResponse {
            status: head.status,
            version: head.version,
            headers: head.headers,
            length,
            body,
            hops: Vec::new(),
        }
    }
}

/// The same, in memory of its own: hyper's values are parts of the buffer that it has read them into, which would
/// stay as long as they do.
fn apart(headers: &HeaderMap) -> HeaderMap {
    let mut bytes = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    let mut copy = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        bytes.extend_from_slice(value.as_bytes());
        let apart = HeaderValue::from_maybe_shared(bytes.split().freeze());
        copy.append(name, apart.unwrap_or_else(|_| value.clone()));
    }
    copy
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn uri(fetch: &Fetch) -> Result<Uri, Fault> {
    let text = format!("{}://{}{}", fetch.scheme.as_str(), fetch.host, fetch.target);
    let uri: Uri = text.parse().map_err(|_| Fault::Target(text.clone()))?;
    let sound = |authority: &Authority| {
        let (text, host) = (authority.as_str(), authority.host());
        text == fetch.host && !host.is_empty() && !text.contains('@') && port_is_sound(authority)
    };
    if uri.authority().is_some_and(sound) { Ok(uri) } else { Err(Fault::Target(text)) }
}

const IDEMPOTENT: [Method; 6] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];

/// Said anew for each connection.
const OURS: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Origins close idle connections after 5 s and more; hyper sees that at once.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// For what reads an HTTP/2 connection of which nothing is heard.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What hyper reads of a head before it gives up.
const READ_BUFFER: usize = 128 * 1024;
/// The longest head of an answer.
const HEAD_BYTES: u32 = 64 * 1024;
const STREAM_WINDOW: u32 = 1024 * 1024;
/// More than all streams together may have: clients that read nothing keep no other one from the connection.
const CONNECTION_WINDOW: u32 = 1 << 30;

#[cfg(test)]
mod tests;
