//! What was read and not yet used: one buffer a direction, empty-handed while idle.
//!
//! Every reader of a connection fills one. What must stay true: an idle connection holds no block,
//! bytes once read are never lost between two users of the same connection (pipelined requests,
//! stdin right behind an upgrade), and a buffer never grows past what its user allows.

use std::cell::RefCell;
use std::io;

use super::io::Reader;

/// As much as a unix socket holds by default (`net.core.wmem_default`, 208 KiB): one read takes all
/// that waits. Only the pages that a call really fills are ever touched.
pub const BLOCK: usize = 256 * 1024;
const KEPT_PER_THREAD: usize = 16;
/// The least that a tight buffer holds: a page.
const LEAST: usize = 4096;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Borrows a block of `BLOCK` bytes, with whatever its last user left in it.
pub fn take_block() -> Box<[u8]> {
    SPARE
        .with(|spare| spare.borrow_mut().pop())
        .unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice())
}

/// Gives a block back; a thread keeps a few and frees the rest.
pub fn give_block(block: Box<[u8]>) {
    SPARE.with(|spare| {
        let mut spare = spare.borrow_mut();
        if block.len() == BLOCK && spare.len() < KEPT_PER_THREAD {
            spare.push(block);
        }
    });
}

#[derive(Debug, Default)]
pub struct Buffer {
    block: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub const fn new() -> Self {
        Buffer { block: None, start: 0, end: 0 }
    }

    pub fn unread(&self) -> &[u8] {
        self.block.as_deref().and_then(|block| block.get(self.start..self.end)).unwrap_or(&[])
    }

    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Marks bytes as used; an empty buffer gives its block back.
    pub fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
        if self.is_empty() {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if let Some(block) = self.block.take() {
            give_block(block);
        }
    }

    /// Lets go of what is not used: from here on it holds what came, and grows by doubling. For those who
    /// take their time: a block that was used before is memory to its last page.
    pub fn tighten(&mut self) {
        let wanted = (self.len() + 1).next_power_of_two().max(LEAST);
        if self.is_empty() {
            self.clear();
        }
        let Some(block) = self.block.take_if(|block| block.len() > wanted) else { return };
        let mut tight = vec![0; wanted].into_boxed_slice();
        let unread = block.get(self.start..self.end).unwrap_or_default();
        if let Some(room) = tight.get_mut(..unread.len()) {
            room.copy_from_slice(unread);
        }
        (self.start, self.end) = (0, unread.len());
        self.block = Some(tight);
        give_block(block);
    }

    /// How much memory it holds, and will hold to read on.
    pub fn held(&self, most: usize) -> usize {
        match &self.block {
            Some(block) if self.end == block.len() && self.start == 0 => grown(block.len(), most),
            Some(block) => block.len(),
            None => 0,
        }
    }

    /// Reads once, behind what is unread; 0 is the end of the stream. A full buffer grows up to
    /// `most` bytes and then refuses with `FileTooLarge`.
    pub async fn fill(&mut self, from: &mut Reader<'_>, most: usize) -> io::Result<usize> {
        if self.block.is_none() {
            // Waiting without a block is what keeps idle connections small.
            from.readable().await?;
        }
        let room = self.room(most)?;
        let result = from.read(room).await;
        self.end += result.as_ref().copied().unwrap_or(0);
        if self.is_empty() {
            self.clear();
        }
        result
    }

    /// Free space behind the unread bytes, made by moving or growing when there is none.
    fn room(&mut self, most: usize) -> io::Result<&mut [u8]> {
        let block = self.block.get_or_insert_with(take_block);
        if self.end == block.len() && self.start > 0 {
            block.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == block.len() {
            if self.end >= most {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let mut larger = vec![0; grown(block.len(), most)].into_boxed_slice();
            larger
                .get_mut(..block.len())
                .ok_or(io::ErrorKind::FileTooLarge)?
                .copy_from_slice(block);
            give_block(std::mem::replace(block, larger));
        }
        block.get_mut(self.end..).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }
}

const fn grown(length: usize, most: usize) -> usize {
    let (double, most) = (length * 2, if most > BLOCK { most } else { BLOCK });
    if double < most { double } else { most }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::io::Stream;
    use std::io::Write as _;

    fn pair() -> (std::os::unix::net::UnixStream, Stream) {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        b.set_nonblocking(true).unwrap();
        (a, Stream::new(b.into()).unwrap())
    }

    #[tokio::test]
    async fn bytes_survive_growing_and_moving_and_the_cap_holds() {
        let (mut peer, mut stream) = pair();
        let (mut reader, _) = stream.split();
        let sent: Vec<u8> = (0..BLOCK as u32 * 3).map(|i| (i % 251) as u8).collect();
        let writer = std::thread::spawn({
            let sent = sent.clone();
            move || peer.write_all(&sent)
        });
        let mut buffer = Buffer::new();
        buffer.fill(&mut reader, BLOCK).await.unwrap();
        buffer.consume(5);
        let mut seen = 5;
        while buffer.len() < BLOCK {
            buffer.fill(&mut reader, BLOCK).await.unwrap();
        }
        assert_eq!(buffer.unread(), &sent[seen..seen + BLOCK]);
        let full = buffer.fill(&mut reader, BLOCK).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::FileTooLarge);
        while buffer.fill(&mut reader, 4 * BLOCK).await.unwrap() > 0 {}
        assert_eq!(buffer.unread(), &sent[seen..]);
        seen = sent.len();
        buffer.consume(seen);
        assert!(buffer.is_empty() && buffer.block.is_none(), "an idle buffer holds no block");
        writer.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_tight_buffer_holds_what_came_and_loses_nothing() {
        let (mut peer, mut stream) = pair();
        let (mut reader, _) = stream.split();
        let mut buffer = Buffer::new();
        let mut sent = Vec::new();
        for (bytes, held) in [(10, 4096), (4085, 4096), (1, 8192), (5000, 16384)] {
            let part: Vec<u8> = (0..bytes).map(|i| (i % 241) as u8).collect();
            peer.write_all(&part).unwrap();
            sent.extend(part);
            while buffer.len() < sent.len() {
                buffer.fill(&mut reader, BLOCK).await.unwrap();
                buffer.tighten();
            }
            assert_eq!((buffer.held(BLOCK), buffer.unread() == sent), (held, true), "{bytes}");
        }
        buffer.consume(4000);
        buffer.tighten();
        assert_eq!((buffer.held(BLOCK), buffer.unread() == &sent[4000..]), (8192, true));
        buffer.consume(buffer.len());
        assert_eq!(buffer.held(BLOCK), 0);
    }
}
