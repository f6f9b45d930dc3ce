//! A client's HTTP/1.1 connection (RFC 9112).
//!
//! What must stay true: one answer for each request, in order; framing is ours and never the
//! origin's; an answer that breaks off ends the connection, so that nobody takes it for whole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::cache::fill::Interim;
use crate::cache::reply::{Body, Chunk, Reply};
use crate::cache::request::{Pieces, Refusal, Request, Understood, Upload, plain};
use crate::cache::stats::Outcome;
use crate::cache::{Cache, serve};
use crate::wire::buffer::{Buffer, give_block, take_block};
use crate::wire::chunked::Dialect;
use crate::wire::framing::Framing;
use crate::wire::head::{RequestHead, find_end};
use crate::wire::io::{Reader, Stream, Writer};

const LONGEST_HEAD: usize = 64 * 1024;
/// Between two requests.
const IDLE: Duration = Duration::from_secs(75);
/// For a whole head, from its first byte on.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// For each piece that a client takes, and each that it sends of a body.
pub(super) const PIECE_TIME: Duration = Duration::from_secs(60);
/// What the kernel is given at once.
const PIECE: u64 = 2 << 20;
/// What is read of a client that was refused, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Again,
    Close,
    /// At once, so that nobody takes what was sent for whole.
    Reset,
}

pub(super) async fn connection(
    cache: &Arc<Cache>,
    mut stream: Stream,
    caller: Caller,
    drain: &CancellationToken,
) {
    let mut buffer = Buffer::new();
    let counts = cache.stats.tenant(&caller.tenant);
    {
        let (mut reader, mut writer) = stream.split();
        while let Some(end) = head(&mut reader, &mut buffer, drain).await {
            let head = buffer.unread().get(..end).unwrap_or_default();
            if let Some(hit) = cache.hot.find(&caller, head, cache.now()) {
                buffer.consume(end);
                if in_time(writer.write_two(&hit.head(), hit.body())).await.is_err() {
                    break;
                }
                hit.close(cache, &counts);
                if hit.closes() {
                    linger(&mut reader, &mut writer, &mut buffer).await;
                    break;
                }
                continue;
            }
            // Boxed: an idle connection does not keep the room of a request.
            let one =
                Box::pin(exchange(cache, &caller, &mut reader, &mut writer, &mut buffer, end));
            match one.await {
                Next::Again => {}
                Next::Close => {
                    linger(&mut reader, &mut writer, &mut buffer).await;
                    break;
                }
                Next::Reset => return stream.reset(),
            }
        }
    }
    stream.say_end();
}

/// Waits for a whole head; none when there is nothing more to answer.
async fn head(
    reader: &mut Reader<'_>,
    buffer: &mut Buffer,
    drain: &CancellationToken,
) -> Option<usize> {
    if let Some(end) = find_end(buffer.unread(), 0) {
        return Some(end);
    }
    if buffer.is_empty() {
        let first = timeout(IDLE, buffer.fill(reader, LONGEST_HEAD));
        let read = tokio::select! {
            biased;
            () = drain.cancelled() => return None,
            read = first => read,
        };
        match read {
            Ok(Ok(1..)) => {}
            _ => return None,
        }
        if let Some(end) = find_end(buffer.unread(), 0) {
            return Some(end);
        }
    }
    let whole = async {
        loop {
            let seen = buffer.len();
            match buffer.fill(reader, LONGEST_HEAD).await {
                Ok(1..) => {}
                // Too long, gone, or at its end.
                Ok(0) | Err(_) => return None,
            }
            if let Some(end) = find_end(buffer.unread(), seen) {
                return Some(end);
            }
        }
    };
    match timeout(HEAD_TIME, whole).await {
        Ok(end @ Some(_)) => end,
        // What is there is no head: `exchange` says so.
        Ok(None) if !buffer.is_empty() => Some(buffer.len()),
        Ok(None) | Err(_) => None,
    }
}

