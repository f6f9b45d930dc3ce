//! What of a body lies in memory on its way through, where no disk takes it.
//!
//! `in_flight` has one behind a lock. What must stay true: it holds what its readers have not read, and no more
//! than a piece beyond its window, which follows what they take.

use std::collections::VecDeque;

use bytes::Bytes;

/// What may lie in memory on its way through before another piece is let in, in bytes: at first, when all of it goes
/// into a socket; then, when that is less than a piece; and for readers that empty it faster than it fills.
const FIRST_WINDOW: u64 = 16 * 1024;
const NEXT_WINDOW: u64 = 2 * 1024;
const LARGEST_WINDOW: u64 = 512 * 1024;
/// What a reader that reads nothing takes at least.
const UNREAD: u64 = 64 * 1024;

/// What passes through memory.
#[derive(Debug)]
pub(super) struct Passage {
    window: u64,
    /// Where memory takes over from the file.
    pub(super) begins: Option<u64>,
    /// The first byte that is still held.
    pub(super) start: u64,
    pub(super) pieces: VecDeque<Bytes>,
    /// Where each reader is.
    pub(super) readers: Vec<(u64, u64)>,
    pub(super) next_reader: u64,
}

impl Default for Passage {
    fn default() -> Passage {
        Passage {
            window: NEXT_WINDOW,
            begins: None,
            start: 0,
            pieces: VecDeque::new(),
            readers: Vec::new(),
            next_reader: 0,
        }
    }
}

impl Passage {
    /// For readers that are faster than the origin, and not by what only the socket's buffer has taken: one that
    /// reads next to nothing has taken that, too.
    pub(super) fn widen(&mut self) {
        let most = LARGEST_WINDOW.min(self.passed() / 32).max(self.window);
        self.window = (self.window * 2).min(most);
    }

    /// Whether another piece is let in.
    pub(super) fn has_room(&self) -> bool {
        let window = if self.passed() < UNREAD { FIRST_WINDOW } else { self.window };
        self.unread() < window
    }

    fn passed(&self) -> u64 {
        self.start - self.begins.unwrap_or(0).min(self.start)
    }

    /// By the slowest one. Of the last piece that is a byte, which waits for the verdict.
    pub(super) fn unread(&self) -> u64 {
        let held: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let slowest = self.readers.iter().map(|(_, at)| *at).min().unwrap_or(0);
        (self.start + held).saturating_sub(slowest.max(self.start))
    }

    /// One that has stopped holds up no other: it loses its seat, and what it has not read.
    pub(super) fn leave_behind(&mut self) {
        let slowest = self.readers.iter().map(|(_, at)| *at).min();
        let fastest = self.readers.iter().map(|(_, at)| *at).max();
        if slowest < fastest {
            self.readers.retain(|(_, at)| Some(*at) != slowest);
        }
    }

    /// Lets go of what every reader has.
    pub(super) fn trim(&mut self) {
        let Some(slowest) = self.readers.iter().map(|(_, at)| *at).min() else { return };
        while let Some(piece) = self.pieces.front() {
            let end = self.start + piece.len() as u64;
            if end > slowest {
                break;
            }
            self.start = end;
            self.pieces.pop_front();
        }
    }

    pub(super) fn at(&self, offset: u64) -> Option<Bytes> {
        let mut start = self.start;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if (start..end).contains(&offset) {
                let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
                return (skip < piece.len()).then(|| piece.slice(skip..));
            }
            start = end;
        }
        None
    }
}
