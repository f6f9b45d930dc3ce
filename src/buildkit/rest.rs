//! A REST request over HTTP/2: asked in HTTP/1.1 of a connection that was made for it alone.
//!
//! `call` relays it; `gateway` gives the connection, whose other end goes through the same stages as any
//! client's. What must stay true: what would take the connection over is refused, as dockerd cannot give away a
//! stream of HTTP/2 either (`http.Hijacker`); both bodies pass as they are taken.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;

use super::pump::send_all;
use super::reply::H2Reply;
use super::terminate::Io;

/// What may be on its way of either body, and the longest head of an answer.
const HELD: usize = 64 * 1024;

/// Gives the connection that a request is asked on.
pub trait Rest: Send {
    fn open(self: Box<Self>) -> BoxFuture<'static, Result<Io<'static>, H2Reply>>;
}

/// Relays one request; a reply where nothing has been answered yet.
pub(super) async fn relay(
    asked: Parts,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
    rest: Box<dyn Rest>,
) -> Result<(), H2Reply> {
    if hijacks(asked.uri.path()) {
        let message = "this endpoint takes a connection over, which HTTP/2 cannot do; \
            hint: it is to be asked for in HTTP/1.1";
        return Err(json(StatusCode::NOT_IMPLEMENTED, message));
    }
    let request = request(asked, body)?;
    let io = TokioIo::new(rest.open().await?);
    let broke = |_| json(StatusCode::BAD_GATEWAY, "the request broke off on its way");
    let shaken = http1::Builder::new().max_buf_size(HELD).handshake(io).await;
    let (mut sender, connection) = shaken.map_err(broke)?;
    let relaying = async {
        let answer = sender.send_request(request);
        let answer = tokio::select! {
            biased;
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return Ok(()),
            answer = answer => answer.map_err(broke)?,
        };
        let (head, body) = response(answer)?;
        let is_end = body.is_end_stream();
        let Ok(mut down) = respond.send_response(head, is_end) else { return Ok(()) };
        if !is_end && let Err(reason) = pass(body, &mut down).await {
            down.send_reset(reason);
        }
        Ok(())
    };
    let (mut relaying, mut connection) = (pin!(relaying), pin!(connection));
    tokio::select! {
        done = &mut relaying => return done,
        // All has come, but not all was passed on.
        _ = &mut connection => {}
    }
    relaying.await
}

/// Passes an answer's body on, as the client takes it.
async fn pass(mut body: Incoming, down: &mut SendStream<Bytes>) -> Result<(), Reason> {
    loop {
        let frame = tokio::select! {
            biased;
            reset = poll_fn(|cx| down.poll_reset(cx)) => {
                return Err(reset.unwrap_or(Reason::CANCEL));
            }
            frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)) => frame,
        };
        let sent = match frame {
            None => return down.send_data(Bytes::new(), true).map_err(reason),
            Some(Err(_)) => return Err(Reason::INTERNAL_ERROR),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => send_all(down, data).await,
                Err(frame) => match frame.into_trailers() {
                    Ok(fields) => return down.send_trailers(fields).map_err(reason),
                    Err(_) => continue,
                },
            },
        };
        sent.map_err(reason)?;
    }
}

fn reason(error: h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::CANCEL)
}

/// In HTTP/1.1. Fields of the connection have been refused (RFC 9113 §8.2.2).
fn request(asked: Parts, body: RecvStream) -> Result<Request<Asking>, H2Reply> {
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = path.parse().map_err(|_| json(StatusCode::BAD_REQUEST, "`:path` is no path"))?;
    let mut request = Request::new(Asking { body });
    *request.method_mut() = asked.method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = asked.headers;
    headers.remove(header::TE);
    headers.remove(header::EXPECT);
    let host = asked.uri.authority().map_or("localhost", |authority| authority.as_str());
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(header::HOST, host);
    }
    Ok(request)
}

/// In HTTP/2.
fn response(answer: Response<Incoming>) -> Result<(Response<()>, Incoming), H2Reply> {
    let (mut head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(json(StatusCode::NOT_IMPLEMENTED, "the connection would be taken over"));
    }
    remove_hops(&mut head.headers);
    head.version = Version::HTTP_2;
    Ok((Response::from_parts(head, ()), body))
}

fn remove_hops(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> = named
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

/// Whether a path is of an endpoint that takes its connection over, in any spelling that dockerd reads so.
fn hijacks(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    if words.first().is_some_and(|first| is_version(first)) {
        words.remove(0);
    }
    matches!(
        words.as_slice(),
        ["session" | "grpc"]
            | ["containers", .., "attach"]
            | ["containers", .., "attach", "ws"]
            | ["exec", .., "start"]
    )
}

fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

fn json(status: StatusCode, message: &str) -> H2Reply {
    let message = format!("dockgate: {message}");
    H2Reply::Json { status: status.as_u16(), message, challenges: Vec::new() }
}

/// A request's body as hyper reads one.
struct Asking {
    body: RecvStream,
}

impl Body for Asking {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                self.body.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.body.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_connection_over_is_known_in_each_spelling() {
        for path in [
            "/session",
            "/v1.44/session",
            "/grpc",
            "/containers/x/attach",
            "/v1.44/containers/x/attach/ws",
            "/containers/x/%61ttach",
            "//containers//x//attach",
            "/exec/x/start",
        ] {
            assert!(hijacks(path), "{path}");
        }
        for path in ["/_ping", "/v1.44/containers/x/json", "/containers/attach/json", "/build"] {
            assert!(!hijacks(path), "{path}");
        }
    }

    #[test]
    fn fields_of_a_connection_stay_on_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x", "2"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        remove_hops(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x"]);
    }
}
