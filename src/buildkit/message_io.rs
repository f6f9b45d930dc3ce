//! A stream of bytes within a gRPC call: `BytesMessage` both ways, each with bytes as its field 1.
//!
//! BuildKit's `Control.Session` is such a call (`session/grpchijack` of BuildKit): what passes in it is another
//! HTTP/2 connection, on which the engine asks. `call` makes one of a client's stream, `gateway` calls an
//! engine by one; `terminate::serve` takes either as it takes a socket. What must stay true: no more is held
//! than one message each way; each direction ends by itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::limits::H2Limits;
use super::messages::{Messages, framed};
use super::reply::{self, H2Reply};
use super::terminate::Io;
use super::upstream::{HANDSHAKE, UNAVAILABLE};

/// Of one message: what gRPC's libraries take by default. BuildKit sends what it writes at once, some 32 KiB.
const LONGEST: usize = 4 << 20;
/// What goes into one of ours: one frame of HTTP/2, with the heads of the message.
const PIECE: usize = 16 * 1024 - 16;

/// What takes a client's stream of bytes over.
pub trait ByteStream: Send {
    /// Runs to the end of `stream`: shuts it down, or ends it with a status of its own (`MessageIo::fail`).
    fn run(self: Box<Self>, stream: MessageIo<'static>) -> BoxFuture<'static, ()>;
}

pub struct MessageIo<'io> {
    source: Source,
    sink: SendStream<Bytes>,
    is_server: bool,
    come: Messages,
    /// Of the last message, what was not read yet.
    unread: Bytes,
    /// Of the last message, what was not sent yet.
    unsent: Bytes,
    is_shut: bool,
    /// Of a call of ours, the connection that it is on.
    driving: Option<BoxFuture<'io, ()>>,
}

enum Source {
    Awaited(ResponseFuture),
    Open(RecvStream),
    Ended,
}

impl MessageIo<'static> {
    /// Of a call that a client has made of us, which is answered by it.
    pub(super) fn of_client(body: RecvStream, sink: SendStream<Bytes>) -> MessageIo<'static> {
        MessageIo::new(Source::Open(body), sink, true)
    }

    /// Ends the call with a status.
    pub fn fail(mut self, reply: &H2Reply) {
        self.is_shut = true;
        reply::end(&mut self.sink, reply);
    }
}

