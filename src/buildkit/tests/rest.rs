//! REST requests over HTTP/2, and who answers them in HTTP/1.1.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::support::{Fails, all};
use crate::buildkit::terminate::{Begin, H2Limits, H2Reply, Io, Judge, Rest, serve};

/// Whoever serves HTTP/1.1: gets a connection for each request.
struct Opens(mpsc::UnboundedSender<UnixStream>);

impl Judge for Opens {
    fn begin<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Begin> {
        let rest = Begin::Rest(Box::new(Opens(self.0.clone())));
        Box::pin(std::future::ready(rest))
    }
}

impl Rest for Opens {
    fn open(self: Box<Self>) -> BoxFuture<'static, Result<Io<'static>, H2Reply>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.0.send(theirs).unwrap();
        Box::pin(std::future::ready(Ok(Box::new(ours) as Io<'static>)))
    }
}

struct RestAsked {
    client: h2::client::SendRequest<Bytes>,
    opened: mpsc::UnboundedReceiver<UnixStream>,
}

impl RestAsked {
    async fn start() -> RestAsked {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (opens, opened) = mpsc::unbounded_channel();
        let nobody = Fails(H2Reply::Grpc { code: 14, message: String::new() });
        tokio::spawn(async move {
            let drain = CancellationToken::new();
            let judge = Arc::new(Opens(opens));
            serve(Box::new(ours), Box::new(nobody), judge, &drain, H2Limits::default()).await;
        });
        let (client, connection) = h2::client::handshake(theirs).await.unwrap();
        tokio::spawn(connection);
        RestAsked { client, opened }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        is_end: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let uri = format!("http://docker{path}");
        let asked = Request::builder().method(method).uri(uri).header("x-asked", "1");
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(asked.body(()).unwrap(), is_end).unwrap()
    }

    /// The connection of the next request, behind its head.
    async fn head(&mut self) -> (String, UnixStream) {
        let mut stream = self.opened.recv().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap(), stream)
    }
}

async fn answer(future: h2::client::ResponseFuture) -> (Response<()>, String, Option<HeaderMap>) {
    let (head, mut body) = future.await.unwrap().into_parts();
    let (data, fields) = all(&mut body).await;
    (Response::from_parts(head, ()), String::from_utf8(data.to_vec()).unwrap(), fields)
}

#[tokio::test]
async fn a_request_is_asked_in_http_1_and_its_answer_passes() {
    let mut served = RestAsked::start().await;
    let (future, _) = served.ask(Method::GET, "/v1.44/info?x=%2f", true).await;
    let (head, mut stream) = served.head().await;
    assert!(head.starts_with("GET /v1.44/info?x=%2f HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: docker\r\n") && head.contains("x-asked: 1\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    let said =
        b"HTTP/1.1 404 Not Found\r\nconnection: close, x-hop\r\nx-hop: 1\r\napi-version: 1.44\r\n\
        content-length: 2\r\n\r\n{}";
    stream.write_all(said).await.unwrap();
    let (head, body, _) = answer(future).await;
    assert_eq!((head.status().as_u16(), body.as_str()), (404, "{}"));
    assert_eq!(head.headers()["api-version"], "1.44");
    assert!(!head.headers().contains_key("connection") && !head.headers().contains_key("x-hop"));
}

#[tokio::test]
async fn bodies_pass_while_they_come() {
    let mut served = RestAsked::start().await;
    let (future, mut asking) = served.ask(Method::POST, "/build", false).await;
    let (head, mut stream) = served.head().await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    asking.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut heard = [0; 8];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"3\r\none\r\n");
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        .await
        .unwrap();
    let mut answer = future.await.unwrap();
    assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "hi");
    asking.send_data(Bytes::from_static(b"two"), true).unwrap();
    let mut heard = [0; 13];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"3\r\ntwo\r\n0\r\n\r\n");
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(all(answer.body_mut()).await.0.is_empty());
}

#[tokio::test]
async fn who_is_not_read_is_not_taken_more_from() {
    let mut served = RestAsked::start().await;
    let (future, _) = served.ask(Method::GET, "/containers/x/export", true).await;
    let (_, mut stream) = served.head().await;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut answer = future.await.unwrap();
    let (mut written, mut idle) = (0, 0);
    while idle < 100 {
        match stream.try_write(&[b'x'; 4096]) {
            Ok(n) => (written, idle) = (written + n, 0),
            Err(_) => idle += 1,
        }
        assert!(written < 4 << 20, "no end");
        tokio::task::yield_now().await;
    }
    drop(stream);
    assert_eq!(all(answer.body_mut()).await.0.len(), written);
}

#[tokio::test]
async fn a_client_that_gives_up_closes_the_connection() {
    for is_answered in [false, true] {
        let mut served = RestAsked::start().await;
        let (future, mut asking) = served.ask(Method::POST, "/wait", false).await;
        let (_, mut stream) = served.head().await;
        let mut kept = None;
        if is_answered {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            kept = Some(future.await.unwrap());
        }
        asking.send_reset(h2::Reason::CANCEL);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        drop(kept);
    }
}

#[tokio::test]
async fn what_would_take_the_connection_over_is_refused() {
    let mut served = RestAsked::start().await;
    let (future, _) = served.ask(Method::POST, "/v1.44/containers/x/attach", true).await;
    let (head, body, _) = answer(future).await;
    assert_eq!(head.status(), 501);
    assert!(body.contains("HTTP/1.1"), "{body}");
    assert!(served.opened.try_recv().is_err());
    let (future, _) = served.ask(Method::GET, "/x", true).await;
    let (_, mut stream) = served.head().await;
    let said = b"HTTP/1.1 101 UPGRADED\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n";
    stream.write_all(said).await.unwrap();
    assert_eq!(answer(future).await.0.status(), 501);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    let mut served = RestAsked::start().await;
    let (future, _) = served.ask(Method::GET, "/x", true).await;
    let (_, stream) = served.head().await;
    drop(stream);
    assert_eq!(answer(future).await.0.status(), 502);
    let (future, _) = served.ask(Method::GET, "/x", true).await;
    let (_, mut stream) = served.head().await;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi").await.unwrap();
    let mut answer = future.await.unwrap();
    drop(stream);
    let mut body = answer.body_mut().data().await.unwrap();
    if body.is_ok() {
        body = answer.body_mut().data().await.unwrap();
    }
    assert!(body.is_err());
}
