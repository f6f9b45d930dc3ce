//! Both directions of a call at once: what is left of the request, and the answer.
//!
//! Called by `answer`. A build may answer before its context has been read, and a client may leave
//! while the engine works. What must stay true: nothing is buffered that flows; the end of the
//! client's side reaches the engine (that is how dockerd stops a `logs -f`), but never before the
//! engine has taken a connection over; a failed write towards the engine does not lose the answer
//! that the engine has already written.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use super::entries::{EntryFilter, UploadError};
use super::refusal::Refusal;
use super::request::Upload;
use crate::wire::framing::Framing;
use crate::wire::io::Writer;
use crate::wire::pump::{Inbox, PumpError, pump};

/// How long an answered request may take to send the rest of its body (the last chunk, mostly).
const LAST_CHUNK: Duration = Duration::from_secs(1);

/// What happened to the request's side while the answer came.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicBool,
    /// The client ended its side.
    ended: AtomicBool,
    /// The engine reads no more of it.
    refused: AtomicBool,
}

/// How the two directions ended.
pub(super) enum Both<T> {
    /// The answer came to its end; `sent` says whether the whole request had been.
    Answered { answer: T, sent: bool, client_ended: bool },
    /// The client's connection broke.
    ClientGone,
    /// A policy refused what the client sends, or could not be asked.
    Refused(Refusal),
}

/// Runs the answer to its end, and the request beside it.
pub(super) async fn both<T>(
    client: &mut Inbox<'_>,
    engine: &mut Writer<'_>,
    upload: &mut Upload,
    filter: Option<&EntryFilter<'_>>,
    may_hijack: bool,
    bytes_in: &mut u64,
    answer: impl Future<Output = T>,
) -> Both<T> {
    let progress = Progress::default();
    progress.sent.store(upload.framing.is_done(), Relaxed);
    let mut request =
        pin!(request(client, engine, &mut upload.framing, filter, may_hijack, bytes_in, &progress));
    let mut answer = pin!(answer);
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        request.as_mut().poll(cx).map(Err)
    })
    .await;
    let answer = match answered {
        Ok(answer) => answer,
        Err(RequestEnd::Gone) => return Both::ClientGone,
        Err(RequestEnd::Refused(refusal)) => return Both::Refused(refusal),
    };
    let is_over = |flag: &AtomicBool| flag.load(Relaxed);
    if ![&progress.sent, &progress.ended, &progress.refused].into_iter().any(is_over) {
        let rest = poll_fn(|cx| {
            let is_over = request.as_mut().poll(cx).is_ready();
            if is_over || progress.sent.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = tokio::time::timeout(LAST_CHUNK, rest).await;
    }
    Both::Answered {
        answer,
        sent: progress.sent.load(Relaxed),
        client_ended: progress.ended.load(Relaxed),
    }
}

/// What ends a call from the request's side.
enum RequestEnd {
    /// The client's connection broke: there is nobody to answer.
    Gone,
    Refused(Refusal),
}

use RequestEnd::Gone;

/// Sends the rest of the body, then watches for the client's end. Returns only when the client's
/// connection broke, or a policy refused what it sends.
async fn request(
    client: &mut Inbox<'_>,
    engine: &mut Writer<'_>,
    framing: &mut Framing,
    filter: Option<&EntryFilter<'_>>,
    may_hijack: bool,
    bytes_in: &mut u64,
    progress: &Progress,
) -> RequestEnd {
    let sent = match filter {
        None => pump(client, framing, engine, bytes_in).await,
        Some(filter) => match filter.pump(client, framing, engine, bytes_in).await {
            Err(UploadError::Refused(refusal)) => return RequestEnd::Refused(refusal),
            Err(UploadError::Pump(error)) => Err(error),
            Ok(()) => Ok(()),
        },
    };
    match sent {
        Ok(()) => progress.sent.store(true, Relaxed),
        Err(PumpError::Read(_)) => return Gone,
        Err(PumpError::Cut | PumpError::Malformed(_)) => {
            // The engine must see the body end early, and may still say something about it.
            progress.ended.store(true, Relaxed);
            let _ = engine.close_write().await;
            return pending().await;
        }
        // The engine stopped reading: whatever it says instead is the answer.
        Err(PumpError::Write(_)) => {
            progress.refused.store(true, Relaxed);
            return pending().await;
        }
    }
    // A pipelined request, or stdin right behind an upgrade: it waits its turn, unread beyond this.
    while client.buffer.is_empty() {
        match client.more().await {
            Ok(true) => {}
            Ok(false) if may_hijack => {
                client.reader.gone().await;
                return Gone;
            }
            Ok(false) => {
                progress.ended.store(true, Relaxed);
                let _ = engine.close_write().await;
                return pending().await;
            }
            Err(_) => return Gone,
        }
    }
    pending().await
}