async fn exchange(
    cache: &Arc<Cache>,
    caller: &Caller,
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    buffer: &mut Buffer,
    end: usize,
) -> Next {
    let parsed = RequestHead::parse(buffer.unread().get(..end).unwrap_or_default());
    buffer.consume(end);
    let head = match parsed {
        Ok(head) => head,
        Err(error) => {
            return refuse(cache, caller, writer, Refusal::malformed(&error), false).await;
        }
    };
    let to_head = head.method() == "HEAD";
    let mut framing = match Framing::of_request(&head, Dialect::Strict) {
        Ok(framing) => framing,
        Err(error) => {
            return refuse(cache, caller, writer, Refusal::malformed(&error), to_head).await;
        }
    };
    let (interim, mut interims) = mpsc::unbounded_channel();
    let (upload, pieces) = Upload::channel(&framing);
    let made = Request::understand(cache, caller, &head, upload, Interim::new(interim));
    let request = match made {
        Ok(Understood::Request(request)) => request,
        Ok(Understood::Tunnel { host, port }) => {
            return tunnel(cache, caller, (&host, port), reader, writer, buffer).await;
        }
        Err(refusal) => return refuse(cache, caller, writer, refusal, to_head).await,
    };
    let is_old = head.version == 0;
    let closes = is_old && !head.headers.lists("connection", "keep-alive")
        || head.headers.lists("connection", "close");
    let expects = !framing.is_done() && head.headers.lists("expect", "100-continue") && !is_old;
    if expects && writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return Next::Close;
    }
    let mut answering = Box::pin(serve::answer(cache, *request));
    let mut sending = Box::pin(send_up(reader, buffer, &mut framing, pieces));
    let mut upload_done = None;
    let mut reply = loop {
        tokio::select! {
            biased;
            Some(one) = interims.recv(), if !is_old => {
                if write_interim(writer, &one.0, &one.1).await.is_err() {
                    return Next::Close;
                }
            }
            reply = &mut answering => break reply,
            done = &mut sending, if upload_done.is_none() => upload_done = Some(done),
        }
    };
    while let Ok(one) = interims.try_recv() {
        if !is_old && write_interim(writer, &one.0, &one.1).await.is_err() {
            return Next::Close;
        }
    }
    // A body that is not read to its end yet is in the way of the next request.
    let is_open_ended = is_old && reply.length.is_none() && !to_head;
    let next = match closes || upload_done != Some(true) || is_open_ended {
        true => Next::Close,
        false => Next::Again,
    };
    let stored = reply.stored.take();
    let writing = write_reply(writer, reply, is_old, to_head, next);
    // An origin may answer while it reads.
    let written = match upload_done {
        Some(_) => writing.await,
        None => {
            let mut writing = std::pin::pin!(writing);
            tokio::select! {
                written = &mut writing => {
                    let _ = timeout(LINGER, sending).await;
                    written
                }
                _ = &mut sending => writing.await,
            }
        }
    };
    match (written, stored) {
        (Written::Whole, _) => next,
        (Written::Broken, Some(key)) => {
            cache.damaged(&key).await;
            Next::Reset
        }
        (Written::Broken, None) => Next::Reset,
        (Written::Told | Written::Gone, _) => Next::Close,
    }
}

/// Sends the request's body on, piece by piece; whether all of it came.
async fn send_up(
    reader: &mut Reader<'_>,
    buffer: &mut Buffer,
    framing: &mut Framing,
    pieces: Option<Pieces>,
) -> bool {
    let Some(pieces) = pieces else { return true };
    while !framing.is_done() {
        if buffer.is_empty() {
            match timeout(PIECE_TIME, buffer.fill(reader, LONGEST_HEAD)).await {
                Ok(Ok(1..)) => {}
                _ => {
                    let _ = pieces.send(Err("the client broke off".to_owned())).await;
                    return false;
                }
            }
        }
        let mut payload = Vec::new();
        let taken = framing.take_payload(buffer.unread(), |piece| payload.extend_from_slice(piece));
        let Ok(taken) = taken else {
            let _ = pieces.send(Err("malformed chunked body".to_owned())).await;
            return false;
        };
        buffer.consume(taken);
        if !payload.is_empty() && pieces.send(Ok(payload.into())).await.is_err() {
            return false;
        }
    }
    // It is whole: see `RequestBody::Stream`.
    pieces.send(Ok(bytes::Bytes::new())).await.is_ok()
}

async fn write_interim(
    writer: &mut Writer<'_>,
    status: &StatusCode,
    headers: &HeaderMap,
) -> io::Result<()> {
    // What the client needs to hear of its own `Expect` was said here.
    if *status == StatusCode::CONTINUE {
        return Ok(());
    }
    let mut head = status_line(*status);
    put_headers(&mut head, headers);
    head.extend_from_slice(b"\r\n");
    writer.write_all(&head).await
}

/// How the writing of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Whole,
    /// The body is not whole.
    Broken,
    /// The same, and the client was told.
    Told,
    /// The client has left, or takes nothing.
    Gone,
}

