//! A connection, whatever it runs over, and its two directions.
//!
//! Listeners and the engine's connector make a `Stream`; everyone else reads and writes through its
//! halves, which borrow it: no lock, no allocation. What must stay true: `close_write` closes one
//! direction only, and both directions stay usable independently.
//!
//! tokio's own sockets watch for room to write all the time: each time a peer reads, a worker wakes
//! up for nothing, twice a call. Here a socket is watched for input only, and for room only while
//! there is none.

mod hyper_stream;

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use super::acked::unacknowledged;
use super::tls::TlsSession;
pub use hyper_stream::HyperStream;

/// What the kernel may hold for a receiver that is slower than we are.
const BUSY_BYTES: usize = 1 << 20;
/// The same of one that is not waited for without end, at first. It doubles while the receiver makes room
/// within a moment: so it holds about what goes over the wire in some seconds, whatever the rate.
const FIRST_BYTES: usize = 64 << 10;
const MOMENT: Duration = Duration::from_secs(1);
/// epoll tells of room when a third of the buffer is free. A slow receiver makes less, which shows when it
/// is tried.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How often a peer that has ended its side is asked whether it still listens.
const CHECK_GONE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Stream {
    socket: AsyncFd<OwnedFd>,
    /// Boxed: a plain stream pays nothing for it. The lock is never waited for: one task owns both
    /// halves.
    tls: Option<Box<Mutex<TlsSession>>>,
}

pub struct Reader<'a>(&'a Stream);

pub struct Writer<'a> {
    stream: &'a Stream,
    /// A second registration of the same socket, while it was found full.
    room: Option<AsyncFd<OwnedFd>>,
    /// How long a peer may take nothing at all; none: for ever.
    patience: Option<Duration>,
    /// What the kernel may hold; 0 where that was not said yet.
    buffer: usize,
    /// Since a write found it full.
    wait: Option<Wait>,
    /// Of a wait that has an end.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How long a peer has let a write wait.
struct Wait {
    began: Instant,
    last_taken: Instant,
    /// Unacknowledged, when it was last looked at.
    left: Option<u32>,
    is_timed: bool,
}

impl Wait {
    fn new() -> Wait {
        let began = Instant::now();
        Wait { began, last_taken: began, left: None, is_timed: false }
    }

    /// Whether the peer has taken nothing for so long. Less than what makes room may have been taken.
    fn is_over(&mut self, socket: BorrowedFd<'_>, patience: Duration) -> bool {
        let now = unacknowledged(socket);
        if now.zip(self.left).is_some_and(|(now, left)| now < left) {
            self.last_taken = Instant::now();
        }
        self.left = now;
        self.last_taken.elapsed() >= patience
    }
}

