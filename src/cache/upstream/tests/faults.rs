//! Origins that fail, one way each; and what we refuse ourselves.

use std::time::Duration;

use super::origin::Act;
use super::*;

fn sends(bytes: &str, then: Act) -> impl Fn(&str) -> Vec<Act> + Send + Sync + 'static {
    let bytes = bytes.as_bytes().to_vec();
    move |_| vec![Act::Send(bytes.clone()), then.clone()]
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come() {
    for start in ["", "HTTP/1.1 200 OK\r\nx: "] {
        let origin = Origin::new(sends(start, Act::Hang)).await;
        let fault = upstream().get(&origin, "/").await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("head-timeout", 504));
        assert!(fault.is_origin());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let origin = Origin::new(sends(head, Act::Hang)).await;
    let mut answer = upstream().get(&origin, "/").await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "hello");
    assert_eq!(answer.body.next().await.unwrap().unwrap_err().name(), "body-stalled");
    assert!(answer.body.next().await.is_none());
}

#[tokio::test]
async fn a_body_that_is_cut() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        let origin = Origin::new(sends(head, Act::Close)).await;
        let mut answer = upstream().get(&origin, "/").await.unwrap();
        let fault = answer.body.text().await.unwrap_err();
        assert_eq!(fault.name(), "body-broken", "{head}");
        assert_eq!(origin.heads().len(), 1);
    }
}

#[tokio::test]
async fn heads_without_measure() {
    let many = "HTTP/1.1 200 OK\r\n".to_owned() + &"x: y\r\n".repeat(1000) + "\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"x: y\r\n".repeat(200_000);
    let over = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(65 << 10));
    for head in [many, long, endless, over] {
        let origin = Origin::new(sends(&head, Act::Hang)).await;
        let fault = upstream().get(&origin, "/").await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("head-too-large", 502));
    }
}

#[tokio::test]
async fn heads_that_are_none() {
    for head in [
        "SSH-2.0-OpenSSH_9\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    ] {
        let origin = Origin::new(sends(head, Act::Close)).await;
        let fault = upstream().get(&origin, "/").await.unwrap_err();
        assert_eq!(fault.name(), "head-invalid", "{head}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_and_no_second_request() {
    for end in [Act::Close, Act::Reset] {
        for start in ["", "HTTP/1.1 200 OK\r\nx: "] {
            let origin = Origin::new(sends(start, end.clone())).await;
            let fault = upstream().get(&origin, "/").await.unwrap_err();
            assert_eq!((fault.name(), fault.status().as_u16()), ("connection-closed", 502));
            assert_eq!(origin.heads().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_is_a_reason_for_one_request_over_a_fresh_one() {
    let origin = Origin::new(|head| match head.starts_with("GET /first ") {
        true => vec![Act::Send(answer("200 OK", &[], "hello"))],
        false => vec![Act::Reset],
    })
    .await;
    let upstream = upstream();
    upstream.get(&origin, "/first").await.unwrap().body.text().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(upstream.get(&origin, "/second").await.unwrap_err().name(), "connection-closed");
    assert_eq!((origin.heads().len(), origin.connections()), (3, 2));
}

#[tokio::test]
async fn nobody_listens() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = closed.local_addr().unwrap().to_string();
    drop(closed);
    let fetch = fetch(Scheme::Http, &host, "/");
    let fault = upstream().get_with(&fetch, &[]).await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("connect-failed", 502));
    assert!(fault.is_origin());
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let origin = Origin::saying(answer("200 OK", &[], "")).await;
    let port = origin.address.port();
    let upstream =
        Upstream::new(UpstreamSettings { allow_private: Vec::new(), ..settings() }).unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1"] {
        let fetch = fetch(Scheme::Http, &format!("{host}:{port}"), "/");
        let fault = upstream.get_with(&fetch, &[]).await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("address-refused", 502), "{host}");
        assert!(!fault.is_origin() && fault.hint().is_some());
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_request_that_was_here_before() {
    let origin = Origin::saying(answer("200 OK", &[], "")).await;
    let fetch = fetch(Scheme::Http, &origin.host(), "/");
    for field in [("cdn-loop", "other, us"), ("via", "1.1 us")] {
        let fault = upstream().get_with(&fetch, &[field]).await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("loop", 508));
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn targets_that_are_none() {
    for (host, target) in [
        ("", "/"),
        ("a b", "/"),
        ("user@127.0.0.1", "/"),
        ("127.0.0.1:99999", "/"),
        ("127.0.0.1/x", "/"),
        ("127.0.0.1", "x"),
        ("127.0.0.1", "/a b"),
    ] {
        let fault = upstream().get_with(&fetch(Scheme::Http, host, target), &[]).await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("target-invalid", 400), "{host}");
    }
}

#[tokio::test]
async fn a_url_that_asks_to_be_left_alone_is() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let origin = Origin::saying(answer(status, &["retry-after: 100"], "no")).await;
        let upstream = upstream();
        assert!(status.starts_with(upstream.get(&origin, "/").await.unwrap().status.as_str()));
        let fault = upstream.get(&origin, "/").await.unwrap_err();
        assert_eq!((fault.name(), fault.status().as_u16()), ("origin-busy", 503));
        assert!(fault.retry_after().unwrap() <= Duration::from_secs(100) && fault.is_origin());
        assert_eq!(origin.heads().len(), 1);
        upstream.get(&origin, "/other").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_at_a_time_than_the_limit_until_a_body_has_ended() {
    let origin = Origin::saying(answer("200 OK", &[], "hello")).await;
    let upstream = Upstream::new(UpstreamSettings { per_host: 1, ..settings() }).unwrap();
    let mut first = upstream.get(&origin, "/").await.unwrap();
    let fault = upstream.get(&origin, "/").await.unwrap_err();
    assert_eq!((fault.name(), fault.status().as_u16()), ("queue-timeout", 503));
    first.body.text().await.unwrap();
    let second = upstream.get(&origin, "/").await.unwrap();
    assert_eq!(upstream.get(&origin, "/").await.unwrap_err().name(), "queue-timeout");
    drop(second);
    upstream.get(&origin, "/").await.unwrap();
}
