//! Requests by a proxy.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use super::origin::{Act, read_head};
use super::secure::{scripted, trust, trusting};
use super::*;

fn by(proxy: String) -> UpstreamSettings {
    UpstreamSettings { next_hop: Some(proxy.parse().unwrap()), ..settings() }
}

/// Grants a CONNECT to whatever host at `to`, or answers with `refusal`.
async fn tunnel(to: SocketAddr, refusal: Option<&'static str>) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream, &mut Vec::new()).await.unwrap();
            shared.lock().unwrap().push_str(&head);
            let granted = refusal.unwrap_or("HTTP/1.1 200 OK\r\n\r\n");
            stream.write_all(granted.as_bytes()).await.unwrap();
            if refusal.is_none() {
                tokio::spawn(relay(stream, TcpStream::connect(to).await.unwrap()));
            }
        }
    });
    (address, seen)
}

async fn relay(mut one: TcpStream, mut other: TcpStream) {
    let ((mut read, mut write), (mut from, mut to)) = (one.split(), other.split());
    let _ = tokio::join!(copy(&mut read, &mut to), copy(&mut from, &mut write));
}

#[tokio::test]
async fn a_plain_request_goes_in_absolute_form() {
    let proxy = Origin::saying(answer("200 OK", &[], "hello")).await;
    let upstream = Upstream::new(by(format!("http://user:secret@{}", proxy.host()))).unwrap();
    let fetch = fetch(Scheme::Http, "origin.example", "/x?y");
    let mut answer = upstream.get_with(&fetch, &[]).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap(), "hello");
    let head = proxy.heads().concat();
    assert!(head.starts_with("GET http://origin.example/x?y HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: origin.example\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{head}");
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_is_verified_behind_it() {
    let trust = trust("origin.example", &[]);
    let ok = |_: &str| vec![Act::Send(answer("200 OK", &[], "hello"))];
    let (origin, seen) = scripted(&trust, ok).await;
    let (proxy, asked) = tunnel(origin, None).await;
    let next_hop = Some(format!("http://user:secret@{proxy}").parse().unwrap());
    let upstream = Upstream::new(UpstreamSettings { next_hop, ..trusting(&trust) }).unwrap();
    let right = fetch(Scheme::Https, "origin.example", "/x");
    let mut answer = upstream.get_with(&right, &[]).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap(), "hello");
    let head = asked.lock().unwrap().clone();
    assert!(head.starts_with("CONNECT origin.example:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{head}");
    let inner = seen.heads.lock().unwrap().concat();
    assert!(inner.starts_with("GET /x HTTP/1.1\r\n") && !inner.contains("proxy-"), "{inner}");
    let wrong = fetch(Scheme::Https, "other.example", "/x");
    assert_eq!(upstream.get_with(&wrong, &[]).await.unwrap_err().name(), "tls-failed");
}

/// What a client sends through a CONNECT comes back.
async fn echoed(upstream: &Upstream, host: &str, port: u16) -> Result<[u8; 5], Fault> {
    let mut stream = upstream.tunnel(host, port).await?;
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    Ok(back)
}

#[tokio::test]
async fn a_blind_tunnel_goes_straight_or_by_the_proxy_and_is_judged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let echo = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            copy(&mut read, &mut write).await.unwrap();
        }
    });
    assert_eq!(&echoed(&upstream(), "127.0.0.1", echo.port()).await.unwrap(), b"hello");
    let (proxy, asked) = tunnel(echo, None).await;
    let upstream = Upstream::new(by(format!("http://{proxy}"))).unwrap();
    assert_eq!(&echoed(&upstream, "origin.example", 22).await.unwrap(), b"hello");
    assert!(asked.lock().unwrap().starts_with("CONNECT origin.example:22 HTTP/1.1\r\n"));
    let settings = UpstreamSettings { allow_private: Vec::new(), ..settings() };
    let upstream = Upstream::new(settings).unwrap();
    for (host, fault) in [
        ("127.0.0.1", "address-refused"),
        ("user@127.0.0.1", "target-invalid"),
        ("127.0.0.1/x", "target-invalid"),
    ] {
        assert_eq!(echoed(&upstream, host, echo.port()).await.unwrap_err().name(), fault);
    }
}

#[tokio::test]
async fn a_proxy_may_itself_have_tls() {
    let trust = trust("localhost", &[]);
    let ok = |_: &str| vec![Act::Send(answer("200 OK", &[], "hello"))];
    let (proxy, seen) = scripted(&trust, ok).await;
    let next_hop = Some(format!("https://localhost:{}", proxy.port()).parse().unwrap());
    let upstream = Upstream::new(UpstreamSettings { next_hop, ..trusting(&trust) }).unwrap();
    let fetch = fetch(Scheme::Http, "origin.example", "/x");
    assert_eq!(upstream.get_with(&fetch, &[]).await.unwrap().status, 200);
    assert!(seen.heads.lock().unwrap().concat().starts_with("GET http://origin.example/x "));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let refusal = Some("HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n");
    let (proxy, _) = tunnel(([127, 0, 0, 1], 9).into(), refusal).await;
    let upstream = Upstream::new(by(format!("http://user:secret@{proxy}"))).unwrap();
    let fetch = fetch(Scheme::Https, "origin.example", "/");
    let fault = upstream.get_with(&fetch, &[]).await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("proxy-failed", 502));
    let text = fault.to_string();
    assert!(text.contains(&proxy.to_string()) && text.contains("authorization"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_is_away() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let upstream = Upstream::new(by(format!("http://{closed}"))).unwrap();
    for scheme in [Scheme::Http, Scheme::Https] {
        let fetch = fetch(scheme, "origin.example", "/");
        let fault = upstream.get_with(&fetch, &[]).await.unwrap_err();
        assert_eq!(fault.name(), "proxy-failed");
        assert!(fault.to_string().contains("refused"), "{fault}");
    }
}

#[tokio::test]
async fn no_proxy_is_asked_for_private_addresses() {
    let proxy = Origin::saying(answer("200 OK", &[], "hello")).await;
    let settings =
        UpstreamSettings { allow_private: Vec::new(), ..by(format!("http://{}", proxy.host())) };
    let upstream = Upstream::new(settings).unwrap();
    for host in ["10.0.0.1", "[::1]:80", "localhost", "127.1", "169.254.169.254"] {
        let fault = upstream.get_with(&fetch(Scheme::Http, host, "/"), &[]).await.unwrap_err();
        assert_eq!(fault.name(), "address-refused", "{host}");
    }
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name() {
    let origin = Origin::saying(answer("200 OK", &[], "hello")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let to = origin.address;
    let greeted = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut asked = [0; 4 + 1 + 14 + 2];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        tokio::spawn(relay(stream, TcpStream::connect(to).await.unwrap()));
        asked
    });
    let proxies = Proxies { all: format!("socks5h://{proxy}"), ..Proxies::default() };
    let upstream = Upstream::new(UpstreamSettings { proxies, ..settings() }).unwrap();
    let fetch = fetch(Scheme::Http, "origin.example", "/x");
    let mut answer = upstream.get_with(&fetch, &[]).await.unwrap();
    assert_eq!(answer.body.text().await.unwrap(), "hello");
    assert_eq!(&greeted.await.unwrap()[..], b"\x05\x01\x00\x03\x0eorigin.example\x00\x50");
    assert!(origin.heads().concat().starts_with("GET /x HTTP/1.1\r\n"));
}
