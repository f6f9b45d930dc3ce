//! Bytes within gRPC calls, and sessions that pass through them either way.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::support::{Fails, Setting, all, grpc_head, request, status};
use crate::buildkit::messages::framed;
use crate::buildkit::terminate::{
    Begin, ByteStream, H2Limits, H2Reply, Judge, MessageIo, OpenAlready, serve,
};

const SESSION: &str = "/moby.buildkit.v1.Control/Session";

type Runs = Box<dyn FnOnce(MessageIo<'static>) -> BoxFuture<'static, ()> + Send>;

/// Takes the first stream over with a function.
struct Taken(Mutex<Option<Runs>>);

struct Running(Runs);

impl ByteStream for Running {
    fn run(self: Box<Self>, stream: MessageIo<'static>) -> BoxFuture<'static, ()> {
        self.0(stream)
    }
}

impl Judge for Taken {
    fn begin<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Begin> {
        let runs = self.0.lock().unwrap().take().unwrap();
        Box::pin(std::future::ready(Begin::Bytes(Box::new(Running(runs)))))
    }
}

/// A client's end of a terminator that hands its stream to a function.
fn taken(runs: Runs) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let judge = Arc::new(Taken(Mutex::new(Some(runs))));
    let nobody = Fails(H2Reply::Grpc { code: 14, message: String::new() });
    tokio::spawn(async move {
        let drain = CancellationToken::new();
        serve(Box::new(ours), Box::new(nobody), judge, &drain, H2Limits::default()).await;
    });
    theirs
}

async fn call(io: UnixStream) -> MessageIo<'static> {
    let limits = H2Limits::default();
    MessageIo::call(Box::new(io), SESSION, HeaderMap::new(), &limits).await.unwrap()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_way_ends() {
    let socket = taken(Box::new(|mut stream| {
        Box::pin(async move {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            // The other way is still open.
            stream.write_all(&heard).await.unwrap();
            stream.shutdown().await.unwrap();
        })
    }));
    let mut stream = call(socket).await;
    let said = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect::<Vec<_>>();
    stream.write_all(&said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert!(heard == said);
}

#[tokio::test]
async fn who_is_not_read_is_not_taken_more_from() {
    let (send, kept) = tokio::sync::oneshot::channel();
    let socket = taken(Box::new(|stream| {
        Box::pin(async move {
            let _ = send.send(stream);
        })
    }));
    let mut stream = call(socket).await;
    let mut taken = 0;
    while let Some(n) = {
        let mut waited = 0;
        std::future::poll_fn(|cx| {
            waited += 1;
            let piece = [0; 8192];
            match std::pin::Pin::new(&mut stream).poll_write_buf(cx, &piece) {
                std::task::Poll::Ready(n) => std::task::Poll::Ready(n.ok()),
                std::task::Poll::Pending if waited > 100 => std::task::Poll::Ready(None),
                std::task::Poll::Pending => {
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
            }
        })
        .await
    } {
        taken += n;
        assert!(taken < 1 << 20);
    }
    assert!(taken > 60_000, "{taken}");
    drop(kept.await.unwrap());
    // The other side is gone, which ends the wait.
    assert!(stream.read_u8().await.is_err());
}

trait PollWrite {
    fn poll_write_buf(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        piece: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>>;
}

impl PollWrite for MessageIo<'static> {
    fn poll_write_buf(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        piece: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(self, cx, piece)
    }
}

/// An engine that answers the first call as this says.
async fn answered(
    head: Response<()>,
    said: &'static [u8],
    fields: Option<HeaderMap>,
) -> std::io::Result<Vec<u8>> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let mut engine = h2::server::handshake(theirs).await.unwrap();
        let (_asked, mut respond) = engine.accept().await.unwrap().unwrap();
        let is_end = said.is_empty() && fields.is_none();
        let mut down = respond.send_response(head, is_end).unwrap();
        if !is_end {
            down.send_data(Bytes::from_static(said), fields.is_none()).unwrap();
        }
        if let Some(fields) = fields {
            down.send_trailers(fields).unwrap();
        }
        while engine.accept().await.is_some() {}
    });
    let mut heard = Vec::new();
    call(ours).await.read_to_end(&mut heard).await.map(|_| heard)
}

