//! HTTP/2 in which everything is refused, in words that the client shows.
//!
//! A `403` to `/grpc` sends buildx and compose looking for a builder of their own: they pull an image and
//! create a privileged container. A gRPC status they take for an answer, print and stop. `gateway` decides
//! what is said to each request; here is how it is said (gRPC over HTTP/2, `PROTOCOL-HTTP2.md` of grpc:
//! a response of trailers only). What must stay true: no request's body is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wire::buffer::Buffer;
use crate::wire::io::{HyperStream, Stream};

/// More than a build opens at once.
const MOST_STREAMS: u32 = 32;
const LONGEST_HEAD: u32 = 64 * 1024;
/// Of request bodies, which nobody reads.
const WINDOW: u32 = 64 * 1024;
/// What waits to be sent, or is read and thrown away.
const HELD: usize = 32 * 1024;
/// How long a client may read nothing of what it is told.
const TAKES_NOTHING: Duration = Duration::from_secs(10);
/// How long a connection may ask nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it has to end once it was told to.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A gRPC server that nobody asks anything: the build that it is for is refused within this.
const LONGEST_SESSION: Duration = Duration::from_secs(60);

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum H2Reply {
    /// With this code, such as 7 for `PERMISSION_DENIED`.
    Grpc { code: u8, message: String },
    /// In the engine's own shape.
    Json { status: u16, message: String, challenges: Vec<String> },
}

pub type Deciding<'a> = Pin<Box<dyn Future<Output = H2Reply> + Send + 'a>>;

/// Who says what each request is answered with, and writes it down.
pub trait Refuse: Send + Sync + 'static {
    fn decide<'a>(&'a self, asked: &'a http::request::Parts) -> Deciding<'a>;
}

/// Whether a request is a call of a gRPC method.
pub fn is_grpc(asked: &http::request::Parts) -> bool {
    let kind = asked.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

/// Serves a client's connection to its end; `read` is what was read of it already.
pub async fn serve(
    stream: &mut Stream,
    read: Vec<u8>,
    refuse: Arc<dyn Refuse>,
    drain: &CancellationToken,
) {
    let (asks, mut asked) = watch::channel(());
    let service = service_fn(move |request: Request<Incoming>| {
        asks.send_replace(());
        let refuse = Arc::clone(&refuse);
        async move { Ok::<_, Infallible>(respond(&*refuse, request).await) }
    });
    let mut serving = Box::pin(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(LONGEST_HEAD)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(HELD)
            .serve_connection(HyperStream::new(stream, read, TAKES_NOTHING), service),
    );
    loop {
        tokio::select! {
            _ = &mut serving => return,
            () = drain.cancelled() => break,
            asked = timeout(PATIENCE, asked.changed()) => if !matches!(asked, Ok(Ok(()))) {
                break;
            },
        }
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(LAST_WORDS, serving).await;
}

/// Holds a connection on which the client waits to be asked, which never happens.
pub async fn hold(stream: &mut Stream, drain: &CancellationToken) {
    let (mut reader, _) = stream.split();
    let reading = async {
        let mut buffer = Buffer::new();
        let mut left = HELD;
        while let Ok(read @ 1..) = buffer.fill(&mut reader, HELD).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
            buffer.clear();
        }
    };
    tokio::select! {
        _ = timeout(LONGEST_SESSION, reading) => {}
        () = drain.cancelled() => {}
    }
}

async fn respond(refuse: &dyn Refuse, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (asked, _) = request.into_parts();
    let answer = refuse.decide(&asked).await;
    render(answer, asked.method == Method::HEAD)
}

fn render(answer: H2Reply, to_head: bool) -> Response<Full<Bytes>> {
    match answer {
        H2Reply::Grpc { code, message } => {
            let mut response = Response::new(Full::default());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            let message = utf8_percent_encode(&message, MESSAGE).to_string();
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("grpc-message", message);
            }
            response
        }
        H2Reply::Json { status, message, challenges } => {
            let body = serde_json::json!({ "message": message }).to_string() + "\n";
            let length = body.len();
            let body = if to_head { Full::default() } else { Full::from(body) };
            let mut response = Response::new(body);
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CONTENT_LENGTH, length.into());
            for challenge in challenges {
                if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                    headers.append(header::WWW_AUTHENTICATE, challenge);
                }
            }
            response
        }
    }
}

