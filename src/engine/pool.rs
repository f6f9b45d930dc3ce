//! Connections to the engine between two calls.
//!
//! What must stay true: a connection in the pool has an answer read to its end and nothing behind
//! it; one that the engine closed meanwhile is noticed before it is used.

use std::sync::{Mutex, PoisonError};

use crate::wire::buffer::Buffer;
use crate::wire::io::Stream;

/// dockerd keeps a goroutine for each; a burst of clients needs no more afterwards.
const MOST_IDLE: usize = 32;

#[derive(Debug)]
pub struct Conn {
    pub stream: Stream,
    /// What was read behind the last thing that was used.
    pub buffer: Buffer,
}

impl Conn {
    pub fn new(stream: Stream) -> Conn {
        Conn { stream, buffer: Buffer::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.split().1.write_all(bytes).await
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Conn>>);

impl Pool {
    /// The connection used last, unless the engine has closed it or said something unasked: that
    /// would be taken for the next answer.
    pub(super) fn take(&self) -> Option<Conn> {
        loop {
            let conn = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if conn.stream.is_quiet() {
                return Some(conn);
            }
        }
    }

    pub(super) fn put(&self, conn: Conn) {
        if !conn.buffer.is_empty() {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, Conn) {
        let (engine, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (engine, Conn::new(Stream::new(ours.into()).unwrap()))
    }

    #[tokio::test]
    async fn a_connection_that_spoke_unasked_or_closed_is_not_used_again() {
        let pool = Pool::default();
        for speaks in [true, false] {
            let (mut engine, mut conn) = pair();
            let kept = if speaks {
                engine.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                Some(engine)
            } else {
                drop(engine);
                None
            };
            conn.stream.split().0.readable().await.unwrap();
            pool.put(conn);
            assert!(pool.take().is_none());
            drop(kept);
        }
        let (_engine, conn) = pair();
        pool.put(conn);
        assert!(pool.take().is_some());
    }
}
