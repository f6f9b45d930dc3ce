//! A client's HTTP/1.1 connection (RFC 9112).
//!
//! `front` gives it a connection whose handshake is done. `call` is one call as the gateway's is: accept, parse, send,
//! answer; what would be decided there, `serve` finds out between the last two.
//! What must stay true: one answer for each request, in order; framing is ours and never the
//! origin's; an answer that breaks off ends the connection, so that nobody takes it for whole.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::tunnel::copy;
use super::write::{AfterReply, TAKES_NOTHING, Written, write_interim, write_reply};
use super::{Caller, revocations};
use crate::cache::fill::Interim;
use crate::cache::intercept::upgrade;
use crate::cache::reply::Reply;
use crate::cache::request::{Pieces, Refusal, Request, Understood, Upload};
use crate::cache::served::ServedRequest;
use crate::cache::stats::Outcome;
use crate::cache::{Cache, serve};
use crate::wire::buffer::Buffer;
use crate::wire::chunked::Dialect;
use crate::wire::framing::Framing;
use crate::wire::head::{RequestHead, find_end};
use crate::wire::io::{Reader, Stream, Writer};
use crate::wire::linger::linger;

const LONGEST_HEAD: usize = 64 * 1024;
/// Between two requests.
const IDLE: Duration = Duration::from_secs(75);
/// For a whole head, from its first byte on.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// What is read of a client that was refused, so that it reads the answer.
const LINGER: Duration = Duration::from_secs(2);

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
        writer.be_patient(TAKES_NOTHING);
        while let Some(end) = accept(&mut reader, &mut buffer, drain).await {
            let head = buffer.unread().get(..end).unwrap_or_default();
            let is_short = end <= LONGEST_HEAD;
            if let Some(hit) = cache.hot.find(&caller, head, cache.now()).filter(|_| is_short) {
                let served = ServedRequest::begin(cache, &caller.asking);
                let served = served.map(|served| served.said(head).at(hit.host()));
                buffer.consume(end);
                if writer.write_two(&hit.head(), hit.body()).await.is_err() {
                    break;
                }
                let sent = hit.close(cache, &counts);
                if let Some(served) = served {
                    served.ended(StatusCode::OK, Outcome::Hit, sent);
                }
                if hit.closes() {
                    // Where all that the client has sent was read, no reset takes the answer away.
                    if !buffer.is_empty() {
                        linger(&mut reader, &mut writer, &mut buffer).await;
                    }
                    break;
                }
                continue;
            }
            // Boxed: an idle connection does not keep the memory of a request.
            let one = Box::pin(call(cache, &caller, &mut reader, &mut writer, &mut buffer, end));
            match one.await {
                AfterReply::Again => {}
                AfterReply::Close => {
                    linger(&mut reader, &mut writer, &mut buffer).await;
                    break;
                }
                AfterReply::Reset => return stream.reset(),
            }
        }
    }
    stream.say_end();
}

/// The first byte of a TLS connection (RFC 8446 §5.1), which no head begins with.
const TLS_HANDSHAKE: u8 = 0x16;

/// Waits for a whole head; none when there is nothing more to answer.
async fn accept(
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
        // skopeo and dockerd try TLS first where they may do without, and wait for what is said of it.
        if buffer.unread().first() == Some(&TLS_HANDSHAKE) {
            return Some(buffer.len());
        }
    }
    // A hello of TLS: docker and skopeo try that first of a registry without it, and wait for an answer.
    if buffer.unread().first() == Some(&0x16) {
        return Some(buffer.len());
    }
    let whole = async {
        loop {
            let seen = buffer.len();
            if seen > LONGEST_HEAD {
                return None;
            }
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
        // What is there is no head: `parse` says so.
        Ok(None) if !buffer.is_empty() => Some(buffer.len()),
        Ok(None) | Err(_) => None,
    }
}

/// What a head asks for, and how it is to be answered.
struct ParsedCall {
    wants: Understood,
    framing: Framing,
    /// Where the request's body goes.
    pieces: Option<Pieces>,
    interims: mpsc::UnboundedReceiver<Arc<(StatusCode, HeaderMap)>>,
    form: Form,
    /// The head as it came, of one that asks for another protocol where the origin may have it.
    upgrade: Option<Vec<u8>>,
}

/// What the client can read, and whether it goes on.
#[derive(Clone, Copy)]
struct Form {
    to_head: bool,
    /// HTTP/1.0: no interim answers, and no chunks.
    is_old: bool,
    closes: bool,
    expects: bool,
}