async fn write_reply(
    writer: &mut Writer<'_>,
    mut reply: Reply,
    is_old: bool,
    to_head: bool,
    next: Next,
) -> Written {
    let mut head = status_line(reply.status);
    put_headers(&mut head, &reply.headers);
    let has_body = !matches!(reply.status.as_u16(), 100..200 | 204 | 304);
    let chunked = has_body && reply.length.is_none() && !is_old && !to_head;
    if let Some(length) = reply.length.filter(|_| has_body) {
        put_number(&mut head, b"content-length: ", length);
    } else if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match next {
        Next::Close | Next::Reset => head.extend_from_slice(b"connection: close\r\n"),
        Next::Again if is_old => head.extend_from_slice(b"connection: keep-alive\r\n"),
        Next::Again => {}
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
            let Reply { headers, body, length, .. } =
                plain(StatusCode::BAD_GATEWAY, why, reply.account);
            let mut head = status_line(StatusCode::BAD_GATEWAY);
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
                        in_time(writer.write_all(head)).await.map_err(gone)?;
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
        in_time(writer.write_all(head)).await.map_err(gone)?;
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
            in_time(writer.write_two(&first, bytes)).await.map_err(gone)
        }
        Chunk::File { file, at, length } if writer.is_plain() => {
            if !before.is_empty() {
                in_time(writer.write_all(before)).await.map_err(gone)?;
                before.clear();
            }
            let (mut offset, mut left) = (*at, *length);
            while left > 0 {
                let most = usize::try_from(left.min(PIECE)).unwrap_or(usize::MAX);
                let sending = writer.write_with(|socket| {
                    Ok(rustix::fs::sendfile(socket, &**file, Some(&mut offset), most)?)
                });
                match in_time(sending).await {
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
        in_time(writer.write_two(&first, bytes)).await.map_err(|_| Unsent::Gone)?;
        if !file.advance(read) {
            return Ok(());
        }
    }
}

pub(super) async fn in_time<T>(sending: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PIECE_TIME, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn refuse(
    cache: &Arc<Cache>,
    caller: &Caller,
    writer: &mut Writer<'_>,
    refusal: Refusal,
    to_head: bool,
) -> Next {
    let reply = refusal.reply(cache, &caller.tenant);
    let _ = write_reply(writer, reply, false, to_head, Next::Close).await;
    Next::Close
}

/// A blind way to another host, for clients that use a proxy for what they encrypt.
async fn tunnel(
    cache: &Arc<Cache>,
    caller: &Caller,
    (host, port): (&str, u16),
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    buffer: &mut Buffer,
) -> Next {
    if cache.settings.offline {
        let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "offline: no origin is asked");
        return refuse(cache, caller, writer, refusal, false).await;
    }
    let through = match cache.upstream.tunnel(host, port).await {
        Ok(stream) => stream,
        Err(fault) => {
            let account = cache.stats.account(host, &caller.tenant, Outcome::Failed);
            let reply = serve::failed(&fault, account);
            let _ = write_reply(writer, reply, false, false, Next::Close).await;
            return Next::Close;
        }
    };
    let account = cache.stats.account(host, &caller.tenant, Outcome::Passed);
    let mut sent = 0;
    if writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        let (mut far_reader, mut far_writer) = tokio::io::split(through);
        let up = async {
            loop {
                far_writer.write_all(buffer.unread()).await?;
                buffer.clear();
                if buffer.fill(reader, LONGEST_HEAD).await? == 0 {
                    return far_writer.shutdown().await;
                }
            }
        };
        let down = async {
            let mut block = take_block();
            let result = loop {
                let read = match far_reader.read(&mut block).await {
                    Ok(0) => break writer.close_write().await,
                    Ok(read) => read,
                    Err(error) => break Err(error),
                };
                let written = in_time(writer.write_all(block.get(..read).unwrap_or_default()));
                if let Err(error) = written.await {
                    break Err(error);
                }
                sent += read as u64;
            };
            give_block(block);
            result
        };
        // When one direction fails the other has nobody to speak to.
        let _ = tokio::try_join!(up, down);
    }
    account.close(sent);
    Next::Close
}

/// Tells a client that speaks HTTP to a port for TLS that it does.
pub(super) async fn speak_plainly(mut stream: Stream) {
    let body = "dockgate: this port speaks TLS. hint: use https://\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let (mut reader, mut writer) = stream.split();
    let _ = in_time(writer.write_all(answer.as_bytes())).await;
    linger(&mut reader, &mut writer, &mut Buffer::new()).await;
}

/// Lets the client read what was written before the socket is gone.
async fn linger(reader: &mut Reader<'_>, writer: &mut Writer<'_>, buffer: &mut Buffer) {
    let _ = timeout(LINGER, async {
        if writer.close_write().await.is_err() {
            return;
        }
        buffer.clear();
        while let Ok(1..) = buffer.fill(reader, LONGEST_HEAD).await {
            buffer.clear();
        }
    })
    .await;
}

/// Status line and fields of an answer with a body of this length, for `hot`.
pub(in crate::cache) fn head_of(
    status: StatusCode,
    headers: &HeaderMap,
    length: u64,
) -> bytes::Bytes {
    let mut head = status_line(status);
    put_headers(&mut head, headers);
    put_number(&mut head, b"content-length: ", length);
    head.into()
}

fn status_line(status: StatusCode) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    line.extend_from_slice(b"HTTP/1.1 ");
    line.extend_from_slice(status.as_str().as_bytes());
    line.push(b' ');
    line.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
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
