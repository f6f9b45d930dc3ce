//! Moving a body from one connection to another, unbuffered and unchanged.
//!
//! The gateway runs one for the request and one for the answer, at the same time. What must stay
//! true: what was read is written before more is read (back-pressure), and in one write (frame
//! headers are not split by us).

use std::io;

use super::buffer::{BLOCK, Buffer};
use super::chunked::BadChunk;
use super::framing::Framing;
use super::io::{Reader, Writer};

/// One direction's source: the socket and what was already read from it.
pub struct Inbox<'a> {
    pub reader: Reader<'a>,
    pub buffer: &'a mut Buffer,
}

#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("the sender's connection failed: {0}")]
    Read(io::Error),
    /// The sender closed before its body was complete.
    #[error("the sender closed inside a body")]
    Cut,
    #[error("the receiver's connection failed: {0}")]
    Write(io::Error),
    #[error(transparent)]
    Malformed(#[from] BadChunk),
}

impl Inbox<'_> {
    /// Waits for at least one more byte; false at the end of the stream.
    pub async fn more(&mut self) -> io::Result<bool> {
        Ok(self.buffer.fill(&mut self.reader, BLOCK).await? > 0)
    }
}

/// Copies a body to its end; `passed` counts the bytes on the wire.
pub async fn pump(
    from: &mut Inbox<'_>,
    framing: &mut Framing,
    to: &mut Writer<'_>,
    passed: &mut u64,
) -> Result<(), PumpError> {
    while !framing.is_done() {
        if from.buffer.is_empty() && !from.more().await.map_err(PumpError::Read)? {
            return if framing.close() { Ok(()) } else { Err(PumpError::Cut) };
        }
        let n = framing.take(from.buffer.unread())?;
        let part = from.buffer.unread().get(..n).unwrap_or(&[]);
        to.write_all(part).await.map_err(PumpError::Write)?;
        *passed += n as u64;
        from.buffer.consume(n);
    }
    Ok(())
}

/// Reads a body of at most `most` payload bytes away, without keeping it; false when it is larger.
pub async fn discard(
    from: &mut Inbox<'_>,
    framing: &mut Framing,
    most: usize,
) -> Result<bool, PumpError> {
    let mut read = 0;
    while !framing.is_done() {
        if from.buffer.is_empty() && !from.more().await.map_err(PumpError::Read)? {
            return if framing.close() { Ok(true) } else { Err(PumpError::Cut) };
        }
        let n = framing.take_payload(from.buffer.unread(), |part| read += part.len())?;
        from.buffer.consume(n);
        if read > most {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a whole body of at most `most` payload bytes; `None` when it is larger.
pub async fn collect(
    from: &mut Inbox<'_>,
    framing: &mut Framing,
    most: usize,
    passed: &mut u64,
) -> Result<Option<Vec<u8>>, PumpError> {
    let mut body = Vec::new();
    if let Framing::Length { left } = framing {
        if *left > most as u64 {
            return Ok(None);
        }
        body.reserve_exact(usize::try_from(*left).unwrap_or(0));
    }
    while !framing.is_done() {
        if from.buffer.is_empty() && !from.more().await.map_err(PumpError::Read)? {
            return if framing.close() { Ok(Some(body)) } else { Err(PumpError::Cut) };
        }
        let n = framing.take_payload(from.buffer.unread(), |part| body.extend_from_slice(part))?;
        *passed += n as u64;
        from.buffer.consume(n);
        if body.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(body))
}
