//! What goes over the wire, and what comes back, when nothing is wrong.

use std::sync::Mutex;

use tokio::sync::mpsc;

use super::origin::Act;
use super::*;

#[tokio::test]
async fn a_request_is_sent_as_given_with_our_mark() {
    let origin = Origin::saying(answer("200 OK", &["x: y", "etag: \"e\""], "hello")).await;
    let given = [
        ("accept", "*/*"),
        ("host", "elsewhere"),
        ("connection", "close, x-hop"),
        ("transfer-encoding", "chunked"),
        ("content-length", "9"),
        ("via", "1.1 other"),
    ];
    let fetch = fetch(Scheme::Http, &origin.host(), "/a%20b/c?d=e");
    let mut answer = upstream().get_with(&fetch, &given).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["etag"], "\"e\"");
    assert_eq!(answer.length, Some(5));
    assert_eq!(answer.body.text().await.unwrap(), "hello");
    assert!(answer.hops.is_empty());
    let head = origin.heads().concat();
    let mut lines: Vec<_> = head.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.remove(0), "GET /a%20b/c?d=e HTTP/1.1");
    lines.sort_unstable();
    let host = format!("host: {}", origin.host());
    assert_eq!(lines, ["accept: */*", "cdn-loop: us", &host, "via: 1.1 other", "via: 1.1 us"]);
}

#[tokio::test]
async fn a_connection_is_kept_when_the_body_was_read() {
    let origin = Origin::saying(answer("200 OK", &[], "hello")).await;
    let upstream = upstream();
    for _ in 0..3 {
        upstream.get(&origin, "/").await.unwrap().body.text().await.unwrap();
        // The connection's task puts it back.
        tokio::task::yield_now().await;
    }
    assert_eq!((origin.heads().len(), origin.connections()), (3, 1));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_not_used() {
    let origin = Origin::new(|_| vec![Act::Send(answer("200 OK", &[], "hello")), Act::Close]).await;
    let upstream = upstream();
    for _ in 0..3 {
        let mut answer = upstream.get(&origin, "/").await.unwrap();
        assert_eq!(answer.body.text().await.unwrap(), "hello");
        // The origin closes; the connection's task hears of it.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((origin.heads().len(), origin.connections()), (3, 3));
}

#[tokio::test]
async fn chunks_have_no_length_and_trailers_are_dropped() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\nhe\r\n3\r\nllo\r\n0\r\nx-trailer: 1\r\n\r\n";
    let origin = Origin::saying(chunked).await;
    let mut answer = upstream().get(&origin, "/").await.unwrap();
    assert_eq!(answer.length, None);
    assert_eq!(answer.body.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_length_that_does_not_frame_the_body_is_removed() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                5\r\nhello\r\n0\r\n\r\n";
    let origin = Origin::saying(both).await;
    let mut answer = upstream().get(&origin, "/").await.unwrap();
    assert_eq!((answer.length, answer.headers.get("content-length")), (None, None));
    assert_eq!(answer.body.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_body_may_end_with_the_connection() {
    let origin =
        Origin::new(|_| vec![Act::Send(b"HTTP/1.0 200 OK\r\n\r\nhello".into()), Act::Close]).await;
    let mut answer = upstream().get(&origin, "/").await.unwrap();
    assert_eq!((answer.length, answer.version), (None, Version::HTTP_10));
    assert_eq!(answer.body.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn answers_without_body_keep_their_declared_length() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n";
    let origin = Origin::saying(head).await;
    let fetch = fetch(Scheme::Http, &origin.host(), "/");
    let upstream = upstream();
    for _ in 0..2 {
        let mut answer = upstream
            .send(&fetch, Method::HEAD, HeaderMap::new(), RequestBody::Empty, None, None)
            .await
            .unwrap();
        assert_eq!(answer.length, Some(1234));
        assert_eq!(answer.headers["content-length"], "1234");
        assert_eq!(answer.body.text().await.unwrap(), "");
        tokio::task::yield_now().await;
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn interim_answers_are_heard() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let origin = Origin::saying([early.as_bytes(), &answer("200 OK", &[], "hello")].concat()).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let interim: Interim = Arc::new(move |status, headers| {
        hear.lock().unwrap().push((status.as_u16(), headers["link"].clone()));
    });
    let fetch = fetch(Scheme::Http, &origin.host(), "/");
    let headers = HeaderMap::new();
    let answer = upstream()
        .send(&fetch, Method::GET, headers, RequestBody::Empty, None, Some(interim))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(*heard.lock().unwrap(), [(103, "</a>".parse().unwrap())]);
}

async fn post(body: RequestBody, reads: usize) -> (Result<OriginResponse, Fault>, Origin) {
    let origin =
        Origin::new(move |_| vec![Act::Read(reads), Act::Send(answer("201 Created", &[], "ok"))])
            .await;
    let fetch = fetch(Scheme::Http, &origin.host(), "/");
    let upstream = upstream();
    let answer = upstream.send(&fetch, Method::POST, HeaderMap::new(), body, None, None).await;
    (answer, origin)
}

fn pieces(pieces: &[Result<&'static str, &str>], length: Option<u64>) -> RequestBody {
    let (sender, receiver) = mpsc::channel(16);
    for piece in pieces {
        let piece = piece.map(Bytes::from).map_err(str::to_owned);
        sender.try_send(piece).unwrap();
    }
    RequestBody::Stream { pieces: receiver, length }
}

#[tokio::test]
async fn a_request_body_is_framed_by_its_length_or_in_chunks() {
    for (body, field, wire) in [
        (RequestBody::Whole("hello".into()), "content-length: 5", "hello"),
        (pieces(&[Ok("he"), Ok("llo")], Some(5)), "content-length: 5", "hello"),
        (
            pieces(&[Ok("he"), Ok("llo"), Ok("")], None),
            "transfer-encoding: chunked",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
        (RequestBody::Empty, "content-length: 0", ""),
    ] {
        let (answer, origin) = post(body, wire.len()).await;
        assert_eq!(answer.unwrap().status, 201);
        assert!(origin.heads().concat().contains(field), "{field}: {:?}", origin.heads());
        assert_eq!(origin.bodies(), wire.as_bytes());
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_breaks_the_request_off() {
    for body in [
        pieces(&[Ok("hel")], None),
        pieces(&[Ok("he"), Err("gone")], Some(5)),
        pieces(&[Ok("he"), Err("gone")], None),
        pieces(&[Ok("he")], Some(5)),
        pieces(&[Ok("hello!")], Some(5)),
    ] {
        let (answer, _) = post(body, 100).await;
        assert_eq!(answer.unwrap_err().name(), "request-body-broken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_is_no_slow_head() {
    let (sender, receiver) = mpsc::channel(1);
    let body = RequestBody::Stream { pieces: receiver, length: Some(10) };
    // Nor is a slow client a slow host.
    let wait = settings().head_timeout * 2;
    tokio::spawn(async move {
        for _ in 0..10 {
            tokio::time::sleep(wait).await;
            sender.send(Ok("x".into())).await.unwrap();
        }
    });
    let (answer, _) = post(body, 10).await;
    assert_eq!(answer.unwrap().status, 201);
}
