//! The bodies of requests and answers.
//!
//! What must stay true: an answer's body is given on as it comes, without copying; its host's slot
//! is free again when it has ended, failed, or was dropped; and a body that broke off never looks
//! like one that ended.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::fault::{Fault, chain};
use super::hosts::HostPermit;

/// What goes with a request.
#[derive(Debug, Default)]
pub enum RequestBody {
    #[default]
    Empty,
    Whole(Bytes),
    /// Pieces as they come from the client; `length` if it declared one. An error breaks the request
    /// off, as does an end before `length`; without one, an empty piece says that it is whole, and an
    /// end without that breaks off too.
    Stream {
        pieces: mpsc::Receiver<Result<Bytes, String>>,
        length: Option<u64>,
    },
}

impl RequestBody {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    /// Whether it takes as long as its client lets it.
    pub(super) fn is_upload(&self) -> bool {
        matches!(self, RequestBody::Stream { .. })
    }

    pub(super) fn is_of_unknown_length(&self) -> bool {
        matches!(self, RequestBody::Stream { length: None, .. })
    }

    pub(super) fn sent(self) -> (Sent, Progress) {
        let waits = Waits { since: Instant::now(), for_client: false };
        let progress = Progress(Arc::new(Mutex::new(waits)));
        (Sent { body: self, progress: progress.clone() }, progress)
    }
}

/// Since when the origin is waited for.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Waits>>);

#[derive(Clone, Copy, Debug)]
struct Waits {
    /// When the last piece of a request's body was taken.
    since: Instant,
    /// The next one has not come: no host is to blame for its client.
    for_client: bool,
}

impl Progress {
    pub(super) fn since(&self) -> Instant {
        let waits = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.for_client { Instant::now() } else { waits.since }
    }

    fn note(&self, for_client: bool) {
        let waits = Waits { since: Instant::now(), for_client };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }
}

/// A request's body as hyper reads it.
#[derive(Debug)]
pub(super) struct Sent {
    body: RequestBody,
    progress: Progress,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let piece = match &mut self.body {
            RequestBody::Empty => return Poll::Ready(None),
            RequestBody::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            RequestBody::Stream { pieces, length } => {
                let Poll::Ready(piece) = pieces.poll_recv(cx) else {
                    self.progress.note(true);
                    return Poll::Pending;
                };
                match (piece, length) {
                    (Some(Ok(bytes)), Some(left)) => match left.checked_sub(bytes.len() as u64) {
                        Some(rest) => {
                            *left = rest;
                            Some(Ok(bytes))
                        }
                        None => Some(Err(Fault::RequestBody("it is longer than declared".into()))),
                    },
                    (Some(Ok(bytes)), None) if bytes.is_empty() => None,
                    (Some(piece), _) => Some(piece.map_err(Fault::RequestBody)),
                    (None, None) => Some(Err(Fault::RequestBody("it has no end".into()))),
                    (None, Some(left)) if *left > 0 => {
                        Some(Err(Fault::RequestBody("it is shorter than declared".into())))
                    }
                    (None, _) => None,
                }
            }
        };
        if matches!(self.body, RequestBody::Whole(_)) || piece.is_none() {
            self.body = RequestBody::Empty;
        }
        self.progress.note(false);
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            RequestBody::Empty => true,
            RequestBody::Whole(bytes) => bytes.is_empty(),
            RequestBody::Stream { length, .. } => *length == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RequestBody::Stream { length: Some(left), .. } => SizeHint::with_exact(*left),
            RequestBody::Stream { length: None, .. } => SizeHint::default(),
        }
    }
}

/// The body of an answer. Dropping it ends the transfer.
#[derive(Debug)]
pub struct AnswerBody {
    /// None when all of it was read, or it failed.
    open: Option<(Incoming, Option<HostPermit>)>,
    length: Option<u64>,
    idle: Duration,
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, slot: HostPermit, idle: Duration) -> AnswerBody {
        let length = body.size_hint().exact();
        let open = (!body.is_end_stream()).then_some((body, Some(slot)));
        AnswerBody { open, length, idle }
    }

    /// Gives the host's slot back before the end: whoever reads it is slow.
    pub fn release(&mut self) {
        if let Some((_, slot)) = &mut self.open {
            *slot = None;
        }
    }

    /// Returns when somebody waits for the host's slot that this holds.
    pub async fn wanted(&self) {
        match &self.open {
            Some((_, Some(slot))) => slot.wanted().await,
            _ => std::future::pending().await,
        }
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece, not empty; `None` after the last one, and after a fault. May be dropped while
    /// it waits, and called again.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        loop {
            let (body, _) = self.open.as_mut()?;
            let fault = match timeout(self.idle, body.frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Some(Ok(bytes)),
                    // Trailers are dropped (RFC 9110 §6.5.1).
                    Ok(_) | Err(_) => continue,
                },
                Ok(Some(Err(error))) => Fault::BodyBroken(chain(&error)),
                Ok(None) => {
                    self.open = None;
                    return None;
                }
                Err(_) => Fault::BodyStalled(self.idle),
            };
            self.open = None;
            return Some(Err(fault));
        }
    }
}
