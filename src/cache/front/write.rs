//! Writes an answer to an HTTP/1.1 connection, the shortest way there is.
//!
//! `h1` calls it. What must stay true: the head goes out at once when the body lets wait for itself;
//! files go to plain sockets inside the kernel; an answer that is not whole never looks like one.

use std::io;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rustix::io::Errno;

use crate::cache::reply::{Body, Chunk, Reply};
use crate::cache::request::plain;
use crate::wire::buffer::{give_block, take_block};
use crate::wire::io::Writer;

/// A client that takes not a byte for so long, or sends none of a body, has gone. One that takes some,
/// however slowly, is never cut off.
pub(in crate::cache) const TAKES_NOTHING: Duration = Duration::from_secs(120);

/// What the kernel is given at once.
const PIECE: u64 = 2 << 20;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterReply {
    Again,
    Close,
    /// At once, so that nobody takes what was sent for whole.
    Reset,
}

pub(super) async fn write_interim(
    writer: &mut Writer<'_>,
    status: &StatusCode,
    headers: &HeaderMap,
) -> io::Result<()> {
    // What the client needs to hear of its own `Expect` was said here.
    if *status == StatusCode::CONTINUE {
        return Ok(());
    }
    let mut head = status_line(*status, None);
    put_headers(&mut head, headers);
    head.extend_from_slice(b"\r\n");
    writer.write_all(&head).await
}

/// How the writing of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Whole,
    /// The body is not whole.
    Broken,
    /// The same, and the client was told.
    Told,
    /// The client has left, or takes nothing.
    Gone,
}

pub(super) async fn write_reply(
    writer: &mut Writer<'_>,
    mut reply: Reply,
    is_old: bool,
    to_head: bool,
    next: AfterReply,
) -> Written {
    let mut head = status_line(reply.status, reply.reason.as_deref());
    put_headers(&mut head, &reply.headers);
    let has_body = !matches!(reply.status.as_u16(), 100..200 | 204 | 304);
    let chunked = has_body && reply.length.is_none() && !is_old && !to_head;
    if let Some(length) = reply.length.filter(|_| has_body) {
        put_number(&mut head, b"content-length: ", length);
    } else if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match next {
        AfterReply::Close | AfterReply::Reset => head.extend_from_slice(b"connection: close\r\n"),
        AfterReply::Again if is_old => head.extend_from_slice(b"connection: keep-alive\r\n"),
        AfterReply::Again => {}
    }
    head.extend_from_slice(b"\r\n");
    if to_head || !has_body {
        reply.body = Body::Empty;
    }
    let mut sent = 0;
    let result = write_body(writer, &mut head, &mut reply.body, chunked, &mut sent).await;
    // It is emptied when it is sent, and never before.
    let head_sent = head.is_empty() || sent > 0;
    reply.account.close(sent);
    match result {
        Ok(()) => Written::Whole,
        // Nothing of it was sent: the client can be told.
        Err(Unsent::Broken) if !head_sent => {
            let why = "the origin's answer broke off or was wrong";
            let Reply { headers, body, length, reason, .. } =
                plain(StatusCode::BAD_GATEWAY, why, reply.account);
            let mut head = status_line(StatusCode::BAD_GATEWAY, reason.as_deref());
            put_headers(&mut head, &headers);
            put_number(&mut head, b"content-length: ", length.unwrap_or(0));
            head.extend_from_slice(b"connection: close\r\n\r\n");
            let mut body = if to_head { Body::Empty } else { body };
            let _ = write_body(writer, &mut head, &mut body, false, &mut sent).await;
            Written::Told
        }
        Err(Unsent::Broken) => Written::Broken,
        Err(Unsent::Gone) => Written::Gone,
    }
}

/// Why a body was not sent to its end.
enum Unsent {
    /// It is not whole.
    Broken,
    /// The client has left, or takes nothing.
    Gone,
}

