//! An engine that does nothing: it answers as one would that did, so that a client says all that it has to say.
//!
//! `explain::command` puts it behind the gateway, on a socket that nobody else can reach. What must stay true: nothing is
//! run, fetched or opened here; what is made is kept in memory and goes with the command; bodies are read away.

mod answers;
mod builder;
mod things;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header, upgrade};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use answers::{Asked, Reply};
use builder::Builder;
use things::Things;

use crate::policy::{Fact, Question};

/// As other parts of the program bound what they read: a body of JSON.
const MOST_BODY: usize = 4 << 20;

/// How long to wait before the next try to accept, and the next look at what has come of containers.
const PAUSE: Duration = Duration::from_millis(50);

type ReplyBody = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Debug, Default)]
pub(super) struct Recorder {
    things: Mutex<Things>,
    builder: Builder,
}

impl Recorder {
    /// Serves until it is dropped.
    pub(super) async fn serve(self: Arc<Recorder>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(connection(Arc::clone(&self), stream));
                }
                // Out of descriptors, which come back with the command's own connections.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// What is about to be made is not there, unless it was made before: of all else that nobody has made, policies are
    /// told that it is.
    pub(in super::super) fn knows(&self, operation: &str, question: &Question) -> Option<Fact> {
        let things = self.things();
        let is_new = match (operation, question) {
            ("NetworkCreate", Question::Network(name)) => things.network(name).is_none(),
            ("VolumeCreate", Question::Volume(name)) => things.volume(name).is_none(),
            ("ContainerCreate", Question::Volume(name)) => things.volume(name).is_none(),
            _ => false,
        };
        is_new.then_some(Fact::Absent)
    }

    /// A call in the words of who made it: what has a name is called by it.
    pub(in super::super) fn with_names(&self, line: &str) -> String {
        let things = self.things();
        let parts = line.split('/').map(|part| things.name_of(part).unwrap_or(part));
        parts.collect::<Vec<_>>().join("/")
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connection(recorder: Arc<Recorder>, stream: UnixStream) {
    let service = service_fn(move |request| {
        let recorder = Arc::clone(&recorder);
        async move { Ok::<_, Infallible>(answer(recorder, request).await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = serving.with_upgrades().await;
}

async fn answer(recorder: Arc<Recorder>, mut request: Request<Incoming>) -> Response<ReplyBody> {
    let upgrades = request.headers().get(header::UPGRADE).cloned();
    let upgrading = upgrades.is_some().then(|| upgrade::on(&mut request));
    let (head, mut body) = request.into_parts();
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        // Of what is longer (a context, an archive) nobody here reads anything.
        if read.len() + data.len() <= MOST_BODY {
            read.extend_from_slice(&data);
        }
    }
    let asked = Asked::new(&head, &read);
    let reply = answers::reply(&mut recorder.things(), &asked);
    let (Reply::Takes(_), Some(upgrading), Some(protocol)) = (&reply, upgrading, upgrades) else {
        return match reply {
            Reply::Events => events(recorder),
            reply => whole(reply),
        };
    };
    if let Reply::Takes(kind) = reply {
        tokio::spawn(async move {
            let Ok(stream) = upgrading.await else { return };
            match kind {
                // It has no output.
                answers::Stream::Output => {}
                answers::Stream::Grpc => grpc(recorder, stream).await,
                answers::Stream::Session => builder::hold(TokioIo::new(stream)).await,
            }
        });
    }
    let switching = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, protocol)
        .header(header::CONTENT_TYPE, "application/vnd.docker.raw-stream");
    switching.body(empty()).unwrap_or_else(|_| Response::new(empty()))
}

/// Tells what comes of containers.
fn events(recorder: Arc<Recorder>) -> Response<ReplyBody> {
    let (tell, told) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let mut known = HashSet::new();
        while !tell.is_closed() {
            let news = recorder.things().news(&mut known);
            for event in news {
                let _ = tell.send(format!("{event}\n").into()).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    let lines = futures_util::stream::unfold(told, |mut told| async move {
        let line = told.recv().await?;
        Some((Ok(Frame::data(line)), told))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn grpc(recorder: Arc<Recorder>, stream: upgrade::Upgraded) {
    let service = service_fn(move |request: Request<Incoming>| {
        let recorder = Arc::clone(&recorder);
        async move { Ok::<_, Infallible>(recorder.builder.call(request).await) }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
}

fn whole(reply: Reply) -> Response<ReplyBody> {
    let (status, kind, body, headers) = match reply {
        Reply::Json(status, json) => (status, "application/json", json.to_string(), Vec::new()),
        Reply::Text(status, headers, text) => (status, "text/plain", text.to_owned(), headers),
        Reply::Bytes(kind, bytes) => {
            return Response::builder()
                .header(header::CONTENT_TYPE, kind)
                .body(Full::from(bytes).boxed_unsync())
                .unwrap_or_else(|_| Response::new(empty()));
        }
        Reply::Archive(stat, bytes) => {
            return Response::builder()
                .header(header::CONTENT_TYPE, "application/x-tar")
                .header("x-docker-container-path-stat", stat)
                .body(Full::from(bytes).boxed_unsync())
                .unwrap_or_else(|_| Response::new(empty()));
        }
        Reply::Nothing | Reply::Events => (204, "", String::new(), Vec::new()),
        Reply::Takes(_) => (200, "application/vnd.docker.raw-stream", String::new(), Vec::new()),
    };
    let mut response = Response::builder().status(status);
    if !kind.is_empty() {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = Full::from(body).boxed_unsync();
    response.body(body).unwrap_or_else(|_| Response::new(empty()))
}

fn empty() -> ReplyBody {
    Full::default().boxed_unsync()
}
