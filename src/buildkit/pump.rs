//! One direction of a call: DATA of one stream to another, as fast as the slower one takes it.
//!
//! `call` runs two of them side by side. What must stay true: room is given back to the sender only for what
//! the other side has room for; a reset of either stream ends the wait for the other one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;

use super::held::HeldMessages;
use super::messages::{INVALID_ARGUMENT, Messages, framed};
use super::reply::H2Reply;

/// Why a direction did not come to its end.
pub(super) enum Broken {
    /// The stream that is read.
    Source(h2::Error),
    /// The stream that is written.
    Sink(h2::Error),
    /// What came is no message as it should be.
    Malformed(H2Reply),
    /// A judge refuses it.
    Refused(H2Reply),
}

/// Passes on what comes; returns the fields at its end.
pub(super) async fn stream<'e>(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    passed: &AtomicU64,
    end: impl Fn(HeaderMap) -> Fields<'e>,
) -> Result<Option<HeaderMap>, Broken> {
    loop {
        match next(source, sink).await? {
            Next::Data(mut data) => {
                passed.fetch_add(data.len() as u64, Ordering::Relaxed);
                while !data.is_empty() {
                    let room = room(sink, data.len()).await.map_err(Broken::Sink)?;
                    let piece = data.split_to(room.min(data.len()));
                    let taken = piece.len();
                    // One frame less for a call of one message.
                    let is_last = data.is_empty() && source.is_end_stream();
                    sink.send_data(piece, is_last).map_err(Broken::Sink)?;
                    source.flow_control().release_capacity(taken).map_err(Broken::Source)?;
                    if is_last {
                        return Ok(None);
                    }
                }
            }
            Next::End(fields) => return finish(sink, fields, end).await,
        }
    }
}

pub(super) type Judging<'a> = BoxFuture<'a, Result<Option<Bytes>, H2Reply>>;

pub(super) type Fields<'a> = BoxFuture<'a, HeaderMap>;

/// Of a direction whose fields are nobody's to change.
pub(super) fn as_they_are<'a>(fields: HeaderMap) -> Fields<'a> {
    Box::pin(std::future::ready(fields))
}

/// Passes on what a judge says of each message; returns the fields at the end.
pub(super) async fn judged<'j>(
    source: &mut RecvStream,
    sink: &mut SendStream<Bytes>,
    (most, held): (usize, &HeldMessages),
    passed: &AtomicU64,
    (judge, end): (impl Fn(Bytes) -> Judging<'j>, impl Fn(HeaderMap) -> Fields<'j>),
) -> Result<Option<HeaderMap>, Broken> {
    let mut messages = Messages::new(most);
    let mut permit = None;
    loop {
        let data = match next(source, sink).await? {
            Next::Data(data) => data,
            Next::End(fields) if messages.is_empty() => return finish(sink, fields, end).await,
            Next::End(_) => return Err(Broken::Malformed(early())),
        };
        passed.fetch_add(data.len() as u64, Ordering::Relaxed);
        messages.push(&data);
        while let Some(message) = whole(&mut messages, held, &mut permit)? {
            if let Some(message) = judge(message).await.map_err(Broken::Refused)? {
                send_all(sink, framed(&message)).await.map_err(Broken::Sink)?;
            }
            permit = None;
        }
        source.flow_control().release_capacity(data.len()).map_err(Broken::Source)?;
    }
}

/// The one message of a call, once its sender has said all.
pub(super) async fn only(
    source: &mut RecvStream,
    most: usize,
    held: &HeldMessages,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Broken> {
    let mut messages = Messages::new(most);
    let mut permit = None;
    let mut seen = None;
    while let Some(data) = source.data().await {
        let data = data.map_err(Broken::Source)?;
        if seen.is_some() && !data.is_empty() {
            return Err(refused("more than one message where one is expected"));
        }
        messages.push(&data);
        source.flow_control().release_capacity(data.len()).map_err(Broken::Source)?;
        if seen.is_none() {
            seen = whole(&mut messages, held, &mut permit)?;
        }
        if seen.is_some() && !messages.is_empty() {
            return Err(refused("more than one message where one is expected"));
        }
    }
    if source.trailers().await.map_err(Broken::Source)?.is_some() {
        return Err(refused("fields behind the message"));
    }
    Ok((seen.ok_or_else(|| Broken::Malformed(early()))?, permit))
}

fn whole(
    messages: &mut Messages,
    held: &HeldMessages,
    permit: &mut Option<OwnedSemaphorePermit>,
) -> Result<Option<Bytes>, Broken> {
    if permit.is_none()
        && let Some(length) = messages.length().map_err(Broken::Malformed)?
    {
        *permit = Some(held.take(length).map_err(Broken::Malformed)?);
    }
    messages.next().map_err(Broken::Malformed)
}

fn early() -> H2Reply {
    H2Reply::grpc(INVALID_ARGUMENT, "dockgate: the call ends within a message or without one")
}

fn refused(why: &str) -> Broken {
    Broken::Malformed(H2Reply::grpc(INVALID_ARGUMENT, format!("dockgate: {why}")))
}

/// Sends all of it, as the other side makes room.
pub(super) async fn send_all(
    sink: &mut SendStream<Bytes>,
    mut bytes: Bytes,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        let room = room(sink, bytes.len()).await?;
        sink.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}

async fn finish<'e>(
    sink: &mut SendStream<Bytes>,
    fields: Option<HeaderMap>,
    end: impl Fn(HeaderMap) -> Fields<'e>,
) -> Result<Option<HeaderMap>, Broken> {
    let fields = match fields {
        Some(fields) => Some(end(fields).await),
        None => None,
    };
    match &fields {
        Some(fields) => sink.send_trailers(fields.clone()),
        None => sink.send_data(Bytes::new(), true),
    }
    .map_err(Broken::Sink)?;
    Ok(fields)
}

/// Waits until some of so many bytes may be sent.
async fn room(sink: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    sink.reserve_capacity(wanted);
    poll_fn(|cx| {
        // h2 tells of what was added since it was last asked only.
        match sink.capacity() {
            0 => {}
            room => return Poll::Ready(Ok(room)),
        }
        match sink.poll_capacity(cx) {
            Poll::Ready(Some(Ok(room))) => Poll::Ready(Ok(room)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => Poll::Ready(Err(match sink.poll_reset(cx) {
                Poll::Ready(Ok(reason)) => reason.into(),
                Poll::Ready(Err(error)) => error,
                Poll::Pending => Reason::STREAM_CLOSED.into(),
            })),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

enum Next {
    Data(Bytes),
    End(Option<HeaderMap>),
}

async fn next(source: &mut RecvStream, sink: &mut SendStream<Bytes>) -> Result<Next, Broken> {
    let data = poll_fn(|cx| match sink.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Poll::Ready(Err(Broken::Sink(reason.into()))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Sink(error))),
        Poll::Pending => source.poll_data(cx).map(Ok),
    });
    if let Some(data) = data.await? {
        return data.map(Next::Data).map_err(Broken::Source);
    }
    let mut fields = pin!(source.trailers());
    poll_fn(|cx| match sink.poll_reset(cx) {
        Poll::Ready(Ok(reason)) => Poll::Ready(Err(Broken::Sink(reason.into()))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Sink(error))),
        Poll::Pending => {
            fields.as_mut().poll(cx).map(|end| end.map(Next::End).map_err(Broken::Source))
        }
    })
    .await
}
