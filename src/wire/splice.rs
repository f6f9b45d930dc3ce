//! Moving bytes between two sockets inside the kernel (splice(2)), without seeing them.
//!
//! The relay of hijacked streams uses it while a stream is busy. What must stay true: every byte that
//! went into the pipe comes out of it, before the next one goes in.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags};

use super::io::{Reader, Writer};

/// More than a pipe can hold: one call takes all there is.
const MOST: usize = 1 << 20;
/// What a unix socket holds by default fits; Linux allows an ordinary user 1 MiB.
const PIPE_BYTES: usize = 1024 * 1024;

/// Held only while a stream is busy: an idle one costs no descriptors beyond its sockets.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// How a round of moving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    /// The sender closed this direction.
    End,
    /// There was nothing to move.
    Nothing,
}

/// Which side failed: the two need different ends.
#[derive(Debug)]
pub enum MoveError {
    Read(io::Error),
    Write(io::Error),
}

impl Pipe {
    pub fn new() -> io::Result<Pipe> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused past the user's soft limit on pipe pages; the default size works as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Pipe { read, write })
    }

    /// Moves what the sender has right now, all the way to the receiver.
    pub async fn step(&self, from: &Reader<'_>, to: &mut Writer<'_>) -> Result<Moved, MoveError> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let taken = from.try_io(|socket| {
            Ok(rustix::pipe::splice(socket, None, &self.write, None, MOST, flags)?)
        });
        let all = match taken {
            Ok(0) => return Ok(Moved::End),
            Ok(all) => all,
            Err(error) if is_passing(&error) => return Ok(Moved::Nothing),
            Err(error) => return Err(MoveError::Read(error)),
        };
        let mut left = all;
        while left > 0 {
            let given = to
                .write_with(|socket| {
                    Ok(rustix::pipe::splice(&self.read, None, socket, None, left, flags)?)
                })
                .await;
            left = left.saturating_sub(given.map_err(MoveError::Write)?);
        }
        Ok(Moved::Bytes(all))
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
