//! dockerd at the end of a container: it ends its output, and reads on for as long as the other side
//! keeps the connection. Notes `released` when that is over in both directions.

use super::{Behaviour, hijack_101};
use crate::support::wait_until;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        wire.conn.send("bye");
        wire.conn.end_writing();
        wire.conn.rest();
        wire.note("released");
    })
}

/// Writes for as long as it can; notes `released` when nobody is there to read it any more.
pub fn endless() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        wait_until("the reader leaves", || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            wire.conn.try_send("tick\n").is_err()
        });
        wire.note("released");
    })
}
