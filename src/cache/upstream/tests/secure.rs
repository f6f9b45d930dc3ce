//! Origins with TLS: whom we trust, and HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::origin::{Act, Seen, converse};
use super::*;

/// An authority, and a server's certificate by it.
pub(super) struct Trust {
    pub(super) root: CertificateDer<'static>,
    pub(super) server: Arc<ServerConfig>,
}

pub(super) fn trust(name: &str, alpn: &[&str]) -> Trust {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Trust { root: issuer.der().clone(), server: Arc::new(server) }
}

pub(super) fn trusting(trust: &Trust) -> UpstreamSettings {
    UpstreamSettings { extra_roots: vec![trust.root.clone()], ..settings() }
}

/// Speaks HTTP/1.1 by a script over TLS.
pub(super) async fn scripted(
    trust: &Trust,
    script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static,
) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(&trust.server));
    let (script, seen) = (Arc::new(script), Arc::new(Seen::default()));
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            let seen = Arc::clone(&shared);
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                seen.connections.fetch_add(1, Ordering::Relaxed);
                converse(stream, &*script, &seen).await;
            });
        }
    });
    (address, seen)
}

/// Speaks HTTP/2 over TLS; answers with the request's body and its URL.
async fn h2(trust: &Trust) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(&trust.server));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let echo = service_fn(async |request: Request<Incoming>| {
                    let uri = request.uri().to_string();
                    let length = match uri.ends_with("/lie") {
                        true => "1000".to_owned(),
                        false => String::new(),
                    };
                    let body = request.into_body().collect().await?.to_bytes();
                    let mut answer =
                        Response::new(Full::new(Bytes::from([uri.as_bytes(), &body].concat())));
                    if !length.is_empty() {
                        answer.headers_mut().insert(CONTENT_LENGTH, length.parse().unwrap());
                    }
                    Ok::<_, hyper::Error>(answer)
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(stream, echo).await;
            });
        }
    });
    (address, connections)
}

fn localhost(address: SocketAddr) -> Fetch {
    fetch(Scheme::Https, &format!("localhost:{}", address.port()), "/x")
}

/// `localhost` may be `::1` first, where nobody listens.
fn both(settings: UpstreamSettings) -> Upstream {
    let allow_private = ["127.0.0.1/32", "::1/128"].map(|network| network.parse().unwrap());
    Upstream::new(UpstreamSettings { allow_private: allow_private.to_vec(), ..settings }).unwrap()
}

#[tokio::test]
async fn http_1_over_tls() {
    for alpn in [&[][..], &["http/1.1"]] {
        let trust = trust("localhost", alpn);
        let (address, seen) =
            scripted(&trust, |_| vec![Act::Send(answer("200 OK", &[], "hello"))]).await;
        let upstream = both(trusting(&trust));
        for _ in 0..2 {
            let mut answer = upstream.get_with(&localhost(address), &[]).await.unwrap();
            assert_eq!(answer.version, Version::HTTP_11);
            assert_eq!(answer.body.text().await.unwrap(), "hello");
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn http_2_by_alpn_on_one_connection() {
    let trust = trust("localhost", &["h2", "http/1.1"]);
    let (address, connections) = h2(&trust).await;
    let upstream = both(trusting(&trust));
    let fetch = localhost(address);
    for _ in 0..3 {
        let body = RequestBody::Whole("+body".into());
        let mut answer = upstream
            .send(&fetch, Method::POST, head(&[("te", "trailers")]), body, None, None)
            .await
            .unwrap();
        assert_eq!(answer.version, Version::HTTP_2);
        let expected = format!("https://localhost:{}/x+body", address.port());
        assert_eq!(answer.body.text().await.unwrap(), expected);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_up_no_other_on_their_connection() {
    let trust = trust("localhost", &["h2"]);
    let (address, connections) = h2(&trust).await;
    let upstream = both(trusting(&trust));
    let fetch = localhost(address);
    let mut unread = Vec::new();
    for _ in 0..20 {
        let body = RequestBody::Whole(vec![b'x'; 2 << 20].into());
        let sent = upstream.send(&fetch, Method::POST, head(&[]), body, None, None);
        unread.push(sent.await.unwrap());
    }
    let mut answer = upstream.get_with(&fetch, &[]).await.unwrap();
    assert!(answer.body.text().await.unwrap().ends_with("/x"));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(unread.len(), 20);
}

#[tokio::test]
async fn a_wrong_length_over_http_2_is_a_broken_body() {
    let trust = trust("localhost", &["h2"]);
    let (address, _) = h2(&trust).await;
    let fetch = Fetch { target: "/lie".into(), ..localhost(address) };
    let mut answer = both(trusting(&trust)).get_with(&fetch, &[]).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap_err().name(), "body-broken");
}

#[tokio::test]
async fn certificates_of_others_are_not_trusted() {
    let (right, wrong_name) = (trust("localhost", &[]), trust("other.example", &[]));
    let ok = |_: &str| vec![Act::Send(answer("200 OK", &[], "hello"))];
    let (address, seen) = scripted(&wrong_name, ok).await;
    let fault = both(trusting(&wrong_name)).get_with(&localhost(address), &[]).await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("tls-failed", 502));
    let (address, other) = scripted(&right, ok).await;
    let fault = both(settings()).get_with(&localhost(address), &[]).await.unwrap_err();
    assert_eq!(fault.name(), "tls-failed");
    assert!(seen.heads.lock().unwrap().is_empty() && other.heads.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_never_says_hello_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fetch = fetch(Scheme::Https, &listener.local_addr().unwrap().to_string(), "/");
    let fault = upstream().get_with(&fetch, &[]).await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("connect-timeout", 504));
}

#[tokio::test]
async fn an_end_without_close_notify_is_no_end_of_a_body() {
    let trust = trust("localhost", &[]);
    let (address, _) =
        scripted(&trust, |_| vec![Act::Send(b"HTTP/1.1 200 OK\r\n\r\nhello".into()), Act::Reset])
            .await;
    let mut answer = both(trusting(&trust)).get_with(&localhost(address), &[]).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap_err().name(), "body-broken");
}
