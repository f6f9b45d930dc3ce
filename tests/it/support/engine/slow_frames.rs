//! Multiplexed output that comes in one piece while the gate is stopped: two frames, the header of the
//! second across the end of the largest block that the gate reads.

use std::path::PathBuf;

use dockgate::wire::buffer::BLOCK;

use super::{Behaviour, hijack_101};
use crate::support::{frame, noise, wait_until};

/// The length of the first frame, and both.
pub fn two() -> (usize, Vec<u8>) {
    let first = frame(1, &noise(BLOCK - 8 - 3));
    (first.len(), [first, frame(2, &noise(100))].concat())
}

/// Round `n` is written once the file `n` is in this folder; notes `written n`.
pub fn behaviour(go: PathBuf, rounds: usize) -> Behaviour {
    let (_, frames) = two();
    Box::new(move |wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        // More than a unix socket holds by itself: both frames must fit while nobody reads.
        wire.conn.send_buffer(2 * frames.len());
        for round in 0..rounds {
            wait_until("the test's word", || go.join(round.to_string()).exists());
            wire.conn.send(&frames);
            wire.note(&format!("written {round}"));
        }
        wire.conn.rest();
    })
}
