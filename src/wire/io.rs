//! A connection, whatever it runs over, and its two directions.
//!
//! Listeners and the engine's connector make a `Stream`; everyone else reads and writes through its
//! halves, which borrow it: no lock, no allocation. What must stay true: `close_write` closes one
//! direction only, and both directions stay usable independently.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

#[derive(Debug)]
pub enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

pub enum Reader<'a> {
    Unix(unix::ReadHalf<'a>),
    Tcp(tcp::ReadHalf<'a>),
}

pub enum Writer<'a> {
    Unix(unix::WriteHalf<'a>),
    Tcp(tcp::WriteHalf<'a>),
}

impl Stream {
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Stream::Unix(stream) => {
                let (r, w) = stream.split();
                (Reader::Unix(r), Writer::Unix(w))
            }
            Stream::Tcp(stream) => {
                let (r, w) = stream.split();
                (Reader::Tcp(r), Writer::Tcp(w))
            }
        }
    }

    /// Whether the peer is still there and has said nothing: what a kept connection must be before
    /// it is used again. Asks the kernel, because the reactor may not have heard yet.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(
            rustix::net::recv(self, &mut byte, flags),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Reader<'_> {
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Unix(half) => half.read(into).await,
            Reader::Tcp(half) => half.read(into).await,
        }
    }

    /// Reads what is there now; `WouldBlock` when nothing is.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Unix(half) => half.try_read(into),
            Reader::Tcp(half) => half.try_read(into),
        }
    }

    /// Whether the peer has closed both directions, so that nobody will read what is sent.
    ///
    /// To `read`, a half-close looks the same; the kernel tells them apart (`POLLHUP` against
    /// `POLLRDHUP`). On TCP a vanished peer shows only after something was sent to it.
    pub fn peer_is_gone(&self) -> bool {
        let fd = match self {
            Reader::Unix(half) => half.as_ref().as_fd(),
            Reader::Tcp(half) => half.as_ref().as_fd(),
        };
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        let asked = rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let gone = PollFlags::HUP | PollFlags::ERR;
        asked.is_ok() && polled.iter().any(|p| p.revents().intersects(gone))
    }

    /// Returns when there is something to read, or the end; holds no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Reader::Unix(half) => half.readable().await,
            Reader::Tcp(half) => half.readable().await,
        }
    }

    /// Runs a non-blocking system call on the socket; `WouldBlock` makes the next `readable` wait.
    pub fn try_io<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        match self {
            Reader::Unix(half) => {
                let stream = half.as_ref();
                stream.try_io(Interest::READABLE, || call(stream.as_fd()))
            }
            Reader::Tcp(half) => {
                let stream = half.as_ref();
                stream.try_io(Interest::READABLE, || call(stream.as_fd()))
            }
        }
    }
}

impl Writer<'_> {
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Unix(half) => half.write_all(bytes).await,
            Writer::Tcp(half) => half.write_all(bytes).await,
        }
    }

    /// Ends this direction; the other one goes on.
    pub async fn close_write(&mut self) -> io::Result<()> {
        match self {
            Writer::Unix(half) => half.shutdown().await,
            Writer::Tcp(half) => half.shutdown().await,
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Writer::Unix(half) => half.writable().await,
            Writer::Tcp(half) => half.writable().await,
        }
    }

    pub fn try_io<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        match self {
            Writer::Unix(half) => {
                let stream = half.as_ref();
                stream.try_io(Interest::WRITABLE, || call(stream.as_fd()))
            }
            Writer::Tcp(half) => {
                let stream = half.as_ref();
                stream.try_io(Interest::WRITABLE, || call(stream.as_fd()))
            }
        }
    }
}