/// From a whole head to what becomes of the connection, in the gateway's words.
async fn call(
    cache: &Arc<Cache>,
    caller: &Caller,
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    buffer: &mut Buffer,
    end: usize,
) -> AfterReply {
    if let Some(list) = revocations::asked_for(cache, caller, buffer, end) {
        return revocations::answer(writer, list).await;
    }
    let raw = buffer.unread().get(..end).unwrap_or_default();
    let served = ServedRequest::begin(cache, &caller.asking).map(|served| served.said(raw));
    let ParsedCall { wants, mut framing, pieces, interims, form, upgrade } =
        match parse(cache, caller, buffer, end) {
            Ok(parsed) => parsed,
            Err((refusal, to_head)) => {
                return refuse(cache, caller, served, writer, refusal, to_head).await;
            }
        };
    let request = match wants {
        Understood::Request(request) => request,
        Understood::Tunnel { host, port } => {
            // Boxed: what is no tunnel has no room for one.
            let to = (host.as_str(), port);
            return Box::pin(tunnel(cache, caller, served, to, reader, writer, buffer)).await;
        }
    };
    let served = served.map(|served| served.asks(&request));
    if let Some(head) = upgrade {
        let way = (&mut *reader, &mut *writer, &mut *buffer);
        let passed = Box::pin(upgrade::run(cache, caller, &request.host, &head, way)).await;
        return match passed {
            Ok(sent) => {
                if let Some(served) = served {
                    served.ended(StatusCode::SWITCHING_PROTOCOLS, Outcome::Passed, sent);
                }
                AfterReply::Close
            }
            Err(refusal) => refuse(cache, caller, served, writer, refusal, form.to_head).await,
        };
    }
    if form.expects && writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return AfterReply::Close;
    }
    let mut upload_done = pieces.is_none().then_some(true);
    let mut sending = Box::pin(send_up(reader, buffer, &mut framing, pieces));
    let deciding = Box::pin(serve::answer(cache, *request));
    let upload = sending.as_mut();
    let Some(mut reply) = send(writer, deciding, upload, &mut upload_done, interims, form).await
    else {
        return AfterReply::Close;
    };
    if let Some(served) = served {
        served.answered(&mut reply);
    }
    answer(cache, writer, reply, sending.as_mut(), upload_done, form).await
}

/// The head, read and understood; or why not, and whether to HEAD.
fn parse(
    cache: &Cache,
    caller: &Caller,
    buffer: &mut Buffer,
    end: usize,
) -> Result<ParsedCall, (Refusal, bool)> {
    if end > LONGEST_HEAD {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let what = "the head of the request is longer than 64 KiB";
        return Err((Refusal::new(status, what), false));
    }
    let raw = buffer.unread().get(..end).unwrap_or_default();
    let parsed = RequestHead::parse(raw);
    let wants_upgrade = |head: &RequestHead| caller.is_intercepted && upgrade::is_wanted(head);
    let upgrade = parsed.as_ref().is_ok_and(wants_upgrade).then(|| raw.to_vec());
    buffer.consume(end);
    let head = parsed.map_err(|error| (Refusal::malformed(&error), false))?;
    let to_head = head.method() == "HEAD";
    let framing = Framing::of_request(&head, Dialect::Strict)
        .map_err(|error| (Refusal::malformed(&error), to_head))?;
    let (interim, interims) = mpsc::unbounded_channel();
    let (upload, pieces) = Upload::channel(&framing);
    let wants = Request::understand(cache, caller, &head, upload, Interim::new(interim))
        .map_err(|refusal| (refusal, to_head))?;
    let is_old = head.version == 0;
    let closes = is_old && !head.headers.lists("connection", "keep-alive")
        || head.headers.lists("connection", "close");
    let expects = !framing.is_done() && head.headers.lists("expect", "100-continue") && !is_old;
    let form = Form { to_head, is_old, closes, expects };
    Ok(ParsedCall { wants, framing, pieces, interims, form, upgrade })
}

/// Sends the request's body on until there is a reply, and interim answers back; none when the client is gone.
async fn send(
    writer: &mut Writer<'_>,
    mut deciding: Pin<Box<impl Future<Output = Reply>>>,
    mut sending: Pin<&mut impl Future<Output = bool>>,
    upload_done: &mut Option<bool>,
    mut interims: mpsc::UnboundedReceiver<Arc<(StatusCode, HeaderMap)>>,
    form: Form,
) -> Option<Reply> {
    let reply = loop {
        tokio::select! {
            biased;
            Some(one) = interims.recv(), if !form.is_old => {
                write_interim(writer, &one.0, &one.1).await.ok()?;
            }
            reply = &mut deciding => break reply,
            done = &mut sending, if upload_done.is_none() => *upload_done = Some(done),
        }
    };
    while let Ok(one) = interims.try_recv() {
        if !form.is_old {
            write_interim(writer, &one.0, &one.1).await.ok()?;
        }
    }
    Some(reply)
}