/// A system call, however often a signal interrupts it.
fn call_through(
    socket: BorrowedFd<'_>,
    call: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match call(socket) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Stream {
    /// Takes over a connected, non-blocking stream socket.
    pub fn new(socket: OwnedFd) -> io::Result<Stream> {
        Ok(Stream { socket: watch(socket, Interest::READABLE)?, tls: None })
    }

    /// Speaks TLS from here on: shakes hands, as the side that `conn` is.
    pub async fn secure(&mut self, conn: rustls::Connection) -> Result<(), HandshakeError> {
        self.tls = Some(Box::new(Mutex::new(TlsSession::new(conn))));
        let result = self.shake_hands().await;
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(match self.tls().and_then(|tls| tls.error().cloned()) {
                Some(error) => HandshakeError::Protocol(error),
                None if error.kind() == io::ErrorKind::UnexpectedEof => HandshakeError::Left,
                None => HandshakeError::Connection(error),
            }),
        }
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let (reader, mut writer) = self.split();
        loop {
            writer.flush().await?;
            match reader.0.tls() {
                Some(tls) if tls.is_handshaking() && tls.has_ended() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Some(tls) if tls.is_handshaking() => {}
                _ => return Ok(()),
            }
            match reader.pull(&mut []).await {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// The peer's certificates, verified in the handshake, the leaf first.
    pub fn certificates(&self) -> Vec<rustls::pki_types::CertificateDer<'static>> {
        self.tls().map_or_else(Vec::new, |tls| tls.certificates())
    }

    /// The protocol agreed on under TLS (ALPN).
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.tls()?.protocol()
    }

    /// The name that a client asked for under TLS (SNI).
    pub fn server_name(&self) -> Option<String> {
        self.tls()?.server_name()
    }

    /// Lets the kernel hold little for the peer, at first (`FIRST_BYTES`).
    pub fn hold_little(&self) -> io::Result<()> {
        sockopt::set_socket_send_buffer_size(self, FIRST_BYTES).map_err(io::Error::from)
    }

    /// Whether what is written is what goes over the wire.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// The connection beneath, when TLS has failed on it.
    pub fn into_plain(self) -> Stream {
        Stream { tls: None, ..self }
    }

    /// Waits for the first byte and leaves it where it is.
    pub async fn peek(&self) -> io::Result<Option<u8>> {
        let mut byte = [0u8; 1];
        let peeked = self.socket.async_io(Interest::READABLE, |socket| {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            Ok(rustix::net::recv(socket, &mut byte, flags).map(|(_, n)| n)?)
        });
        let n = peeked.await?;
        Ok(byte.first().copied().filter(|_| n > 0))
    }

    /// Waits until more than `seen` bytes are there, copies all of them and leaves them where they are. No more than
    /// `seen`: the peer has ended.
    pub async fn peek_past(&self, seen: usize, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            // Before the look: what is there at its end is all there will be.
            let has_ended = ready.ready().is_read_closed();
            match rustix::net::recv(self, &mut *into, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((_, n)) if n > seen || n == 0 || has_ended => return Ok(n),
                Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for what the peer says first, and leaves it there; false when it has ended instead.
    pub async fn heard(&mut self) -> io::Result<bool> {
        self.split().0.readable().await?;
        if self.is_plain() {
            return Ok(self.peek().await?.is_some());
        }
        self.tls().map_or(Ok(false), |tls| tls.says())
    }

    /// Ends so that the peer cannot take what was sent for all there is.
    pub fn reset(self) {
        let _ = sockopt::set_socket_linger(&self, Some(Duration::ZERO));
    }

    /// Says a clean end to a peer that expects nothing more, if that is possible at once.
    pub fn say_end(&self) {
        if let Some(mut tls) = self.tls() {
            tls.end();
            let _ = tls.flush(self.as_fd());
        }
    }

    fn tls(&self) -> Option<MutexGuard<'_, TlsSession>> {
        self.tls.as_ref().map(|tls| tls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let stream = &*self;
        let writer =
            Writer { stream, room: None, patience: None, buffer: 0, wait: None, timer: None };
        (Reader(stream), writer)
    }

    /// Whether the peer is still there and has said nothing: what a kept connection must be before
    /// it is used again. Costs a system call only when the reactor has heard of something.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        if let Some(mut tls) = self.tls() {
            // Session tickets come unasked: only what they leave behind counts.
            let heard = self.socket.try_io(Interest::READABLE, |fd| tls.pull(fd.as_fd(), &mut []));
            let is_empty = heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            return is_empty && !tls.is_ready();
        }
        let heard = self.socket.try_io(Interest::READABLE, |socket| {
            Ok(rustix::net::recv(socket, &mut byte, flags).map(|_| ())?)
        });
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// Why two sides do not speak TLS with each other.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("{0}")]
    Protocol(rustls::Error),
    #[error("the peer left")]
    Left,
    #[error("the connection failed: {0}")]
    Connection(io::Error),
}

impl Reader<'_> {
    /// Reads what is there, waiting for at least one byte; 0 is the end.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.tls.is_some() {
            // Boxed, here and below: what TLS needs is not paid for by plain streams.
            return Box::pin(self.read_tls(into)).await;
        }
        loop {
            let mut ready = self.0.socket.readable().await?;
            match rustix::net::recv(self.0, &mut *into, RecvFlags::DONTWAIT) {
                Ok((_, read)) => {
                    // A short read has emptied the socket: the next one would find nothing, and
                    // epoll will tell about what comes.
                    if read > 0 && read < into.len() {
                        ready.clear_ready();
                    }
                    return Ok(read);
                }
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn read_tls(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.tls().map(|mut tls| tls.take(into)) {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(done) => return done,
                None => return Ok(0),
            }
            match self.pull(into).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Waits for the socket and lets TLS have what it has.
    async fn pull(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.0.socket.readable().await?;
        let Some(mut tls) = self.0.tls() else { return Ok(0) };
        let pulled = tls.pull(self.0.as_fd(), into);
        let would_block =
            pulled.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if would_block || tls.drained {
            ready.clear_ready();
        }
        pulled
    }

    /// Reads what is there now; `WouldBlock` when nothing is.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let Some(mut tls) = self.0.tls() else {
            return self.try_io(|socket| {
                let (_, read) = rustix::net::recv(socket, into, RecvFlags::DONTWAIT)?;
                Ok(read)
            });
        };
        // What is decrypted is no news to the reactor.
        match tls.take(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        self.try_io(|socket| tls.pull(socket, into))
    }

    /// Returns when there is something to read, or the end; holds no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        if self.0.tls.is_none() {
            return self.0.socket.readable().await.map(|mut ready| ready.retain_ready());
        }
        Box::pin(self.tls_readable()).await
    }

    async fn tls_readable(&self) -> io::Result<()> {
        while !self.0.tls().is_none_or(|mut tls| tls.is_ready()) {
            match self.pull(&mut []).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Said again by the next read.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Runs a non-blocking system call on the socket; `WouldBlock` makes the next `readable` wait.
    pub fn try_io<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.0.socket.try_io(Interest::READABLE, |socket| call(socket.as_fd()))
    }

    pub fn is_plain(&self) -> bool {
        self.0.is_plain()
    }

    /// Returns once the peer, which has already ended its own direction, has closed altogether, so
    /// that nobody will read what is sent.
    ///
    /// To `read`, a half-close looks the same; the kernel tells them apart (`POLLHUP` against
    /// `POLLRDHUP`), but only when asked. On TCP a vanished peer shows after something was sent to it.
    pub async fn gone(&self) {
        while !self.is_gone() {
            tokio::time::sleep(CHECK_GONE).await;
        }
    }

    fn is_gone(&self) -> bool {
        let mut polled = [PollFd::new(self.0, PollFlags::empty())];
        let asked = rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let gone = PollFlags::HUP | PollFlags::ERR;
        asked.is_ok() && polled.iter().any(|socket| socket.revents().intersects(gone))
    }
}

impl Writer<'_> {
    /// From here on a write fails with `TimedOut` when the peer takes not a single byte for so long.
    pub fn be_patient(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.stream.tls.is_some() {
            return Box::pin(self.write_tls(bytes)).await;
        }
        while !bytes.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent =
                self.write_with(|socket| Ok(rustix::net::send(socket, bytes, flags)?)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Two pieces, in one system call where that is possible.
    pub async fn write_two(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        let rest = |sent: usize| {
            let of_second = second.get(sent.saturating_sub(first.len())..).unwrap_or_default();
            (first.get(sent..).unwrap_or_default(), of_second)
        };
        let (mut sent, all) = (0, first.len() + second.len());
        while sent < all {
            let (one, two) = rest(sent);
            sent += if self.stream.is_plain() {
                let both = [io::IoSlice::new(one), io::IoSlice::new(two)];
                self.write_with(|socket| Ok(rustix::io::writev(socket, &both)?)).await?
            } else {
                let taken = self.stream.tls().map_or(Ok(all), |mut tls| tls.put_two(one, two))?;
                Box::pin(self.flush()).await?;
                taken
            };
        }
        Ok(())
    }

    async fn write_tls(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = match self.stream.tls() {
                Some(mut tls) => tls.put(bytes)?,
                None => return Ok(()),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what TLS has encrypted.
    async fn flush(&mut self) -> io::Result<()> {
        let stream = self.stream;
        while stream.tls().is_some_and(|tls| tls.wants_write()) {
            self.write_with(|socket| stream.tls().map_or(Ok(0), |mut tls| tls.flush(socket)))
                .await?;
        }
        Ok(())
    }

    /// Runs a non-blocking system call that puts bytes into the socket, waiting for room.
    pub async fn write_with(
        &mut self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // One that was given up while it waited has nothing to do with this one.
        self.wait = None;
        poll_fn(|cx| self.poll_write_with(cx, &mut call)).await
    }

    /// The same; while it is pending, the wait goes on with the next call.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.wait.is_none() {
            match call_through(self.stream.as_fd(), call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            self.wait = Some(Wait::new());
        }
        let done = ready!(self.poll_room(cx, call));
        self.wait = None;
        Poll::Ready(done)
    }

    fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        call: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.watch_room()?;
        let (Some(room), Some(wait)) = (&self.room, &mut self.wait) else {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        };
        loop {
            if let Poll::Ready(ready) = room.poll_write_ready(cx) {
                match ready?.try_io(|socket| call_through(socket.as_fd(), call)) {
                    Ok(done) => {
                        if self.buffer < BUSY_BYTES && wait.began.elapsed() < MOMENT {
                            self.buffer *= 2;
                            let _ = sockopt::set_socket_send_buffer_size(self.stream, self.buffer);
                        }
                        return Poll::Ready(done);
                    }
                    Err(_still_full) => continue,
                }
            }
            let Some(patience) = self.patience else { return Poll::Pending };
            let next = Instant::now() + TRY_AGAIN.min(patience);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if !wait.is_timed {
                timer.as_mut().reset(next);
                wait.is_timed = true;
            }
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(next);
            match call_through(self.stream.as_fd(), call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if wait.is_over(self.stream.as_fd(), patience) {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    fn watch_room(&mut self) -> io::Result<()> {
        if self.room.is_none() {
            // The first time: this stream is busy, and each wait for room costs both sides a
            // context switch. Refused past `net.core.wmem_max`, and then it stays as it is.
            // One that is given up some time begins with `FIRST_BYTES` (`hold_little`).
            self.buffer = if self.patience.is_none() { BUSY_BYTES } else { FIRST_BYTES };
            if self.patience.is_none() {
                let _ = sockopt::set_socket_send_buffer_size(self.stream, self.buffer);
            }
            let again = self.stream.as_fd().try_clone_to_owned()?;
            self.room = Some(watch(again, Interest::WRITABLE)?);
        }
        Ok(())
    }

    /// Stops watching for room: the stream pauses.
    pub fn rest(&mut self) {
        self.room = None;
    }

    /// Ends this direction; the other one goes on. Over TLS that is `close_notify`, and TCP stays
    /// open both ways, as with Go's `CloseWrite`.
    pub async fn close_write(&mut self) -> io::Result<()> {
        if let Some(mut tls) = self.stream.tls() {
            tls.end();
        } else {
            return Ok(rustix::net::shutdown(self.stream, Shutdown::Write)?);
        }
        Box::pin(self.flush()).await
    }

    pub fn is_plain(&self) -> bool {
        self.stream.is_plain()
    }
}

/// Registers a descriptor for one kind of event only, which tokio's own sockets cannot.
///
/// Deprecated because a type whose `AsRawFd` lies could be handed in; `OwnedFd` does not lie, and
/// the replacement is an `unsafe fn`.
#[expect(deprecated, reason = "sound for `OwnedFd`, and the other one is `unsafe`")]
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

#[cfg(test)]
mod tests;
