//! HTTP/2 in which everything is refused, in words that the client shows.
//!
//! A `403` to `/grpc` sends buildx and compose looking for a builder of their own: they pull an image and
//! create a privileged container. A gRPC status they take for an answer, print and stop. `gateway` decides
//! what is said to each request; here is how it is said (gRPC over HTTP/2, `PROTOCOL-HTTP2.md` of grpc:
//! a response of trailers only). What must stay true: no request's body is read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::limits::H2Limits;
use super::terminate::{self, Begin, H2Reply, Judge, OpenAlready};
use crate::wire::buffer::Buffer;
use crate::wire::io::{HyperStream, Stream};

/// How long a client may read nothing of what it is told.
const TAKES_NOTHING: Duration = Duration::from_secs(10);
/// How long a connection may ask nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a client may say that waits to be asked.
const HELD: usize = 32 * 1024;
/// A gRPC server that nobody asks anything: the build that it is for is refused within this.
const LONGEST_SESSION: Duration = Duration::from_secs(60);

pub type Deciding<'a> = Pin<Box<dyn Future<Output = H2Reply> + Send + 'a>>;

/// Who says what each request is answered with, and writes it down.
pub trait Refuse: Send + Sync + 'static {
    fn decide<'a>(&'a self, asked: &'a http::request::Parts) -> Deciding<'a>;
}

struct Refusing(Arc<dyn Refuse>);

impl Judge for Refusing {
    fn begin<'a>(&'a self, asked: &'a http::request::Parts) -> BoxFuture<'a, Begin> {
        Box::pin(async { Begin::Answer(self.0.decide(asked).await) })
    }
}

/// Serves a client's connection to its end; `read` is what was read of it already.
pub async fn serve(
    stream: &mut Stream,
    read: Vec<u8>,
    refuse: Arc<dyn Refuse>,
    drain: &CancellationToken,
) {
    let server = Box::new(TokioIo::new(HyperStream::new(stream, read, TAKES_NOTHING)));
    let judge = Arc::new(Refusing(refuse));
    terminate::serve(server, Box::new(OpenAlready(None)), judge, drain, limits()).await;
}

/// Less than where calls go on: no request's body is read.
fn limits() -> H2Limits {
    H2Limits {
        streams: 32,
        connection_window: 64 * 1024,
        send_bytes: 32 * 1024,
        first_request: Some(PATIENCE),
        between_requests: Some(PATIENCE),
        ..H2Limits::default()
    }
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

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
