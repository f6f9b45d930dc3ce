//! A process that ends its output first and still reads its input: the engine's half-close, then
//! everything that the client sends on, as a note.

use super::{Behaviour, hijack_101};
use crate::support::text;

pub fn behaviour() -> Behaviour {
    Box::new(|wire| {
        hijack_101::take_over(wire, hijack_101::HEAD);
        wire.conn.send("output");
        wire.conn.end_writing();
        let input = wire.conn.rest();
        wire.note(&text(&input));
    })
}
