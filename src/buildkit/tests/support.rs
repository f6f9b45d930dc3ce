//! A client, an engine, and the terminator between them, over pairs of unix sockets.
//!
//! What must stay true: no test waits for a time; what is waited for is an event on one of the ends.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::buildkit::messages::framed;
use crate::buildkit::terminate::{
    Begin, CallEnd, Exchange, H2Limits, H2Reply, Io, Judge, Judged, OpenAlready, ReadsMessages,
    Upstream, serve,
};

/// How the terminator is to judge; what it was asked and told.
pub(super) struct Script {
    pub(super) reads: ReadsMessages,
    pub(super) reads_answer: ReadsMessages,
    /// Of each message of the client's.
    pub(super) request: fn(Bytes) -> Result<Judged, H2Reply>,
    pub(super) answer: fn(Bytes) -> Result<Option<Bytes>, H2Reply>,
    pub(super) path: Option<&'static str>,
    /// Of paths that begin so: they are answered by us.
    pub(super) refused: &'static str,
    pub(super) ended: mpsc::UnboundedSender<CallEnd>,
}

struct Scripted(Arc<Script>);

impl Judge for Scripted {
    fn begin<'a>(&'a self, asked: &'a Parts) -> BoxFuture<'a, Begin> {
        let is_refused = asked.uri.path().starts_with(self.0.refused);
        let begin = match is_refused || !asked.uri.path().contains('.') {
            true => Begin::Answer(H2Reply::Grpc { code: 7, message: "no".to_owned() }),
            false => Begin::Exchange(Box::new(Scripted(Arc::clone(&self.0)))),
        };
        Box::pin(std::future::ready(begin))
    }
}

impl Exchange for Scripted {
    fn reads(&self) -> ReadsMessages {
        self.0.reads
    }

    fn request(&mut self, message: Bytes) -> BoxFuture<'_, Result<Judged, H2Reply>> {
        Box::pin(std::future::ready((self.0.request)(message)))
    }

    fn metadata(&mut self, headers: &mut HeaderMap) {
        headers.remove("authorization");
    }

    fn path(&self) -> Option<&'static str> {
        self.0.path
    }

    fn reads_answer(&self) -> ReadsMessages {
        self.0.reads_answer
    }

    fn answer(&mut self, message: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, H2Reply>> {
        Box::pin(std::future::ready((self.0.answer)(message)))
    }

    fn ended(&mut self, how: CallEnd) {
        let _ = self.0.ended.send(how);
    }
}

/// An engine that can be reached, or says why not.
pub(super) struct Fails(pub(super) H2Reply);

impl<'io> Upstream<'io> for Fails {
    fn connect<'a>(&'a mut self) -> BoxFuture<'a, Result<Io<'io>, H2Reply>>
    where
        'io: 'a,
    {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }
}

/// The terminator and both ends of it.
pub(super) struct Between {
    pub(super) client: SendRequest<Bytes>,
    pub(super) engine: EngineHears,
    pub(super) ended: mpsc::UnboundedReceiver<CallEnd>,
    pub(super) drain: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    pub(super) client_end: JoinHandle<Result<(), h2::Error>>,
    pub(super) engine_end: JoinHandle<()>,
    /// Tells the engine to say GOAWAY and finish.
    pub(super) leave: CancellationToken,
}

pub(super) struct Setting {
    pub(super) reads: ReadsMessages,
    pub(super) reads_answer: ReadsMessages,
    pub(super) request: fn(Bytes) -> Result<Judged, H2Reply>,
    pub(super) answer: fn(Bytes) -> Result<Option<Bytes>, H2Reply>,
    pub(super) path: Option<&'static str>,
    pub(super) limits: H2Limits,
    pub(super) engine: h2::server::Builder,
    pub(super) client: h2::client::Builder,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            reads: ReadsMessages::Streamed,
            reads_answer: ReadsMessages::Streamed,
            request: |message| Ok(Judged::Send(message)),
            answer: |message| Ok(Some(message)),
            path: None,
            limits: H2Limits::default(),
            engine: h2::server::Builder::new(),
            client: h2::client::Builder::new(),
        }
    }
}