/// All but printable ASCII, and the sign that says so.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_grpc_answer_is_one_of_trailers_only_with_its_message_escaped() {
        let said = H2Reply::Grpc { code: 7, message: "100 % „no“\n".to_owned() };
        let response = render(said, false);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "7");
        let message = &response.headers()["grpc-message"];
        assert_eq!(message, "100 %25 %E2%80%9Eno%E2%80%9C%0A");
        assert!(hyper::body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn a_grpc_call_is_known_by_its_content_type() {
        let is = |kind: &str| {
            is_grpc(
                &Request::builder().header("content-type", kind).body(()).unwrap().into_parts().0,
            )
        };
        assert!(is("application/grpc") && is("application/grpc+proto"));
        assert!(is("application/grpc;x=y") && !is("application/grpc-web") && !is("text/plain"));
        assert!(!is_grpc(&Request::new(()).into_parts().0));
    }

    struct Never;
    impl Refuse for Never {
        fn decide<'a>(&'a self, _: &'a http::request::Parts) -> Deciding<'a> {
            Box::pin(std::future::pending())
        }
    }

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Stream::new(ours.into()).unwrap(), theirs)
    }

    /// Frame types of what a client was sent.
    fn frames(client: &mut UnixStream) -> Vec<u8> {
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).unwrap();
        let (mut types, mut rest) = (Vec::new(), sent.as_slice());
        while let [a, b, c, kind, _, _, _, _, _, behind @ ..] = rest {
            types.push(*kind);
            rest = &behind[u32::from_be_bytes([0, *a, *b, *c]) as usize..];
        }
        types
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const GOAWAY: u8 = 7;

    // The clock goes on by itself whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_ends() {
        for said in [PREFACE, &PREFACE[..7], b""] {
            let (mut stream, mut client) = pair();
            serve(&mut stream, said.to_vec(), Arc::new(Never), &CancellationToken::new()).await;
            drop(stream);
            let frames = frames(&mut client);
            assert!(said != PREFACE || frames.contains(&GOAWAY), "{said:?}: {frames:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_nothing_useful() {
        let (mut stream, mut client) = pair();
        let ping = *b"\0\0\x08\x06\0\0\0\0\0pingpong";
        let drain = CancellationToken::new();
        let serving = serve(&mut stream, PREFACE.to_vec(), Arc::new(Never), &drain);
        let pinging = async {
            loop {
                let _ = client.write_all(&ping);
                tokio::time::sleep(PATIENCE / 10).await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = pinging => {}
        }
        drop(stream);
        assert!(frames(&mut client).contains(&GOAWAY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_nobody_needs_ends_and_so_does_one_that_says_too_much() {
        let (mut stream, client) = pair();
        hold(&mut stream, &CancellationToken::new()).await;
        drop(client);
        let (mut stream, mut client) = pair();
        client.write_all(&vec![0; HELD + 1]).unwrap();
        let before = tokio::time::Instant::now();
        hold(&mut stream, &CancellationToken::new()).await;
        assert_eq!(before.elapsed(), Duration::ZERO, "it was not waited for");
    }

    #[tokio::test]
    async fn a_drain_ends_both() {
        let drain = CancellationToken::new();
        drain.cancel();
        let (mut stream, client) = pair();
        hold(&mut stream, &drain).await;
        drop(client);
        let (mut stream, mut client) = pair();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        serve(&mut stream, PREFACE.to_vec(), Arc::new(Never), &drain).await;
        drop(stream);
        assert!(frames(&mut client).contains(&GOAWAY));
    }
}
