//! A `Stream` as hyper reads and writes one.
//!
//! HTTP/2 is hyper's wherever it is spoken (`cache::front`, `buildkit`). What must stay true: a write waits as any
//! other of ours does, with the patience that it was given; nothing is copied but what is read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::{Reader, Stream, Writer};
use crate::wire::buffer::{give_block, take_block};

/// Borrows the stream until hyper has said its last word.
pub struct HyperStream<'s> {
    reader: Reader<'s>,
    writer: Writer<'s>,
    /// What was read before hyper was there.
    before: Vec<u8>,
    /// Whether a write waits for the peer.
    waits: Arc<AtomicBool>,
    has_ended: bool,
}

impl<'s> HyperStream<'s> {
    /// A write fails when the peer takes nothing for so long.
    pub fn new(stream: &'s mut Stream, before: Vec<u8>, patience: Duration) -> HyperStream<'s> {
        let (reader, mut writer) = stream.split();
        writer.be_patient(patience);
        HyperStream { reader, writer, before, waits: Arc::default(), has_ended: false }
    }

    /// Tells from now on whether a write waits for the peer.
    pub fn waits(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waits)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.writer.is_plain() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let mut send = |socket: std::os::fd::BorrowedFd<'_>| {
                let mut none = SendAncillaryBuffer::default();
                Ok(rustix::net::sendmsg(socket, pieces, &mut none, flags)?)
            };
            let sent = self.writer.poll_write_with(cx, &mut send);
            self.waits.store(sent.is_pending(), Ordering::Relaxed);
            return sent;
        }
        // All that rustls took before is with the kernel before it takes more.
        ready!(self.poll_empty(cx))?;
        let Some(piece) = pieces.iter().find(|piece| !piece.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        let taken = self.writer.stream.tls().map_or(Ok(0), |mut tls| tls.put(piece))?;
        // What the kernel has no room for goes with the next write or flush.
        let _ = self.poll_empty(cx)?;
        Poll::Ready(Ok(taken))
    }

    /// Until the kernel has all that TLS has encrypted.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.writer.stream;
        let mut flush = |socket: std::os::fd::BorrowedFd<'_>| {
            stream.tls().map_or(Ok(0), |mut tls| tls.flush(socket))
        };
        while stream.tls().is_some_and(|tls| tls.wants_write()) {
            let flushed = self.writer.poll_write_with(cx, &mut flush);
            self.waits.store(flushed.is_pending(), Ordering::Relaxed);
            ready!(flushed)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for HyperStream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let fits = self.before.len().min(into.remaining());
            let rest = self.before.split_off(fits);
            into.put_slice(&std::mem::replace(&mut self.before, rest));
            return Poll::Ready(Ok(()));
        }
        let mut block = take_block();
        let fits = block.len().min(into.remaining());
        let room = block.get_mut(..fits).unwrap_or_default();
        let read = self.reader.poll_read(cx, room);
        if let Poll::Ready(Ok(read)) = &read {
            into.put_slice(room.get(..*read).unwrap_or_default());
        }
        give_block(block);
        read.map_ok(drop)
    }
}

impl Write for HyperStream<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_plain()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_empty(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_ended, true) {
            match self.writer.stream.tls() {
                Some(mut tls) => tls.end(),
                None => rustix::net::shutdown(self.writer.stream, rustix::net::Shutdown::Write)?,
            }
        }
        self.poll_empty(cx)
    }
}

impl Reader<'_> {
    /// As `read`.
    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(mut tls) = self.0.tls() {
                match tls.take(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            }
            let mut ready = ready!(self.0.socket.poll_read_ready(cx))?;
            let read = match self.0.tls() {
                Some(mut tls) => {
                    let pulled = tls.pull(super::AsFd::as_fd(self.0), into);
                    if tls.drained {
                        ready.clear_ready();
                    }
                    pulled
                }
                None => match rustix::net::recv(self.0, &mut *into, RecvFlags::DONTWAIT) {
                    Ok((_, read)) => Ok(read),
                    Err(error) => Err(error.into()),
                },
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A short read has emptied the socket: epoll will tell about what comes.
                Ok(read @ 1..) if self.0.is_plain() && read < into.len() => {
                    ready.clear_ready();
                    return Poll::Ready(Ok(read));
                }
                done => return Poll::Ready(done),
            }
        }
    }
}
