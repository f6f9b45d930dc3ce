//! A hijacked connection: two independent copies, each with its own end.
//!
//! `gateway::hand_over` gives it both sockets after the engine's own answer. What must stay true: a
//! half-close of one side reaches the other at once and ends nothing else; there is no idle
//! timeout; when the engine has ended the stream, or nobody listens any more, both sockets are
//! released; a frame header of a multiplexed stream is not split by us.

use std::io;
use std::pin::pin;
use std::time::Duration;

use super::buffer::{BLOCK, Buffer, give_block, take_block};
use super::frames::Frames;
use super::io::{Reader, Stream, Writer};
use super::splice::{MoveError, Moved, Pipe};

/// How long a client may go on sending after the engine ended its side. dockerd reads on without
/// use for it and closes nothing by itself, so without a bound both sockets would stay for ever.
const GRACE: Duration = Duration::from_secs(5);
/// How long a busy stream may pause before it gives its pipe back.
const PAUSE: Duration = Duration::from_secs(1);

/// Both ends of a hijacked call and what was already read from each.
pub struct Ends {
    pub client: Stream,
    pub from_client: Buffer,
    pub engine: Stream,
    pub from_engine: Buffer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub to_engine: u64,
    pub to_client: u64,
}

/// Relays until the call has ended. The sockets are the caller's to drop.
pub async fn run(ends: &mut Ends) -> Passed {
    let mut passed = Passed::default();
    run_counting(ends, &mut passed).await;
    passed
}

/// The same, counting where a caller that does not wait for the end finds it.
pub async fn run_counting(ends: &mut Ends, passed: &mut Passed) {
    let (client_rx, client_tx) = ends.client.split();
    let (engine_rx, engine_tx) = ends.engine.split();
    let up = Direction {
        from: client_rx,
        to: engine_tx,
        frames: Frames::Raw,
        passed: &mut passed.to_engine,
    };
    let down = Direction {
        from: engine_rx,
        to: client_tx,
        frames: Frames::unknown(),
        passed: &mut passed.to_client,
    };
    both(up.copy(&mut ends.from_client), down.copy(&mut ends.from_engine)).await;
}

async fn both<'c>(
    up: impl Future<Output = (Ended, Reader<'c>)>,
    down: impl Future<Output = (Ended, Reader<'c>)>,
) {
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        (ended, client) = &mut up => {
            // Whether the client ended its input or the engine stopped reading it: output goes on.
            // Input that nobody reads is thrown away at once: left in the socket, it would turn the
            // end of the connection into a reset, and output that is under way would be lost.
            let mut client = pin!(async {
                if ended == Ended::ByReceiver { Box::pin(discard(client)).await } else { client }
            });
            tokio::select! {
                _ = &mut down => {
                    let _ = tokio::time::timeout(GRACE, client).await;
                }
                client = &mut client => tokio::select! {
                    _ = down => {}
                    () = client.gone() => {}
                },
            }
        }
        (ended, _) = &mut down => if ended == Ended::BySender {
            let _ = tokio::time::timeout(GRACE, async {
                let (_, client) = up.await;
                Box::pin(discard(client)).await;
            }).await;
        },
    }
}

/// Which side ended a direction.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The sender closed or broke; the receiver was told.
    BySender,
    /// The receiver takes no more.
    ByReceiver,
}

enum Copied {
    Little,
    /// A whole block without frames: worth a pipe.
    Much,
    End,
}

struct Direction<'a, 'p> {
    from: Reader<'a>,
    to: Writer<'a>,
    frames: Frames,
    passed: &'p mut u64,
}

impl<'a> Direction<'a, '_> {
    /// Copies to the end of this direction; gives the reader back for what comes after.
    async fn copy(mut self, first: &mut Buffer) -> (Ended, Reader<'a>) {
        let ended = match self.copy_all(first).await {
            Ok(()) | Err(MoveError::Read(_)) => match self.to.close_write().await {
                Ok(()) => Ended::BySender,
                Err(_) => Ended::ByReceiver,
            },
            Err(MoveError::Write(_)) => Ended::ByReceiver,
        };
        (ended, self.from)
    }

    async fn copy_all(&mut self, first: &mut Buffer) -> Result<(), MoveError> {
        while !first.is_empty() {
            let sent = Box::pin(self.send(first.unread(), false)).await?;
            first.consume(sent);
        }
        loop {
            self.to.rest();
            self.from.readable().await.map_err(MoveError::Read)?;
            // Boxed: what a busy stream needs is not paid for by idle ones.
            if !Box::pin(self.busy()).await? {
                return Ok(());
            }
        }
    }

    /// Moves what is there; false at the end of the stream.
    async fn busy(&mut self) -> Result<bool, MoveError> {
        let mut block = take_block();
        let copied = self.copy_some(&mut block).await;
        give_block(block);
        match copied? {
            Copied::Little => Ok(true),
            Copied::Much => self.splice_while_busy().await,
            Copied::End => Ok(false),
        }
    }

    /// Lets the kernel move the bytes until the sender pauses; false at the end of the stream.
    async fn splice_while_busy(&mut self) -> Result<bool, MoveError> {
        // Out of descriptors or of pipe pages: copying works as well.
        let Ok(pipe) = Pipe::new() else { return Ok(true) };
        loop {
            match pipe.step(&self.from, &mut self.to).await? {
                Moved::Bytes(n) => *self.passed += n as u64,
                Moved::End => return Ok(false),
                Moved::Nothing => {
                    let readable = self.from.readable();
                    match tokio::time::timeout(PAUSE, readable).await {
                        Ok(ready) => ready.map_err(MoveError::Read)?,
                        Err(_) => return Ok(true),
                    }
                }
            }
        }
    }

    /// Copies what is there, until nothing of it is held back.
    async fn copy_some(&mut self, block: &mut [u8]) -> Result<Copied, MoveError> {
        let mut held = 0;
        loop {
            let room = block.get_mut(held..).unwrap_or_default();
            let read = match self.from.try_read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                read => Some(read.map_err(MoveError::Read)?),
            };
            let filled = held + read.unwrap_or(0);
            let bytes = block.get(..filled).unwrap_or_default();
            // Only a read that filled the block can have cut what the engine wrote in one piece.
            let sent = self.send(bytes, filled == BLOCK && read.is_some()).await?;
            if sent == filled {
                return Ok(match read {
                    Some(0) => Copied::End,
                    Some(n) if n == BLOCK && self.may_splice() => Copied::Much,
                    _ => Copied::Little,
                });
            }
            block.copy_within(sent..filled, 0);
            held = filled - sent;
        }
    }

    /// The kernel can move what nobody has to look at.
    fn may_splice(&self) -> bool {
        self.frames.is_raw() && self.from.is_plain() && self.to.is_plain()
    }

    /// Sends the bytes, but for a frame header that our own block size would split.
    async fn send(&mut self, bytes: &[u8], was_cut: bool) -> Result<usize, MoveError> {
        let tail = self.frames.advance(bytes);
        let held = if was_cut { self.frames.take_back(tail) } else { 0 };
        let whole = bytes.get(..bytes.len() - held).unwrap_or(bytes);
        self.to.write_all(whole).await.map_err(MoveError::Write)?;
        *self.passed += whole.len() as u64;
        Ok(whole.len())
    }
}

/// Reads to the end, so that closing the socket does not reset what the client has yet to read.
async fn discard(mut from: Reader<'_>) -> Reader<'_> {
    let mut sink = [0u8; 1024];
    while matches!(from.read(&mut sink).await, Ok(1..)) {}
    from
}