impl<'io> MessageIo<'io> {
    fn new(source: Source, sink: SendStream<Bytes>, is_server: bool) -> MessageIo<'io> {
        MessageIo {
            source,
            sink,
            is_server,
            come: Messages::new(LONGEST),
            unread: Bytes::new(),
            unsent: Bytes::new(),
            is_shut: false,
            driving: None,
        }
    }

    /// Calls a method over a connection, which is this call's alone.
    pub async fn call(
        io: Io<'io>,
        path: &str,
        metadata: HeaderMap,
        limits: &H2Limits,
    ) -> Result<MessageIo<'io>, H2Reply> {
        let unavailable = |why: &str| {
            H2Reply::grpc(
                UNAVAILABLE,
                format!("dockgate: the engine does not open a session: {why}"),
            )
        };
        let shaken = timeout(HANDSHAKE, limits.client().handshake(io)).await;
        let (mut sender, connection) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return Err(unavailable(&error.to_string())),
            Err(_) => return Err(unavailable("it says nothing")),
        };
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = Method::POST;
        *request.headers_mut() = metadata;
        let fields = request.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
        *request.uri_mut() = uri.map_err(|error| unavailable(&error.to_string()))?;
        let sent = sender.send_request(request, false);
        let (answer, sink) = sent.map_err(|error| unavailable(&error.to_string()))?;
        let mut made = MessageIo::new(Source::Awaited(answer), sink, false);
        made.driving = Some(Box::pin(connection.map(drop)));
        Ok(made)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driving) = &mut self.driving
            && driving.poll_unpin(cx).is_ready()
        {
            self.driving = None;
        }
    }

    /// More of what comes; false at its end.
    fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match &mut self.source {
                Source::Ended => return Poll::Ready(Ok(false)),
                Source::Awaited(answer) => {
                    let answer = ready!(answer.poll_unpin(cx)).map_err(broken)?;
                    let (head, body) = answer.into_parts();
                    opened(&head)?;
                    self.source = Source::Open(body);
                }
                Source::Open(body) => {
                    if let Some(data) = ready!(body.poll_data(cx)) {
                        let data = data.map_err(broken)?;
                        self.come.push(&data);
                        body.flow_control().release_capacity(data.len()).map_err(broken)?;
                        return Poll::Ready(Ok(true));
                    }
                    let fields = ready!(body.poll_trailers(cx)).map_err(broken)?;
                    self.source = Source::Ended;
                    if !self.come.is_empty() {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    fields.map_or(Ok(()), |fields| status(&fields))?;
                }
            }
        }
    }

    /// Until what is to be sent has room with the other side.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            self.sink.reserve_capacity(self.unsent.len());
            if self.sink.capacity() == 0 {
                match ready!(self.sink.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let room = self.sink.capacity().min(self.unsent.len());
            self.sink.send_data(self.unsent.split_to(room), false).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for MessageIo<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.drive(cx);
        while this.unread.is_empty() {
            match this.come.next().map_err(refused)? {
                Some(message) => this.unread = bytes_of(message)?,
                None if ready!(this.poll_come(cx))? => {}
                None => return Poll::Ready(Ok(())),
            }
        }
        let fits = this.unread.len().min(into.remaining());
        into.put_slice(&this.unread.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MessageIo<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.drive(cx);
        ready!(this.poll_sent(cx))?;
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        this.unsent = framed(&message_of(piece));
        // What has no room goes with the next write or flush.
        let _ = this.poll_sent(cx)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        ready!(self.poll_sent(cx))?;
        self.drive(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.drive(cx);
        ready!(this.poll_sent(cx))?;
        if !std::mem::replace(&mut this.is_shut, true) {
            match this.is_server {
                true => reply::end(&mut this.sink, &H2Reply::grpc(0, "")),
                false => this.sink.send_data(Bytes::new(), true).map_err(broken)?,
            }
        }
        this.drive(cx);
        Poll::Ready(Ok(()))
    }
}

impl Drop for MessageIo<'_> {
    fn drop(&mut self) {
        if !self.is_shut {
            self.sink.send_reset(Reason::CANCEL);
        }
    }
}

/// The head with which we answer such a call.
pub(super) fn head() -> Response<()> {
    let mut response = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn opened(head: &http::response::Parts) -> io::Result<()> {
    if head.status != 200 || head.headers.contains_key("grpc-encoding") {
        return Err(io::Error::other(format!("a session was answered with {}", head.status)));
    }
    status(&head.headers)
}

/// gRPC's status of a call, where it says one.
fn status(fields: &HeaderMap) -> io::Result<()> {
    match fields.get("grpc-status").map(HeaderValue::as_bytes) {
        None | Some(b"0") => Ok(()),
        Some(code) => {
            let code = String::from_utf8_lossy(code);
            Err(io::Error::other(format!("a session ended with the code {code} of gRPC")))
        }
    }
}

/// The bytes of a `BytesMessage`: field 1, and no other one.
fn bytes_of(mut message: Bytes) -> io::Result<Bytes> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a message of bytes");
    if message.is_empty() {
        return Ok(message);
    }
    if message.get_u8() != FIELD {
        return Err(malformed());
    }
    let (mut length, mut shift) = (0u64, 0);
    loop {
        let byte = message.try_get_u8().map_err(|_| malformed())?;
        length |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        match byte & 0x80 {
            0 => break,
            _ if shift > 28 => return Err(malformed()),
            _ => {}
        }
    }
    match usize::try_from(length) == Ok(message.len()) {
        true => Ok(message),
        false => Err(malformed()),
    }
}

fn message_of(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 8);
    out.put_u8(FIELD);
    let mut length = bytes.len();
    while length > 0x7f {
        out.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.put_u8(u8::try_from(length).unwrap_or_default());
    out.put_slice(bytes);
    out.freeze()
}

/// Field 1, with a length.
const FIELD: u8 = 1 << 3 | 2;

fn broken(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        false => io::Error::new(io::ErrorKind::ConnectionReset, error),
    }
}

fn refused(reply: H2Reply) -> io::Error {
    match reply {
        H2Reply::Grpc { message, .. } => io::Error::new(io::ErrorKind::InvalidData, message),
        _ => io::ErrorKind::InvalidData.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_bytes_has_one_field() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 1 << 20] {
            let bytes = vec![7; length];
            assert_eq!(bytes_of(message_of(&bytes)).unwrap(), bytes);
        }
        assert_eq!(bytes_of(Bytes::new()).unwrap(), "");
        for malformed in [
            &b"\x0a"[..],
            b"\x0a\x02x",
            b"\x0a\x01xy",
            b"\x12\x01x",
            b"\x0a\x01x\x0a\x01y",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\x80",
        ] {
            assert!(bytes_of(Bytes::copy_from_slice(malformed)).is_err(), "{malformed:?}");
        }
    }
}
