//! A connection, whatever it runs over, and its two directions.
//!
//! Listeners and the engine's connector make a `Stream`; everyone else reads and writes through its
//! halves, which borrow it: no lock, no allocation. What must stay true: `close_write` closes one
//! direction only, and both directions stay usable independently.
//!
//! tokio's own sockets watch for room to write all the time: each time a peer reads, a worker wakes
//! up for nothing, twice a call. Here a socket is watched for input only, and for room only while
//! there is none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the kernel may hold for a receiver that is slower than we are.
const BUSY_BYTES: usize = 1 << 20;

/// How often a peer that has ended its side is asked whether it still listens.
const CHECK_GONE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Stream(AsyncFd<OwnedFd>);

pub struct Reader<'a>(&'a Stream);

pub struct Writer<'a> {
    stream: &'a Stream,
    /// A second registration of the same socket, while it was found full.
    room: Option<AsyncFd<OwnedFd>>,
}

impl Stream {
    /// Takes over a connected, non-blocking stream socket.
    pub fn new(socket: OwnedFd) -> io::Result<Stream> {
        watch(socket, Interest::READABLE).map(Stream)
    }

    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        (Reader(self), Writer { stream: self, room: None })
    }

    /// Whether the peer is still there and has said nothing: what a kept connection must be before
    /// it is used again. Costs a system call only when the reactor has heard of something.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let heard = self.0.try_io(Interest::READABLE, |socket| {
            Ok(rustix::net::recv(socket, &mut byte, flags).map(|_| ())?)
        });
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl Reader<'_> {
    /// Reads what is there, waiting for at least one byte; 0 is the end.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.0.readable().await?;
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

    /// Reads what is there now; `WouldBlock` when nothing is.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.try_io(|socket| {
            let (_, read) = rustix::net::recv(socket, into, RecvFlags::DONTWAIT)?;
            Ok(read)
        })
    }

    /// Returns when there is something to read, or the end; holds no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.0.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Runs a non-blocking system call on the socket; `WouldBlock` makes the next `readable` wait.
    pub fn try_io<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        self.0.0.try_io(Interest::READABLE, |socket| call(socket.as_fd()))
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
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent =
                self.write_with(|socket| Ok(rustix::net::send(socket, bytes, flags)?)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Runs a non-blocking system call that puts bytes into the socket, waiting for room.
    pub async fn write_with(
        &mut self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match call(self.stream.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                done => return done,
            }
        }
        let room = match &mut self.room {
            Some(room) => room,
            none => {
                // The first time: this stream is busy, and each wait for room costs both sides a
                // context switch. Refused past `net.core.wmem_max`, and then it stays as it is.
                let _ = sockopt::set_socket_send_buffer_size(self.stream, BUSY_BYTES);
                let again = self.stream.as_fd().try_clone_to_owned()?;
                none.insert(watch(again, Interest::WRITABLE)?)
            }
        };
        loop {
            let mut ready = room.writable().await?;
            match ready.try_io(|socket| call(socket.as_fd())) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return done,
                Err(_still_full) => {}
            }
        }
    }

    /// Stops watching for room: the stream pauses.
    pub fn rest(&mut self) {
        self.room = None;
    }

    /// Ends this direction; the other one goes on.
    pub fn close_write(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.stream, Shutdown::Write)?)
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