impl Setting {
    pub(super) fn judge(&self) -> (Arc<dyn Judge>, mpsc::UnboundedReceiver<CallEnd>) {
        let (ended, endings) = mpsc::unbounded_channel();
        let script = Script {
            reads: self.reads,
            reads_answer: self.reads_answer,
            request: self.request,
            answer: self.answer,
            path: self.path,
            refused: "/no.",
            ended,
        };
        (Arc::new(Scripted(Arc::new(script))), endings)
    }

    pub(super) async fn start(self) -> Between {
        let (engine_side, engine_socket) = UnixStream::pair().unwrap();
        self.start_with(Box::new(OpenAlready(Some(Box::new(engine_side)))), Some(engine_socket))
            .await
    }

    pub(super) async fn start_with(
        self,
        upstream: Box<dyn Upstream<'static>>,
        socket: Option<UnixStream>,
    ) -> Between {
        let (client_side, client) = UnixStream::pair().unwrap();
        let (judge, ended) = self.judge();
        let (drain, leave) = (CancellationToken::new(), CancellationToken::new());
        let (drained, limits) = (drain.clone(), self.limits);
        let serving = tokio::spawn(async move {
            serve(Box::new(client_side), upstream, judge, &drained, limits).await;
        });
        let (engine, engine_end) = match socket {
            Some(socket) => engine(socket, self.engine, leave.clone()),
            None => (mpsc::unbounded_channel().1, tokio::spawn(async {})),
        };
        let (client, connection) = self.client.handshake(client).await.unwrap();
        let client_end = tokio::spawn(connection);
        Between { client, engine, ended, drain, serving, client_end, engine_end, leave }
    }
}

/// What an engine is asked.
pub(super) type EngineHears = mpsc::UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>;

/// An engine that speaks HTTP/2 until it is told to leave.
pub(super) fn engine(
    socket: UnixStream,
    builder: h2::server::Builder,
    leave: CancellationToken,
) -> (EngineHears, JoinHandle<()>) {
    let (seen, sees) = mpsc::unbounded_channel();
    (sees, tokio::spawn(run_engine(socket, builder, leave, seen)))
}

async fn run_engine(
    socket: UnixStream,
    builder: h2::server::Builder,
    leave: CancellationToken,
    seen: mpsc::UnboundedSender<(Request<RecvStream>, SendResponse<Bytes>)>,
) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    loop {
        tokio::select! {
            asked = connection.accept() => match asked {
                Some(Ok(asked)) => drop(seen.send(asked)),
                _ => return,
            },
            () = leave.cancelled(), if !leave.is_cancelled() => {}
        }
        if leave.is_cancelled() {
            connection.graceful_shutdown();
            while let Some(Ok(asked)) = connection.accept().await {
                drop(seen.send(asked));
            }
            return;
        }
    }
}

impl Between {
    /// A call of a method, with some bytes of it said.
    pub(super) async fn call(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(request(path), false).unwrap()
    }

    pub(super) async fn engine_sees(&mut self) -> (Request<RecvStream>, SendResponse<Bytes>) {
        self.engine.recv().await.unwrap()
    }

    /// A whole call of one message each way, which works.
    pub(super) async fn works(&mut self) {
        let (answer, mut asking) = self.call("/a.B/C").await;
        asking.send_data(framed(b"ask"), true).unwrap();
        let (mut asked, mut respond) = self.engine_sees().await;
        assert_eq!(all(asked.body_mut()).await.0, framed(b"ask"));
        let mut down = respond.send_response(grpc_head(), false).unwrap();
        down.send_data(framed(b"told"), false).unwrap();
        down.send_trailers(status(0)).unwrap();
        let mut answer = answer.await.unwrap();
        let (data, fields) = all(answer.body_mut()).await;
        assert_eq!(
            (data, &fields.unwrap()["grpc-status"]),
            (framed(b"told"), &"0".parse().unwrap())
        );
    }
}

pub(super) fn request(path: &str) -> Request<()> {
    Request::builder()
        .method("POST")
        .uri(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

pub(super) fn grpc_head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(super) fn status(code: u8) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", u16::from(code).into());
    fields
}

/// What comes to the end, taken as it comes.
pub(super) async fn all(body: &mut RecvStream) -> (Bytes, Option<HeaderMap>) {
    let mut data = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        data.extend_from_slice(&piece);
    }
    (data.into(), body.trailers().await.unwrap())
}
