//! dockerd to the letter: what its reader holds when it takes a connection over is thrown away, so
//! stdin that comes before the 101 is lost.

use super::{Behaviour, hijack_101};

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, "");
        if !wire.conn.buffer.is_empty() {
            wire.note("discarded");
            wire.conn.buffer.clear();
        }
        wire.conn.send(hijack_101::HEAD);
        hijack_101::echo(wire);
    })
}
