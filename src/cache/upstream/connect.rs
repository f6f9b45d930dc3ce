//! A connection on which requests to one origin can be sent.
//!
//! The HTTP client's connector: straight to the origin or by a proxy (`proxies`), and TLS on top of
//! that. What must stay true: it is done within `connect_timeout` or fails; the certificate is
//! verified for the name in the URL, also behind a proxy; the guard is asked before anybody connects.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use http::uri::Authority;
use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::dial::dial;
use super::fault::{Fault, chain};
use super::guard::Guard;
use super::proxies::{Plan, Proxy};
use super::{Unusable, UpstreamSettings};

#[derive(Clone, Debug)]
pub(super) struct Connector {
    origin: HttpsConnector<Way>,
    /// Where HTTP/2 will not do.
    by_hand: HttpsConnector<Way>,
    way: Way,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        settings: &UpstreamSettings,
        guard: Arc<Guard>,
        proxies: Arc<Plan>,
    ) -> Result<Connector, Unusable> {
        let tls = tls(settings)?;
        let proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(ToProxy);
        let way = Way { guard, proxies, proxy };
        let by_hand = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(way.clone());
        let origin = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(way.clone());
        Ok(Connector { origin, by_hand, way, timeout: settings.connect_timeout })
    }

    /// To the bytes behind a port, whatever is spoken there.
    pub(super) async fn tunnel(&self, uri: Uri) -> Result<TokioIo<Transport>, Fault> {
        let (host, wait) = (host(&uri).to_owned(), self.timeout);
        let connecting = self.way.clone().call(uri);
        let connected = timeout(wait, connecting).await;
        connected.unwrap_or(Err(Fault::ConnectTimeout { host, wait })).map(TokioIo::new)
    }

    /// To an origin that is spoken with by whoever asks for it.
    pub(super) async fn speak(
        &self,
        uri: Uri,
    ) -> Result<TokioIo<MaybeHttpsStream<Transport>>, Fault> {
        in_time(self.by_hand.clone(), uri, self.timeout).await.map(TokioIo::new)
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Transport>;
    type Error = Fault;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(in_time(self.origin.clone(), uri, self.timeout))
    }
}

async fn in_time(
    mut connector: HttpsConnector<Way>,
    uri: Uri,
    wait: Duration,
) -> Result<MaybeHttpsStream<Transport>, Fault> {
    let host = host(&uri).to_owned();
    match timeout(wait, connector.call(uri)).await {
        Ok(Ok(stream)) => Ok(stream),
        // What is not a fault of `Way` is one of the TLS on top of it.
        Ok(Err(error)) => Err(match error.downcast::<Fault>() {
            Ok(fault) => *fault,
            Err(error) => Fault::Tls { host, why: chain(&*error) },
        }),
        Err(_) => Err(Fault::ConnectTimeout { host, wait }),
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// To the origin's bytes: straight or by a proxy.
#[derive(Clone, Debug)]
struct Way {
    guard: Arc<Guard>,
    proxies: Arc<Plan>,
    proxy: HttpsConnector<ToProxy>,
}

impl Service<Uri> for Way {
    type Response = Transport;
    type Error = Fault;
    type Future = Connecting<Transport>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let way = self.clone();
        Box::pin(async move {
            match way.proxies.proxy(&uri) {
                None => {
                    let stream = dial(host(&uri), port(&uri), Some(&way.guard)).await?;
                    let stream = MaybeHttpsStream::Http(TokioIo::new(stream));
                    Ok(Transport { stream, to_proxy: false, served: Served::default(), came: 0 })
                }
                Some(_) if !way.guard.permits_name(host(&uri)) => {
                    let why = "no proxy is asked for it".to_owned();
                    Err(Fault::AddressRefused { host: host(&uri).to_owned(), why })
                }
                Some(proxy) => way.by(proxy, &uri).await,
            }
        })
    }
}

impl Way {
    async fn by(mut self, proxy: Proxy, uri: &Uri) -> Result<Transport, Fault> {
        let failed = |why: String| Fault::Proxy { proxy: proxy.uri().to_string(), why };
        let https = uri.scheme_str() == Some("https");
        let (stream, to_proxy) = match (proxy.is_socks(), https) {
            (true, _) => {
                let mut socks = SocksV5::new(proxy.uri().clone(), ToProxy);
                if let Some((user, password)) = proxy.password() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                let stream = socks.call(with_port(uri)?).await;
                let stream = stream.map_err(|error| failed(error.to_string()))?;
                (MaybeHttpsStream::Http(stream), false)
            }
            (false, true) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.proxy);
                if let Some(credentials) = proxy.credentials() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                let stream = tunnel.call(uri.clone()).await;
                (stream.map_err(|error| failed(chain(&error)))?, false)
            }
            (false, false) => {
                let stream = self.proxy.call(proxy.uri().clone()).await;
                (stream.map_err(|error| failed(chain(&*error)))?, true)
            }
        };
        Ok(Transport { stream, to_proxy, served: Served::default(), came: 0 })
    }
}