async fn write_body(
    writer: &mut Writer<'_>,
    head: &mut Vec<u8>,
    body: &mut Body,
    chunked: bool,
    sent: &mut u64,
) -> Result<(), Unsent> {
    let gone = |_: io::Error| Unsent::Gone;
    loop {
        // The head goes at once when the body lets wait for itself.
        let next = match head.is_empty() {
            true => body.next().await,
            false => {
                let mut first = Box::pin(body.next());
                match std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx)))
                    .await
                {
                    std::task::Poll::Ready(next) => next,
                    std::task::Poll::Pending => {
                        writer.write_all(head).await.map_err(gone)?;
                        head.clear();
                        first.await
                    }
                }
            }
        };
        let Some(mut chunk) = next.map_err(|_| Unsent::Broken)? else { break };
        let length = chunk.length();
        if chunked {
            head.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        }
        write_chunk(writer, head, &mut chunk).await?;
        *sent += length;
        if chunked {
            head.extend_from_slice(b"\r\n");
        }
    }
    if chunked {
        head.extend_from_slice(b"0\r\n\r\n");
    }
    if !head.is_empty() {
        writer.write_all(head).await.map_err(gone)?;
        head.clear();
    }
    Ok(())
}

/// What goes before it, and the chunk itself, the shortest way there is.
async fn write_chunk(
    writer: &mut Writer<'_>,
    before: &mut Vec<u8>,
    chunk: &mut Chunk,
) -> Result<(), Unsent> {
    let gone = |_: io::Error| Unsent::Gone;
    match chunk {
        Chunk::Bytes(bytes) => {
            let first = std::mem::take(before);
            writer.write_two(&first, bytes).await.map_err(gone)
        }
        Chunk::File { file, at, length } if writer.is_plain() => {
            if !before.is_empty() {
                writer.write_all(before).await.map_err(gone)?;
                before.clear();
            }
            let (mut offset, mut left) = (*at, *length);
            while left > 0 {
                let most = usize::try_from(left.min(PIECE)).unwrap_or(usize::MAX);
                let sending = writer.write_with(|socket| {
                    Ok(rustix::fs::sendfile(socket, &**file, Some(&mut offset), most)?)
                });
                match sending.await {
                    // Somebody has cut the file short.
                    Ok(0) => return Err(Unsent::Broken),
                    Ok(sent) => left -= sent as u64,
                    Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                        return Err(Unsent::Broken);
                    }
                    Err(_) => return Err(Unsent::Gone),
                }
            }
            Ok(())
        }
        file => {
            let mut block = take_block();
            let result = write_blocks(writer, before, file, &mut block).await;
            give_block(block);
            result
        }
    }
}

async fn write_blocks(
    writer: &mut Writer<'_>,
    before: &mut Vec<u8>,
    file: &mut Chunk,
    block: &mut [u8],
) -> Result<(), Unsent> {
    loop {
        let read = file.read_block(block).map_err(|_| Unsent::Broken)?;
        let bytes = block.get(..read).unwrap_or_default();
        let first = std::mem::take(before);
        writer.write_two(&first, bytes).await.map_err(|_| Unsent::Gone)?;
        if !file.advance(read) {
            return Ok(());
        }
    }
}

/// Status line and fields of an answer with a body of this length, for `hot`.
pub(in crate::cache) fn head_of(
    status: StatusCode,
    headers: &HeaderMap,
    length: u64,
) -> bytes::Bytes {
    let mut head = status_line(status, None);
    put_headers(&mut head, headers);
    put_number(&mut head, b"content-length: ", length);
    head.into()
}

fn status_line(status: StatusCode, reason: Option<&str>) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    line.extend_from_slice(b"HTTP/1.1 ");
    line.extend_from_slice(status.as_str().as_bytes());
    line.push(b' ');
    let reason = reason.or(status.canonical_reason()).unwrap_or_default();
    line.extend_from_slice(reason.as_bytes());
    line.extend_from_slice(b"\r\n");
    line
}

fn put_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        crate::wire::head::put_line(out, name.as_str(), value.as_bytes());
    }
}

fn put_number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}
