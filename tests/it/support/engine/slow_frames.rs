//! Multiplexed output, written in whole frames, faster than the client reads it: a gateway that reads
//! by blocks cuts them in the middle.

use super::{Behaviour, hijack_101};
use crate::support::{frame, noise};

/// With these payloads, 64 KiB blocks end inside frame headers at many places.
pub fn frames() -> Vec<u8> {
    let payload = noise(1 << 16);
    let lengths = [1usize, 7, 100, 1013, 8191, 65521, 3, 0, 32749, 5];
    let all = (0..600).map(|i| frame(1 + (i % 2) as u8, &payload[..lengths[i % lengths.len()]]));
    all.flatten().collect()
}

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        let _ = wire.conn.try_send(frames());
        wire.conn.end_writing();
        wire.conn.rest();
    })
}
