//! BuildKit's part of the recorder: a builder that is there, and whose builds have nothing to do.
//!
//! `recorder` serves `/grpc` with it and holds `/session` open, in which a builder that builds nothing asks nothing. What must
//! stay true: a build ends when its client has said all of it, which for buildx is the call that returns its result.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

use super::{ReplyBody, things};
use crate::api::buildkit::{BUILD_ID, SOLVE};
use crate::api::doc::{MOST_VALUES, proto};

/// gRPC's own codes (`google.rpc.Code`).
const UNIMPLEMENTED: u8 = 12;
/// Of a message that is read here.
const MOST_MESSAGE: usize = 4 << 20;
/// Builds of one command.
const MOST_BUILDS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Those whose clients say step by step what they want, until they say that they are done.
    open: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Builder {
    pub(super) async fn call(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let path = request.uri().path().to_owned();
        let build = request.headers().get(BUILD_ID).and_then(|id| id.to_str().ok());
        let build = build.map(str::to_owned);
        let mut read = Vec::new();
        let mut body = request.into_body();
        // A stream's end is not waited for: nobody says what comes next before an answer.
        let is_unary = !path.ends_with("/ExecProcess");
        while let (true, Some(Ok(frame))) = (is_unary, body.frame().await) {
            let data = frame.into_data().unwrap_or_default();
            if read.len() + data.len() <= MOST_MESSAGE {
                read.extend_from_slice(&data);
            }
        }
        let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
            return said(None, UNIMPLEMENTED);
        };
        match (service, method) {
            ("moby.buildkit.v1.Control", "Solve") => {
                self.solve(read.get(5..).unwrap_or_default()).await;
                let digests = ["containerimage.digest", "containerimage.config.digest"];
                let entry = |name: &str| {
                    let value = things::image_id("built");
                    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
                };
                said(Some(digests.map(entry).concat()), 0)
            }
            ("moby.buildkit.v1.frontend.LLBBridge", "Return") => {
                self.returned(&build.unwrap_or_default());
                said(Some(Vec::new()), 0)
            }
            ("moby.buildkit.v1.Control", "Info") => said(Some(field(1, &version())), 0),
            ("moby.buildkit.v1.Control", "ListWorkers") => said(Some(field(1, &worker())), 0),
            ("moby.buildkit.v1.frontend.LLBBridge", "Ping") => said(Some(pong()), 0),
            ("moby.buildkit.v1.frontend.LLBBridge", "ResolveImageConfig") => {
                let (digest, config) = (things::image_id("resolved"), b"{}");
                said(Some([field(1, digest.as_bytes()), field(2, config)].concat()), 0)
            }
            (
                "moby.buildkit.v1.Control",
                "Status" | "ListenBuildHistory" | "Prune" | "DiskUsage",
            ) => said(None, 0),
            ("grpc.health.v1.Health", "Check") => said(Some(vec![0x08, 1]), 0),
            ("moby.buildkit.v1.Control" | "moby.buildkit.v1.frontend.LLBBridge", _) if is_unary => {
                said(Some(Vec::new()), 0)
            }
            _ => said(None, UNIMPLEMENTED),
        }
    }

    /// Where a client names a frontend or a graph, that is all; else it goes on to ask for what it wants (`client.Build` of
    /// BuildKit), and the call lasts as long.
    async fn solve(&self, message: &[u8]) {
        let Ok(asked) = proto::parse(MOST_VALUES, message, SOLVE) else { return };
        let is_said = |key: &str| asked.at(&[key]).is_some_and(|value| !value.is_zero());
        let build = asked.at(&["Ref"]).and_then(|build| build.as_str()).unwrap_or_default();
        if is_said("Frontend") || is_said("Definition") || build.is_empty() {
            return;
        }
        let returned = {
            let mut open = self.open();
            if open.len() >= MOST_BUILDS {
                return;
            }
            Arc::clone(open.entry(build.to_owned()).or_default())
        };
        returned.notified().await;
        self.open().remove(build);
    }

    fn returned(&self, build: &str) {
        let mut open = self.open();
        if open.len() < MOST_BUILDS {
            // It stays said, for a call that is still on its way.
            open.entry(build.to_owned()).or_default().notify_one();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the other side leaves.
pub(super) async fn hold(mut stream: impl AsyncRead + Unpin) {
    let mut block = [0; 1024];
    while matches!(stream.read(&mut block).await, Ok(1..)) {}
}

/// `BuildkitVersion` (api/types of BuildKit).
fn version() -> Vec<u8> {
    [field(1, b"github.com/moby/buildkit"), field(2, b"v0.23.2")].concat()
}

/// `WorkerRecord`: one that builds for this machine's platform.
fn worker() -> Vec<u8> {
    let platform = [field(1, things::architecture().as_bytes()), field(2, b"linux")].concat();
    [field(1, b"dockgate-explain"), field(3, &platform), field(5, &version())].concat()
}

/// `PongResponse`: what frontends and graphs may ask for. A client that is not told of `return` does not say that it is done.
fn pong() -> Vec<u8> {
    const FRONTEND: &[&str] = &[
        "solve.base",
        "resolveimage",
        "resolveimage.resolvemode",
        "source.metaresolver",
        "readfile",
        "readdir",
        "statfile",
        "return",
        "returnmap",
        "importcaches",
        "proto.refarray",
        "reference.output",
        "reference.attestations",
        "frontend.inputs",
        "frontend.caps",
        "gateway.solve.metadata",
        "gateway.solve.evaluate",
        "gateway.warnings",
    ];
    const GRAPH: &[&str] = &[
        "source.image",
        "source.local",
        "source.local.unique",
        "source.local.sessionid",
        "source.local.sharedkeyhint",
        "source.git",
        "source.http",
        "source.ocilayout",
        "source.policy",
        "exec.meta.network",
        "exec.meta.security",
        "exec.meta.ulimit",
        "file.base",
        "mergeop",
        "diffop",
        "exporter.image.annotations",
        "exporter.image.attestations",
        "exporter.sourcedateepoch",
        "exporter.multiple",
    ];
    // `APICap`: its name, and that it is on.
    let cap = |number: u8, name: &&str| {
        field(number, &[field(1, name.as_bytes()), vec![0x10, 1]].concat())
    };
    let caps =
        FRONTEND.iter().map(|name| cap(1, name)).chain(GRAPH.iter().map(|name| cap(2, name)));
    [caps.flatten().collect(), field(3, &worker())].concat()
}

/// A field of text, bytes or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(bytes);
    out
}

/// One message or none, and how the call has ended.
fn said(message: Option<Vec<u8>>, code: u8) -> Response<ReplyBody> {
    let mut framed = Vec::new();
    if let Some(message) = message {
        framed.push(0);
        framed.extend(u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
        framed.extend(message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let ends = async move { Some(Ok::<_, Infallible>(trailers)) };
    let body = Full::new(Bytes::from(framed)).with_trailers(ends);
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
