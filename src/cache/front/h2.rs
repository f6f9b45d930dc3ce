//! A client's HTTP/2 connection (RFC 9113), by hyper.
//!
//! Clients that ask for hundreds of small files at a time, as cargo's sparse index, come this way.
//! What must stay true: the same validation and the same story as over HTTP/1.1.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Caller;
use super::progress::Progress;
use super::write::TAKES_NOTHING;
use crate::cache::fill::{Broken, Interim};
use crate::cache::reply::{Body, Chunk, Reply};
use crate::cache::request::{Pieces, Refusal, Request, Understood, Upload};
use crate::cache::served::ServedRequest;
use crate::cache::stats::Account;
use crate::cache::target::RawRequest;
use crate::cache::upstream::RequestBody;
use crate::cache::{Cache, serve};
use crate::wire::io::{HyperStream, Stream};

const MOST_STREAMS: u32 = 100;
/// What one stream may have waiting for room before it takes another piece: less than a piece.
const SEND_BUFFER: usize = 2 * 1024;
const LONGEST_HEAD: u32 = 64 * 1024;

pub(super) async fn connection(
    cache: &Arc<Cache>,
    mut stream: Stream,
    caller: Caller,
    drain: &CancellationToken,
) {
    let cache = Arc::clone(cache);
    let socket = HyperStream::new(&mut stream, Vec::new(), TAKES_NOTHING);
    let client = Arc::new(Progress::new(socket.waits()));
    let service = service_fn(move |request| {
        let (cache, caller, client) = (Arc::clone(&cache), caller.clone(), Arc::clone(&client));
        // Boxed: hyper keeps the room of what responds as long as the body is sent.
        async move { Ok::<_, Infallible>(Box::pin(respond(&cache, &caller, &client, request)).await) }
    });
    let mut serving = Box::pin(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(LONGEST_HEAD)
            .max_send_buf_size(SEND_BUFFER)
            // No `keep_alive_interval`: the answer to a ping waits behind all that a slow client has still to
            // read. That a peer has vanished is what TCP notices.
            .timer(TokioTimer::new())
            .serve_connection(socket, service),
    );
    let mut draining = false;
    loop {
        tokio::select! {
            _ = &mut serving => break,
            () = drain.cancelled(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
    drop(serving);
    stream.say_end();
}

type Response = http::Response<Sending>;

async fn respond(
    cache: &Arc<Cache>,
    caller: &Caller,
    client: &Arc<Progress>,
    request: http::Request<Incoming>,
) -> Response {
    let (head, body) = request.into_parts();
    let to_head = head.method == Method::HEAD;
    let (upload, pieces) = match body.is_end_stream() {
        true => (RequestBody::Empty, None),
        false => Upload::open(body.size_hint().exact()),
    };
    let target = head.uri.path();
    let served = ServedRequest::begin(cache, &caller.asking)
        .map(|served| served.of(head.method.as_str(), target));
    let understood = understand(cache, caller, &head, upload);
    if let Some(pieces) = pieces {
        tokio::spawn(send_up(body, pieces, Arc::clone(client)));
    }
    let (served, mut reply) = match understood {
        Ok(Understood::Request(request)) => {
            let served = served.map(|served| served.asks(&request));
            (served, serve::answer(cache, *request).await)
        }
        Ok(Understood::Tunnel { .. }) => {
            let why = "CONNECT is for HTTP/1.1 here";
            let refusal = Refusal::new(http::StatusCode::NOT_IMPLEMENTED, why);
            (served, refusal.reply(cache, &caller.tenant))
        }
        Err(refusal) => (served, refusal.reply(cache, &caller.tenant)),
    };
    if let Some(served) = served {
        served.answered(&mut reply);
    }
    send(cache, client, reply, to_head)
}

fn understand(
    cache: &Cache,
    caller: &Caller,
    head: &http::request::Parts,
    upload: RequestBody,
) -> Result<Understood, Refusal> {
    let mut headers = head.headers.clone();
    let hosts: Vec<Vec<u8>> =
        headers.get_all(header::HOST).iter().map(|host| host.as_bytes().to_vec()).collect();
    headers.remove(header::HOST);
    join_cookies(&mut headers);
    let hosts: Vec<&[u8]> = hosts.iter().map(Vec::as_slice).collect();
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let target = match head.uri.path_and_query() {
        Some(target) => target.as_str().as_bytes(),
        None => authority.unwrap_or_default(),
    };
    let said = RawRequest { method: &head.method, target, authority, hosts: &hosts };
    Request::of_parts(cache, caller, &said, headers, upload, Interim::default())
}

/// Over HTTP/2 they come in pieces (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(|cookie| cookie.as_bytes()).collect();
    if all.len() > 1
        && let Ok(joined) = http::HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

async fn send_up(mut body: Incoming, pieces: Pieces, client: Arc<Progress>) {
    loop {
        let piece = match client.patiently(body.frame()).await {
            Some(None) => break,
            None => Err("the client sends nothing".to_owned()),
            Some(Some(Ok(frame))) => match frame.into_data() {
                // An empty one would say that this was all.
                Ok(bytes) if bytes.is_empty() => continue,
                Ok(bytes) => Ok(bytes),
                // Trailers are dropped (RFC 9110 §6.5.1).
                Err(_) => continue,
            },
            Some(Some(Err(error))) => Err(error.to_string()),
        };
        let is_end = piece.is_err();
        if pieces.send(piece).await.is_err() || is_end {
            return;
        }
    }
    let _ = pieces.send(Ok(Bytes::new())).await;
}

fn send(cache: &Arc<Cache>, client: &Arc<Progress>, reply: Reply, to_head: bool) -> Response {
    let Reply { status, mut headers, body, length, account, stored, reason: _ } = reply;
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    headers.remove(KEEP_ALIVE);
    let has_body = !to_head && !matches!(status.as_u16(), 204 | 304);
    if let Some(length) = length.filter(|_| !matches!(status.as_u16(), 204 | 304)) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let (pieces, receiver) = mpsc::channel(1);
    if has_body {
        let (cache, client) = (Arc::clone(cache), Arc::clone(client));
        tokio::spawn(async move {
            let is_whole = send_body(body, pieces, &client, account).await;
            if let (false, Some(key)) = (is_whole, stored) {
                cache.damaged(&key).await;
            }
        });
    } else {
        account.close(0);
    }
    let mut response = http::Response::new(Sending { pieces: has_body.then_some(receiver) });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether the body was whole; the client may have left before its end.
async fn send_body(
    mut body: Body,
    pieces: mpsc::Sender<Bytes>,
    client: &Progress,
    account: Account,
) -> bool {
    let mut sent = 0;
    let is_whole = loop {
        // What there is no room for is not taken in: a client that reads nothing holds a piece less.
        let Some(Ok(room)) = client.patiently(pieces.reserve()).await else { break true };
        match body.next().await {
            Ok(Some(mut chunk)) => {
                match send_chunk(&mut chunk, room, &pieces, client, &mut sent).await {
                    Ok(true) => {}
                    Ok(false) => break true,
                    Err(Broken) => break false,
                }
            }
            Ok(None) => {
                // Only now it has an end: see `Sending`.
                room.send(Bytes::new());
                break true;
            }
            Err(Broken) => break false,
        }
    };
    account.close(sent);
    is_whole
}

/// False when the client has left, or takes nothing.
async fn send_chunk(
    chunk: &mut Chunk,
    mut room: mpsc::Permit<'_, Bytes>,
    pieces: &mpsc::Sender<Bytes>,
    client: &Progress,
    sent: &mut u64,
) -> Result<bool, Broken> {
    const BLOCK: usize = 16 * 1024;
    loop {
        let bytes = match &*chunk {
            Chunk::Bytes(bytes) => bytes.clone(),
            file => {
                let mut block = vec![0; BLOCK.min(usize::try_from(file.length()).unwrap_or(BLOCK))];
                let read = file.read_block(&mut block).map_err(|_| Broken)?;
                block.truncate(read);
                block.into()
            }
        };
        let length = bytes.len();
        room.send(bytes);
        *sent += length as u64;
        if !chunk.advance(length) {
            return Ok(true);
        }
        // A client that opens no window must not keep the origin's connection.
        room = match client.patiently(pieces.reserve()).await {
            Some(Ok(room)) => room,
            Some(Err(_)) | None => return Ok(false),
        };
    }
}

/// A body as hyper reads it: an empty piece is its end, and an end without that is none.
struct Sending {
    pieces: Option<mpsc::Receiver<Bytes>>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let piece = match std::task::ready!(pieces.poll_recv(cx)) {
            Some(bytes) if bytes.is_empty() => None,
            Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Some(Err(Broken)),
        };
        self.pieces = None;
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.pieces {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}