/// Writes the reply, and the rest of the request beside it.
async fn answer(
    cache: &Cache,
    writer: &mut Writer<'_>,
    mut reply: Reply,
    mut sending: Pin<&mut impl Future<Output = bool>>,
    upload_done: Option<bool>,
    form: Form,
) -> AfterReply {
    let Form { to_head, is_old, closes, .. } = form;
    // A body that is not read to its end yet is in the way of the next request.
    let is_open_ended = is_old && reply.length.is_none() && !to_head;
    let next = match closes || upload_done != Some(true) || is_open_ended {
        true => AfterReply::Close,
        false => AfterReply::Again,
    };
    let stored = reply.stored.take();
    let mut writing = std::pin::pin!(write_reply(writer, reply, is_old, to_head, next));
    // An origin may answer while it reads.
    let written = match upload_done {
        Some(_) => writing.await,
        None => tokio::select! {
            written = &mut writing => {
                let _ = timeout(LINGER, sending).await;
                written
            }
            _ = &mut sending => writing.await,
        },
    };
    match (written, stored) {
        (Written::Whole, _) => next,
        (Written::Broken, Some(key)) => {
            cache.damaged(&key).await;
            AfterReply::Reset
        }
        (Written::Broken, None) => AfterReply::Reset,
        (Written::Told | Written::Gone, _) => AfterReply::Close,
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
    let is_chunked = matches!(framing, Framing::Chunked(_));
    while !framing.is_done() {
        if buffer.is_empty() {
            match timeout(TAKES_NOTHING, buffer.fill(reader, LONGEST_HEAD)).await {
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
    // Where nothing else says that it is whole: see `RequestBody::Stream`.
    !is_chunked || pieces.send(Ok(bytes::Bytes::new())).await.is_ok()
}

async fn refuse(
    cache: &Arc<Cache>,
    caller: &Caller,
    served: Option<ServedRequest>,
    writer: &mut Writer<'_>,
    refusal: Refusal,
    to_head: bool,
) -> AfterReply {
    let mut reply = refusal.reply(cache, &caller.tenant);
    if let Some(served) = served {
        served.answered(&mut reply);
    }
    let _ = write_reply(writer, reply, false, to_head, AfterReply::Close).await;
    AfterReply::Close
}

/// A blind way to another host, for clients that use a proxy for what they encrypt.
async fn tunnel(
    cache: &Arc<Cache>,
    caller: &Caller,
    served: Option<ServedRequest>,
    (host, port): (&str, u16),
    reader: &mut Reader<'_>,
    writer: &mut Writer<'_>,
    buffer: &mut Buffer,
) -> AfterReply {
    if cache.settings.offline {
        let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "offline: no origin is asked");
        return refuse(cache, caller, served, writer, refusal, false).await;
    }
    let served = served.map(|served| served.tunnels("CacheTunnel", &format!("{host}:{port}")));
    let through = match cache.upstream.tunnel(host, port).await {
        Ok(stream) => stream,
        Err(fault) => {
            let account = cache.stats.account(host, &caller.tenant, Outcome::Failed);
            let mut reply = serve::failed(&fault, account);
            if let Some(served) = served {
                served.answered(&mut reply);
            }
            let _ = write_reply(writer, reply, false, false, AfterReply::Close).await;
            return AfterReply::Close;
        }
    };
    let account = cache.stats.account(host, &caller.tenant, Outcome::Passed);
    account.asked();
    let mut sent = 0;
    if writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        sent = copy(reader, writer, buffer, through, &account).await;
    }
    account.close(sent);
    if let Some(served) = served {
        served.ended(StatusCode::OK, Outcome::Passed, sent);
    }
    AfterReply::Close
}

/// The answer in plain HTTP on a port for TLS.
pub(in crate::cache) fn plain_http() -> Vec<u8> {
    without_request("400 Bad Request", "this port speaks TLS. hint: use https://")
}

pub(super) fn too_many_connections(cache: &str) -> Vec<u8> {
    without_request("503 Service Unavailable", &format!("too many connections to {cache}"))
}

fn without_request(status: &str, why: &str) -> Vec<u8> {
    let body = format!("dockgate: {why}\n");
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