/// TCP to a proxy, which the operator named: no guard.
#[derive(Clone, Copy, Debug)]
struct ToProxy;

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = Fault;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move { Ok(TokioIo::new(dial(host(&uri), port(&uri), None).await?)) })
    }
}

/// The bytes towards an origin, or towards a proxy that reads the requests themselves.
pub(super) struct Transport {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    to_proxy: bool,
    served: Served,
    /// Bytes, since something was sent last.
    came: usize,
}

impl Transport {
    /// Ours; none of a way by a proxy that is spoken with over TLS.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match &self.stream {
            MaybeHttpsStream::Http(stream) => stream.inner().local_addr().ok(),
            MaybeHttpsStream::Https(_) => None,
        }
    }
}

/// Whether an answer has come over a connection: then it may be one that is about to be closed as idle.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(Arc<AtomicBool>);

impl Served {
    pub(super) fn note(extensions: &Extensions) {
        if let Some(Served(served)) = extensions.get() {
            served.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn before(error: &legacy::Error) -> bool {
        let mut extensions = Extensions::new();
        error.connect_info().inspect(|connected| connected.get_extras(&mut extensions));
        extensions.get().is_some_and(|Served(served)| served.load(Ordering::Relaxed))
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        // hyper then writes the absolute form.
        self.stream.connected().proxy(self.to_proxy).extra(self.served.clone())
    }
}

/// What is read at once at first, however much hyper would take; it makes room for 8 KiB, and for twice as much
/// behind a read that has filled it.
const PIECE: usize = 8 * 1024 - 1;
/// For a client that reads nothing of a body which no disk takes, some pieces lie here, one of them in hyper. As much as
/// `UNREAD` behind what was sent last has gone into a socket; what comes behind `READ` is read by somebody.
const SMALL_PIECE: usize = 4 * 1024 - 1;
const UNREAD: usize = 64 * 1024;
const READ: usize = 256 * 1024;

thread_local! {
    /// A cursor's room can be made smaller in `unsafe` code only; so what is read there is copied.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

impl Read for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        let most = match this.came {
            ..UNREAD => PIECE,
            UNREAD..READ => SMALL_PIECE,
            READ.. => usize::MAX,
        };
        if buf.remaining() <= most {
            return stream.poll_read(cx, buf);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut piece = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
            std::task::ready!(stream.poll_read(cx, piece.unfilled()))?;
            buf.put_slice(piece.filled());
            this.came += piece.filled().len();
            Poll::Ready(Ok(()))
        })
    }
}

impl Write for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.came = 0;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.came = 0;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("to_proxy", &self.to_proxy).finish_non_exhaustive()
    }
}

fn tls(settings: &UpstreamSettings) -> Result<ClientConfig, Unusable> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in &settings.extra_roots {
        roots.add(root.clone()).map_err(|error| Unusable::Tls(error.to_string()))?;
    }
    if roots.is_empty() {
        // No reason not to start: there are origins without TLS.
        tracing::warn!(
            "the system trusts no authority, so no https origin will be: set `upstream_ca`"
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}

fn port(uri: &Uri) -> u16 {
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        Some("socks5" | "socks5h") => 1080,
        _ => 80,
    };
    uri.port_u16().unwrap_or(usual)
}

/// `Uri` takes a port that is too large for none.
pub(super) fn port_is_sound(authority: &Authority) -> bool {
    let behind_user = authority.as_str().rsplit('@').next();
    authority.port_u16().is_some() || behind_user == Some(authority.host())
}

/// `SocksV5` takes a missing port for 443, whatever the scheme.
fn with_port(uri: &Uri) -> Result<Uri, Fault> {
    let text = format!("{}:{}", host(uri), port(uri));
    text.parse().map_err(|_| Fault::Target(text))
}