#[tokio::test]
async fn a_stream_that_is_refused_or_malformed_is_an_error() {
    let heard = answered(grpc_head(), b"\0\0\0\0\x03\x0a\x01x", Some(status(0))).await;
    assert_eq!(heard.unwrap(), b"x");
    let mut refused = grpc_head();
    refused.headers_mut().insert("grpc-status", 12.into());
    assert!(answered(refused, b"", None).await.is_err());
    assert!(answered(grpc_head(), b"", Some(status(7))).await.is_err());
    assert!(answered(Response::builder().status(502).body(()).unwrap(), b"", None).await.is_err());
    for malformed in
        [&b"\0\0\0\0\x03\x0a\x01"[..], b"\x01\0\0\0\0", b"\0\xff\0\0\0", b"\0\0\0\0\x01\x0a"]
    {
        assert!(answered(grpc_head(), malformed, Some(status(0))).await.is_err(), "{malformed:?}");
    }
}

/// Somebody's process that serves a session: it answers one call of its engine's.
async fn caller(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut server = h2::server::handshake(io).await.unwrap();
    let (mut asked, mut respond) = server.accept().await.unwrap().unwrap();
    let answer = async {
        assert_eq!(asked.uri().path(), "/moby.filesync.v1.FileSync/DiffCopy");
        assert_eq!(all(asked.body_mut()).await.0, framed(b"which files"));
        let mut down = respond.send_response(grpc_head(), false).unwrap();
        down.send_data(framed(&[b'f'; 100_000]), false).unwrap();
        down.send_trailers(status(0)).unwrap();
    };
    tokio::join!(answer, async {
        while server.accept().now_or_never().is_none() {
            tokio::task::yield_now().await;
        }
    });
}

/// An engine in a session: it asks, and hears all of the answer.
async fn engine(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) {
    let (mut client, connection) = h2::client::handshake(io).await.unwrap();
    let driving = tokio::spawn(connection);
    let asked = request("/moby.filesync.v1.FileSync/DiffCopy");
    let (answer, mut asking) = client.send_request(asked, false).unwrap();
    asking.send_data(framed(b"which files"), true).unwrap();
    let mut answer = answer.await.unwrap();
    let (data, fields) = all(answer.body_mut()).await;
    assert_eq!((data, fields), (framed(&[b'f'; 100_000]), Some(status(0))));
    drop((client, answer, asking));
    driving.abort();
}

#[tokio::test]
async fn a_session_of_a_call_reaches_an_engine_with_an_upgrade() {
    let (engine_ours, engine_theirs) = UnixStream::pair().unwrap();
    let (judge, mut ended) = Setting::default().judge();
    let socket = taken(Box::new(|stream| {
        Box::pin(async move {
            let drain = CancellationToken::new();
            let caller = Box::new(OpenAlready(Some(Box::new(stream))));
            serve(Box::new(engine_ours), caller, judge, &drain, H2Limits::default()).await;
        })
    }));
    let calling = tokio::spawn(async move { caller(call(socket).await).await });
    engine(engine_theirs).await;
    let end = ended.recv().await.unwrap();
    assert_eq!((end.status, end.answered_bytes), (Some(0), 100_005));
    calling.await.unwrap();
}

#[tokio::test]
async fn a_session_with_an_upgrade_reaches_an_engine_by_a_call() {
    let (engine_ours, engine_theirs) = UnixStream::pair().unwrap();
    let (caller_ours, caller_theirs) = UnixStream::pair().unwrap();
    let (judge, mut ended) = Setting::default().judge();
    let outer = tokio::spawn(async move {
        let mut outer = h2::server::handshake(engine_theirs).await.unwrap();
        let (asked, mut respond) = outer.accept().await.unwrap().unwrap();
        assert_eq!(asked.uri().path(), SESSION);
        let sink = respond.send_response(grpc_head(), false).unwrap();
        drop(respond);
        let stream = MessageIo::of_client(asked.into_body(), sink);
        tokio::join!(engine(stream), async { while outer.accept().await.is_some() {} });
    });
    let serving = tokio::spawn(async move {
        let drain = CancellationToken::new();
        let server = Box::new(call(engine_ours).await);
        let caller = Box::new(OpenAlready(Some(Box::new(caller_ours))));
        serve(server, caller, judge, &drain, H2Limits::default()).await;
    });
    caller(caller_theirs).await;
    assert_eq!(ended.recv().await.unwrap().status, Some(0));
    outer.await.unwrap();
    serving.await.unwrap();
}
