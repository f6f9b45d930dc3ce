//! Moving bytes between two sockets inside the kernel (splice(2)), without seeing them.
//!
//! The relay of hijacked streams uses it where both ends are plain sockets. A pipe is borrowed only
//! while bytes are in it, so an idle stream holds none. What must stay true: a pipe that goes back
//! to the pool is empty.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags};

use super::io::{Reader, Writer};

/// More than a pipe can hold: one call takes all there is.
const MOST: usize = 1 << 20;
/// Linux allows an ordinary user 1 MiB a pipe.
const PIPE_BYTES: usize = 256 * 1024;
const KEPT_PER_THREAD: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// How a round of moving ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    /// The sender closed this direction.
    End,
    /// The wake-up was for nothing.
    Nothing,
}

/// Which side failed: the two need different ends.
#[derive(Debug)]
pub enum StepError {
    Read(io::Error),
    Write(io::Error),
}

/// Moves what the sender has right now, all the way to the receiver.
pub async fn step(from: &Reader<'_>, to: &Writer<'_>) -> Result<Moved, StepError> {
    let pipe = take_pipe().map_err(StepError::Read)?;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let taken = from
        .try_io(|socket| Ok(rustix::pipe::splice(socket, None, &pipe.write, None, MOST, flags)?));
    let all = match taken {
        Ok(n) => n,
        Err(error) => {
            give_pipe(pipe);
            return if is_passing(&error) {
                Ok(Moved::Nothing)
            } else {
                Err(StepError::Read(error))
            };
        }
    };
    let mut left = all;
    while left > 0 {
        let given = to.try_io(|socket| {
            Ok(rustix::pipe::splice(&pipe.read, None, socket, None, left, flags)?)
        });
        match given {
            Ok(n) => left = left.saturating_sub(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                to.writable().await.map_err(StepError::Write)?;
            }
            Err(error) if is_passing(&error) => {}
            // The pipe still holds bytes: it is dropped here, not kept.
            Err(error) => return Err(StepError::Write(error)),
        }
    }
    give_pipe(pipe);
    Ok(if all == 0 { Moved::End } else { Moved::Bytes(all) })
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn take_pipe() -> io::Result<Pipe> {
    if let Some(pipe) = SPARE.with(|spare| spare.borrow_mut().pop()) {
        return Ok(pipe);
    }
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Refused past the user's soft limit on pipe pages; the default size works as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
    Ok(Pipe { read, write })
}

fn give_pipe(pipe: Pipe) {
    SPARE.with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT_PER_THREAD {
            spare.push(pipe);
        }
    });
}
